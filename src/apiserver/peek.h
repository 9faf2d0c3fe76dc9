// Looking into stored JSON without decoding it: one forward scan, no allocation.
//
// For selectors, routing of watch events and metadata checks on the hot paths. The input is JSON that this server
// encoded itself (or a decoder already accepted); on anything else the answers are empty, never out of bounds. Thread:
// any.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace dure::apiserver {

// The position after the JSON value that starts at `at` (which may stand before white space); npos when it is cut
// short.
size_t skip_json_value(std::string_view json, size_t at);

// A cursor over the members of an object or the items of a list.
class JsonCursor {
 public:
  explicit JsonCursor(std::string_view container);
  bool next();                                       // false at the end
  std::string_view key() const { return key_; }      // still escaped; empty in lists
  std::string_view value() const { return value_; }  // the raw value

 private:
  std::string_view json_, key_, value_;
  size_t at_ = 0;
  char close_ = 0;
};

// The raw value of a member, empty when there is none. Keys are compared as written (no escapes in API field names).
std::string_view json_member(std::string_view object, std::string_view key);
// By a dotted path of field names: "spec.nodeName".
std::string_view json_path(std::string_view object, std::string_view dotted);

// A raw scalar as text: a string without quotes and escapes, anything else as written; null and nothing are empty.
std::string json_text(std::string_view raw);
// Appends `text` as a JSON string with quotes.
void append_json_string(std::string& out, std::string_view text);

}  // namespace dure::apiserver
