// Plain: writing small JSON answers that have no kind: lists of objects whose members are mostly texts. Members keep
// their order.
#pragma once

#include <initializer_list>
#include <string_view>
#include <utility>

#include "schema/document.h"

namespace dure::schema {

// A new empty list as member `key` of `object`.
Node* add_list(Document& document, Node* object, std::string_view key);
// A new object at the end of `list`, with these texts; further members may be added to it.
Node* add_row(Document& document, Node* list,
              std::initializer_list<std::pair<std::string_view, std::string_view>> texts);

}  // namespace dure::schema
