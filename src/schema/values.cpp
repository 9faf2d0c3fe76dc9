#include "schema/values.h"

#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "base/text.h"
#include "base/time.h"
#include "schema/quantity.h"

namespace dure::schema {

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Digits where the pattern has a 0, the same character elsewhere.
bool looks_like(std::string_view text, std::string_view pattern) {
  if (text.size() != pattern.size()) return false;
  for (size_t i = 0; i < text.size(); ++i)
    if (pattern[i] == '0' ? !is_digit(text[i]) : text[i] != pattern[i]) return false;
  return true;
}

int two(std::string_view text, size_t at) { return (text[at] - '0') * 10 + text[at + 1] - '0'; }

// Fields in range and no day that needs a calendar to judge.
bool plain_date(std::string_view t) {
  const int month = two(t, 5), day = two(t, 8);
  return two(t, 0) + two(t, 2) > 0 && month >= 1 && month <= 12 && day >= 1 && day <= 28 && two(t, 11) < 24 &&
         two(t, 14) < 60 && two(t, 17) < 60;
}

std::string bad_time(std::string_view text, std::string_view layout) {
  return "parsing time \"" + std::string(text) + "\" as \"" + std::string(layout) + "\": cannot parse \"" +
         std::string(text) + "\" as \"2006\"";
}

}  // namespace

std::optional<Instant> parse_instant(std::string_view text) {
  if (text.size() < 20 || !looks_like(text.substr(0, 19), "0000-00-00T00:00:00")) return std::nullopt;
  const int year = two(text, 0) * 100 + two(text, 2), month = two(text, 5), day = two(text, 8);
  const int hour = two(text, 11), minute = two(text, 14), second = two(text, 17);
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok() || hour > 23 || minute > 59 || second > 59) return std::nullopt;
  Instant instant;
  size_t at = 19;
  if (text[at] == '.') {
    int32_t scale = 100'000'000;
    const size_t start = ++at;
    for (; at < text.size() && is_digit(text[at]); ++at, scale /= 10) instant.nanoseconds += (text[at] - '0') * scale;
    if (at == start) return std::nullopt;
  }
  const std::string_view zone = text.substr(at);
  int64_t offset = 0;
  if (zone != "Z") {
    if (!looks_like(zone, "+00:00") && !looks_like(zone, "-00:00")) return std::nullopt;
    const int hours = two(zone, 1), minutes = two(zone, 4);
    if (hours > 23 || minutes > 59) return std::nullopt;
    offset = (hours * 60 + minutes) * 60 * (zone[0] == '-' ? -1 : 1);
  }
  instant.seconds = int64_t{std::chrono::sys_days(date).time_since_epoch().count()} * 86400 + hour * 3600 +
                    minute * 60 + second - offset;
  if (instant.seconds < kInstantFirst || instant.seconds > kInstantLast) return std::nullopt;
  return instant;
}

std::string format_instant(Instant instant, bool micro) {
  int64_t days = instant.seconds / 86400, rest = instant.seconds % 86400;
  if (rest < 0) {
    rest += 86400;
    --days;
  }
  const std::chrono::year_month_day date{std::chrono::sys_days(std::chrono::days(days))};
  std::string out = "0000-00-00T00:00:00";
  const auto put = [&](size_t position, int64_t value, int digits) {
    for (int i = digits; i-- > 0; value /= 10)
      out[position + static_cast<size_t>(i)] = static_cast<char>('0' + value % 10);
  };
  put(0, int{date.year()}, 4);
  put(5, unsigned{date.month()}, 2);
  put(8, unsigned{date.day()}, 2);
  put(11, rest / 3600, 2);
  put(14, rest / 60 % 60, 2);
  put(17, rest % 60, 2);
  if (micro) {
    out += ".000000";
    put(20, instant.nanoseconds / 1000, 6);
  }
  return out + "Z";
}

