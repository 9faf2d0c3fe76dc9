// Hooks: what rows cannot say about a type. A type whose `kind` or `type` line carries the flag
// `hooks` has a constant `kinds::<group>_<version>::hooks::<Type>` of this struct in kinds/hooks/;
// a missing one does not link.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/time.h"

namespace dure::schema {

class Document;
class Node;
class Path;  // schema/validate.h

struct Hooks {
  // After the plain defaults of the object's own rows, before its children are defaulted.
  void (*apply_defaults)(Document&, Node* object) = nullptr;
  // After the rows of the object and of everything below were held against it. `old` is null on
  // create.
  void (*validate)(const Node* object, const Node* old, const Path& path, std::vector<Cause>& causes) = nullptr;
  // Before create and update of the whole object: fields that the server owns (status on a main
  // write and the like).
  void (*prepare_create)(Document&, Node* object) = nullptr;
  void (*prepare_update)(Document&, Node* object, const Node* old) = nullptr;
  // The value behind a field selector that is no plain path; nullptr: follow the path.
  std::string (*selectable)(const Node* object, std::string_view field) = nullptr;
};

}  // namespace dure::schema
