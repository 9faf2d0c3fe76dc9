// Values: the canonical text of the special types that travel as JSON strings.
//
// Each function answers `text` itself when it is canonical already, puts the canonical form into
// `scratch` and answers a view of that otherwise, or answers nothing and puts upstream's sentence
// into `scratch` when the text is no such value.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace dure::schema {

std::optional<std::string_view> canonical_time(std::string_view text,
                                               std::string& scratch);  // 2006-01-02T15:04:05Z
std::optional<std::string_view> canonical_micro_time(std::string_view text,
                                                     std::string& scratch);  // six decimals
std::optional<std::string_view> canonical_duration(std::string_view text,
                                                   std::string& scratch);  // 1m30s
std::optional<std::string_view> canonical_quantity(std::string_view text, std::string& scratch);
std::optional<std::string_view> canonical_base64(std::string_view text, std::string& scratch);

// A moment of the years 1 to 9999, which is more than WallTime holds.
struct Instant {
  int64_t seconds = 0;  // since 1970-01-01T00:00:00Z
  int32_t nanoseconds = 0;
};
inline constexpr int64_t kInstantFirst = -62135596800,
                         kInstantLast = 253402300799;         // Go's zero time; the end of year 9999
std::optional<Instant> parse_instant(std::string_view text);  // RFC 3339
std::string format_instant(Instant instant, bool micro);

// The text itself when it is UTF-8, otherwise a copy in `scratch` with U+FFFD for what is broken.
std::string_view repair_utf8(std::string_view text, std::string& scratch);

// Go's shortest form of a float64 in JSON: 0.5, 1e+21, 1e-7. Appends.
void append_number(std::string& out, double value);
void append_integer(std::string& out, int64_t value);
// The text as a JSON string with Go's escapes (HTML characters too); broken UTF-8 becomes U+FFFD.
// Appends.
void append_json_string(std::string& out, std::string_view text);

// Length of the UTF-8 sequence at `p`, 0 when it is broken.
size_t utf8_sequence(const char* p, const char* end);

}  // namespace dure::schema