std::optional<std::string_view> canonical_time(std::string_view text, std::string& scratch) {
  if (looks_like(text, "0000-00-00T00:00:00Z") && plain_date(text)) return text;
  const auto instant = parse_instant(text);
  if (!instant) {
    scratch = bad_time(text, "2006-01-02T15:04:05Z07:00");
    return std::nullopt;
  }
  scratch = format_instant(*instant, false);
  return scratch;
}

std::optional<std::string_view> canonical_micro_time(std::string_view text, std::string& scratch) {
  if (looks_like(text, "0000-00-00T00:00:00.000000Z") && plain_date(text)) return text;
  const auto instant = parse_instant(text);
  if (!instant) {
    scratch = bad_time(text, "2006-01-02T15:04:05.000000Z07:00");
    return std::nullopt;
  }
  scratch = format_instant(*instant, true);
  return scratch;
}

std::string_view repair_utf8(std::string_view text, std::string& scratch) {
  const char* p = text.data();
  const char* const end = p + text.size();
  while (p < end) {
    const size_t length = utf8_sequence(p, end);
    if (length == 0) break;
    p += length;
  }
  if (p == end) return text;
  scratch.assign(text.data(), p);
  while (p < end) {
    const size_t length = utf8_sequence(p, end);
    if (length == 0)
      scratch += "\xEF\xBF\xBD";
    else
      scratch.append(p, length);
    p += length ? length : 1;
  }
  return scratch;
}

std::optional<std::string_view> canonical_duration(std::string_view text, std::string& scratch) {
  const auto duration = parse_duration(text);
  if (!duration) {
    scratch = "time: invalid duration \"" + std::string(text) + "\"";
    return std::nullopt;
  }
  scratch = format_duration(*duration);
  return scratch;
}

std::optional<std::string_view> canonical_quantity(std::string_view text, std::string& scratch) {
  const auto quantity = Quantity::parse(trim(text));
  if (!quantity) {
    scratch = quantity.error().message;
    return std::nullopt;
  }
  scratch = quantity->text();
  return scratch == text ? text : std::string_view(scratch);
}

std::optional<std::string_view> canonical_base64(std::string_view text, std::string& scratch) {
  static constexpr auto kTable = [] {
    struct Table {
      int8_t of[256];
    } table{};
    for (auto& entry : table.of) entry = -1;
    constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < kAlphabet.size(); ++i) table.of[static_cast<uint8_t>(kAlphabet[i])] = static_cast<int8_t>(i);
    return table;
  }();
  std::string compact;
  if (text.find_first_of("\r\n") != text.npos) {  // Go's decoder skips line ends
    for (const char c : text)
      if (c != '\r' && c != '\n') compact += c;
  }
  const std::string_view body = compact.empty() ? text : compact;
  const auto broken = [&](size_t at) {
    scratch = "illegal base64 data at input byte " + std::to_string(at);
    return std::nullopt;
  };
  size_t digits = 0;
  while (digits < body.size() && kTable.of[static_cast<uint8_t>(body[digits])] >= 0) ++digits;
  const size_t padding = body.size() - digits;
  for (size_t i = digits; i < body.size(); ++i)
    if (body[i] != '=') return broken(i);
  if (body.size() % 4 != 0 || padding > 2) return broken(padding > 2 ? digits : body.size());
  const int8_t last = digits ? kTable.of[static_cast<uint8_t>(body[digits - 1])] : 0;
  const int unused = padding == 1 ? 3 : padding == 2 ? 15 : 0;
  if (compact.empty() && (last & unused) == 0) return text;
  scratch = std::string(body);
  if (last & unused) {
    constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    scratch[digits - 1] = kAlphabet[static_cast<size_t>(last & ~unused)];
  }
  return scratch;
}

void append_integer(std::string& out, int64_t value) {
  char buffer[24];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  out.append(buffer, end);
}

