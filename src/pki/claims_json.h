// Just enough JSON for token headers and claims (pki stands below schema). Bounds: 16 levels, 64
// KB. For pki's sources.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace dure::pki {

struct Json {
  enum class Kind { null, boolean, number, string, list, object };
  Kind kind = Kind::null;
  bool boolean = false;
  double number = 0;
  std::string string = {};
  std::vector<Json> items = {};
  std::vector<std::pair<std::string, Json>> members = {};

  const Json* find(std::string_view key) const;  // the last member of that name counts
  std::string text(std::string_view key) const;  // empty unless a string
  int64_t integer(std::string_view key) const;   // zero unless a number that fits
};

Result<Json> parse_json(std::string_view text);
std::string quote_json(std::string_view text);

}  // namespace dure::pki
