// Validation: objects held against their rows; all that is wrong is collected, in upstream's words.
//
// What rows know: rows that must not be empty, enums, ranges, lengths, text formats, label and
// annotation maps, quantities, unique list items, immutable rows, the rules of metadata. What they
// cannot say is in kinds/hooks (Hooks::validate), called by the same walk.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "schema/document.h"

namespace dure::schema {

// A field path as a chain of steps on the stack: spec.containers[0].name, metadata.labels[app].
// Each step lives as long as the call that made it.
class Path {
 public:
  Path() = default;  // the root
  Path child(std::string_view name) const { return Path(this, name, 0, Step::member); }
  Path index(uint32_t index) const { return Path(this, {}, index, Step::index); }
  Path key(std::string_view key) const { return Path(this, key, 0, Step::key); }
  std::string text() const;

 private:
  enum class Step : uint8_t { root, member, index, key };
  Path(const Path* up, std::string_view name, uint32_t index, Step step)
      : up_(up), name_(name), index_(index), step_(step) {}
  const Path* up_ = nullptr;
  std::string_view name_;
  uint32_t index_ = 0;
  Step step_ = Step::root;
};

// Causes in upstream's forms. `message` of a cause has no path in it; cause_text() puts it in
// front.
Cause required(const Path& path, std::string_view detail = {});  // Required value[: detail]
Cause invalid(const Path& path, std::string_view value,
              std::string_view detail);  // Invalid value: "x": detail
Cause invalid(const Path& path, int64_t value, std::string_view detail);
Cause invalid(const Path& path, const Node* value, std::string_view detail);  // objects as JSON
Cause not_supported(const Path& path, std::string_view value, std::span<const std::string_view> supported);
Cause duplicate(const Path& path, const Node* value);
Cause duplicate(const Path& path, std::string_view value);
Cause forbidden(const Path& path, std::string_view detail);
Cause too_long(const Path& path, int64_t bytes_max);
Cause too_many(const Path& path, int64_t actual, int64_t most);
Cause reference_not_found(const Path& path, std::string_view value);
std::string cause_text(const Cause& cause);  // "spec.x: Required value"

// 422 "Invalid": `Deployment.apps "web" is invalid: [a, b]`, with details and causes. `causes` must
// not be empty.
Error invalid_object(const Type& kind, std::string_view name, std::vector<Cause> causes);

// Holds a new object against its rows and hooks; `old` is the object it replaces, null on create.
// Call after defaulting.
std::vector<Cause> validate(const Document& object, const Document* old = nullptr);
// A part that stands for an object of `type`.
void validate(const Node* node, const Node* old, const Type& type, const Path& path, std::vector<Cause>& causes);

// metadata of a whole object: name or generateName, namespace, owner references, finalizers; on
// update what must not change.
void validate_metadata(const Node* metadata, const Node* old, const Type& kind, const Path& path,
                       std::vector<Cause>& causes);

}  // namespace dure::schema
