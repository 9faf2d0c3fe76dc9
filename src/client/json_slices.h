// Cutting JSON into its members and items without decoding it, so that each object of a list is decoded from bytes of
// its own.
#pragma once

#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace dure::client {

using JsonMember = std::pair<std::string_view, std::string_view>;  // key as written, raw value

// Absent when the text is not an object (not a list) or is cut short. What a value contains is not checked.
std::optional<std::vector<JsonMember>> json_members(std::string_view object);
std::optional<std::vector<std::string_view>> json_items(std::string_view list);

}  // namespace dure::client