void append_number(std::string& out, double value) {
  char buffer[400];
  const double size = std::fabs(value);
  const bool exponent = size != 0 && (size < 1e-6 || size >= 1e21);
  const auto format = exponent ? std::chars_format::scientific : std::chars_format::fixed;
  char* end = std::to_chars(buffer, buffer + sizeof buffer, value, format).ptr;
  if (exponent && end - buffer >= 4 && end[-4] == 'e' && end[-3] == '-' && end[-2] == '0') {
    end[-2] = end[-1];
    --end;
  }
  out.append(buffer, end);
}

size_t utf8_sequence(const char* p, const char* end) {
  const auto byte = [&](int i) { return static_cast<uint8_t>(p[i]); };
  const auto follows = [&](int i) { return p + i < end && (byte(i) & 0xC0) == 0x80; };
  const uint8_t first = byte(0);
  if (first < 0x80) return 1;
  if (first < 0xC2) return 0;
  if (first < 0xE0) return follows(1) ? 2 : 0;
  if (first < 0xF0) {
    if (!follows(1) || !follows(2)) return 0;
    if (first == 0xE0 && byte(1) < 0xA0) return 0;
    if (first == 0xED && byte(1) >= 0xA0) return 0;  // surrogates
    return 3;
  }
  if (first > 0xF4 || !follows(1) || !follows(2) || !follows(3)) return 0;
  if (first == 0xF0 && byte(1) < 0x90) return 0;
  if (first == 0xF4 && byte(1) >= 0x90) return 0;
  return 4;
}

namespace {

// 1: needs an escape or a closer look.
constexpr auto kSpecial = [] {
  struct Table {
    bool of[256];
  } table{};
  for (int i = 0; i < 256; ++i) table.of[i] = i < 0x20 || i >= 0x80;
  for (const char c : {'"', '\\', '<', '>', '&', '\x7f'}) table.of[static_cast<uint8_t>(c)] = c != '\x7f';
  return table;
}();

// The table's question for sixteen bytes at once; compilers make vector instructions of it.
constexpr size_t kBlock = 16;
bool any_special(const char* block) {
  uint8_t any = 0;
  for (size_t i = 0; i < kBlock; ++i) {
    const auto c = static_cast<uint8_t>(block[i]);
    any |= (c < 0x20) | (c >= 0x80) | (c == '"') | (c == '\\') | (c == '<') | (c == '>') | (c == '&');
  }
  return any != 0;
}

const char* skip_plain(const char* p, const char* end) {
  while (static_cast<size_t>(end - p) >= kBlock && !any_special(p)) p += kBlock;
  while (p < end && !kSpecial.of[static_cast<uint8_t>(*p)]) ++p;
  return p;
}

void append_escape(std::string& out, char c) {
  constexpr char kHex[] = "0123456789abcdef";
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\b':
      out += "\\b";
      return;
    case '\f':
      out += "\\f";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      out += "\\u00";
      out += kHex[static_cast<uint8_t>(c) >> 4];
      out += kHex[static_cast<uint8_t>(c) & 15];
  }
}

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  const char* p = text.data();
  const char* const end = p + text.size();
  const char* plain = p;
  while ((p = skip_plain(p, end)) < end) {
    const auto flush = [&] { out.append(plain, p); };
    if (static_cast<uint8_t>(*p) < 0x80) {
      flush();
      append_escape(out, *p++);
      plain = p;
      continue;
    }
    const size_t length = utf8_sequence(p, end);
    if (length == 0) {
      flush();
      out += "\\ufffd";
      plain = ++p;
    } else if (length == 3 && std::memcmp(p, "\xE2\x80", 2) == 0 && (p[2] == '\xA8' || p[2] == '\xA9')) {
      flush();
      out += p[2] == '\xA8' ? "\\u2028" : "\\u2029";
      p += 3;
      plain = p;
    } else {
      p += length;
    }
  }
  out.append(plain, p);
  out += '"';
}

}  // namespace dure::schema
