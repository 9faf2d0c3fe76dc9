// What a plain YAML 1.1 scalar means. Internal to the YAML codec.
#pragma once

#include <cstdint>
#include <string_view>

namespace dure::schema {

struct YamlScalar {
  enum class Kind : uint8_t { string, null, boolean, integer, number, merge, not_json };  // not_json: NaN, infinities
  Kind kind = Kind::string;
  bool boolean = false;
  int64_t integer = 0;
  double number = 0;
};

YamlScalar read_yaml_scalar(std::string_view plain);
// Whether the text reads as a date or time, which stays a string but is quoted when written.
bool is_yaml_timestamp(std::string_view plain);

}  // namespace dure::schema
