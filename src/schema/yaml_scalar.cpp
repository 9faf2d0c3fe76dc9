#include "schema/yaml_scalar.h"

#include <charconv>
#include <string>

namespace dure::schema {

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

template <size_t N>
bool one_of(std::string_view text, const std::string_view (&words)[N]) {
  for (const std::string_view word : words)
    if (text == word) return true;
  return false;
}

// [-+]? ( .digits | digits [.digits*] ) [ eE [-+]? digits ]
bool is_float(std::string_view text) {
  size_t i = 0;
  if (i < text.size() && (text[i] == '-' || text[i] == '+')) ++i;
  size_t before = 0, after = 0;
  for (; i < text.size() && is_digit(text[i]); ++i) ++before;
  if (i < text.size() && text[i] == '.') {
    ++i;
    for (; i < text.size() && is_digit(text[i]); ++i) ++after;
  }
  if (before + after == 0) return false;
  if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
    ++i;
    if (i < text.size() && (text[i] == '-' || text[i] == '+')) ++i;
    if (i >= text.size()) return false;
    while (i < text.size() && is_digit(text[i])) ++i;
  }
  return i == text.size();
}

// Sign, then 0x, 0o, 0b or a leading 0 for octal, else decimal. `wide`: an integer of that form
// which int64 cannot hold.
bool read_integer(std::string_view text, int64_t& out, double& as_double, bool& wide) {
  bool negative = false;
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) {
    negative = text[0] == '-';
    text.remove_prefix(1);
  }
  int base = 10;
  if (text.size() > 1 && text[0] == '0') {
    const char mark = text[1];
    base = mark == 'x' || mark == 'X' ? 16 : mark == 'b' || mark == 'B' ? 2 : 8;
    text.remove_prefix(base == 16 || base == 2 || mark == 'o' || mark == 'O' ? 2 : 1);
  }
  uint64_t magnitude = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), magnitude, base);
  if (text.empty() || end != text.data() + text.size() || error != std::errc()) return false;
  const uint64_t limit = static_cast<uint64_t>(INT64_MAX) + (negative ? 1 : 0);
  wide = magnitude > limit;
  if (wide && negative) return false;
  as_double = static_cast<double>(magnitude);
  out = negative ? static_cast<int64_t>(-magnitude) : static_cast<int64_t>(magnitude);
  return true;
}

size_t digits_at(std::string_view text, size_t at, size_t most) {
  size_t n = 0;
  while (n < most && at + n < text.size() && is_digit(text[at + n])) ++n;
  return n;
}

}  // namespace

bool is_yaml_timestamp(std::string_view text) {
  // YYYY-M-D, then optionally T or a space and h:m:s with a fraction, then Z or an offset.
  size_t i = digits_at(text, 0, 4);
  if (i != 4) return false;
  for (int part = 0; part < 2; ++part) {
    if (i >= text.size() || text[i] != '-') return false;
    const size_t n = digits_at(text, ++i, 2);
    if (n == 0) return false;
    i += n;
  }
  if (i == text.size()) return text.size() == 10;
  if (text[i] != 'T' && text[i] != 't' && text[i] != ' ') return false;
  ++i;
  for (int part = 0; part < 3; ++part) {
    if (part > 0 && (i >= text.size() || text[i++] != ':')) return false;
    const size_t n = digits_at(text, i, 2);
    if (n == 0) return false;
    i += n;
  }
  if (i < text.size() && text[i] == '.') i += 1 + digits_at(text, i + 1, 9);
  if (i == text.size()) return true;
  if (text[i] == 'Z') return i + 1 == text.size();
  if (text[i] != '+' && text[i] != '-') return false;
  const size_t hours = digits_at(text, i + 1, 2);
  i += 1 + hours;
  if (hours == 0) return false;
  if (i == text.size()) return true;
  return text[i] == ':' && digits_at(text, i + 1, 2) == 2 && i + 3 == text.size();
}

YamlScalar read_yaml_scalar(std::string_view plain) {
  using Kind = YamlScalar::Kind;
  static constexpr std::string_view kTrue[] = {"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"};
  static constexpr std::string_view kFalse[] = {"n",     "N",     "no",  "No",  "NO", "false",
                                                "False", "FALSE", "off", "Off", "OFF"};
  static constexpr std::string_view kNull[] = {"", "~", "null", "Null", "NULL"};
  static constexpr std::string_view kNoJson[] = {".nan",  ".NaN",  ".NAN",  ".inf",  ".Inf",  ".INF",
                                                 "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF"};
  YamlScalar scalar;
  if (one_of(plain, kNull)) {
    scalar.kind = Kind::null;
    return scalar;
  }
  const char first = plain[0];
  if (!is_digit(first) && first != '-' && first != '+' && first != '.') {
    if (plain == "<<")
      scalar.kind = Kind::merge;
    else if (one_of(plain, kTrue))
      scalar = {Kind::boolean, true};
    else if (one_of(plain, kFalse))
      scalar = {Kind::boolean, false};
    return scalar;
  }
  if (one_of(plain, kNoJson)) {
    scalar.kind = Kind::not_json;
    return scalar;
  }
  if (is_yaml_timestamp(plain)) return scalar;
  std::string text;
  for (const char c : plain)
    if (c != '_') text += c;
  bool wide = false;
  if (first != '.' && read_integer(text, scalar.integer, scalar.number, wide)) {
    scalar.kind = wide ? Kind::number : Kind::integer;
    return scalar;
  }
  if (!is_float(text)) return scalar;
  const char* start = text.data() + (text[0] == '+' ? 1 : 0);
  if (std::from_chars(start, text.data() + text.size(), scalar.number).ec == std::errc()) scalar.kind = Kind::number;
  return scalar;
}

}  // namespace dure::schema
