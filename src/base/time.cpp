#include "base/time.h"

#include <cmath>

#include <fmt/compile.h>
#include <fmt/format.h>

namespace dure {
namespace {

// Days since 1970-01-01 of a proleptic Gregorian date, and back (Howard Hinnant's public-domain algorithm).
int64_t days_from_civil(int64_t y, unsigned m, unsigned d) {
  y -= m <= 2;
  const int64_t era = (y >= 0 ? y : y - 399) / 400;
  const unsigned yoe = static_cast<unsigned>(y - era * 400);
  const unsigned doy = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
  const unsigned doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
  return era * 146097 + static_cast<int64_t>(doe) - 719468;
}

struct Civil {
  int64_t year;
  unsigned month, day;
};

Civil civil_from_days(int64_t z) {
  z += 719468;
  const int64_t era = (z >= 0 ? z : z - 146096) / 146097;
  const unsigned doe = static_cast<unsigned>(z - era * 146097);
  const unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
  const unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
  const unsigned mp = (5 * doy + 2) / 153;
  const unsigned month = mp < 10 ? mp + 3 : mp - 9;
  return {static_cast<int64_t>(yoe) + era * 400 + (month <= 2), month, doy - (153 * mp + 2) / 5 + 1};
}

std::string format_with(WallTime time, int decimals) {
  const int64_t seconds = time.seconds();
  int64_t days = seconds / 86400, rest = seconds % 86400;
  if (rest < 0) {
    rest += 86400;
    --days;
  }
  const Civil date = civil_from_days(days);
  std::string out = fmt::format(FMT_COMPILE("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}"), date.year, date.month, date.day,
                                rest / 3600, rest / 60 % 60, rest % 60);
  const int64_t fraction = time.nanoseconds - seconds * 1'000'000'000;
  if (decimals == 6) out += fmt::format(FMT_COMPILE(".{:06}"), fraction / 1000);
  if (decimals == 9) out += fmt::format(FMT_COMPILE(".{:09}"), fraction);
  return out + "Z";
}

bool digits(std::string_view text, size_t at, size_t count, int64_t& out) {
  if (at + count > text.size()) return false;
  out = 0;
  for (size_t i = at; i < at + count; ++i) {
    if (text[i] < '0' || text[i] > '9') return false;
    out = out * 10 + (text[i] - '0');
  }
  return true;
}

struct Unit {
  std::string_view name;
  double nanoseconds;
};
constexpr Unit kUnits[] = {{"ns", 1},     {"us", 1e3}, {"\xc2\xb5s", 1e3}, {"ms", 1e6},
                           {"h", 3600e9}, {"m", 60e9}, {"s", 1e9}};

}  // namespace

std::string format_time(WallTime time) { return format_with(time, 0); }
std::string format_micro_time(WallTime time) { return format_with(time, 6); }
std::string format_nano_time(WallTime time) { return format_with(time, 9); }

std::optional<WallTime> parse_time(std::string_view text) {
  int64_t y, mo, d, h, mi, s;
  if (text.size() < 20 || !digits(text, 0, 4, y) || text[4] != '-' || !digits(text, 5, 2, mo) || text[7] != '-' ||
      !digits(text, 8, 2, d) || (text[10] != 'T' && text[10] != 't') || !digits(text, 11, 2, h) || text[13] != ':' ||
      !digits(text, 14, 2, mi) || text[16] != ':' || !digits(text, 17, 2, s))
    return std::nullopt;
  static constexpr int kDays[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  if (mo < 1 || mo > 12 || d < 1 || d > kDays[mo - 1] || h > 23 || mi > 59 || s > 60) return std::nullopt;
  if (mo == 2 && d == 29 && (y % 4 != 0 || (y % 100 == 0 && y % 400 != 0))) return std::nullopt;
  size_t at = 19;
  int64_t nanoseconds = 0;
  if (text[at] == '.') {
    int64_t scale = 100'000'000;
    const size_t start = ++at;
    for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, scale /= 10)
      nanoseconds += (text[at] - '0') * scale;
    if (at == start) return std::nullopt;
  }
  int64_t offset = 0;
  if (at >= text.size()) return std::nullopt;
  if (text[at] == 'Z' || text[at] == 'z') {
    ++at;
  } else {
    int64_t oh, om;
    if ((text[at] != '+' && text[at] != '-') || !digits(text, at + 1, 2, oh) || at + 3 >= text.size() ||
        text[at + 3] != ':' || !digits(text, at + 4, 2, om) || oh > 23 || om > 59)
      return std::nullopt;
    offset = (oh * 60 + om) * 60 * (text[at] == '-' ? -1 : 1);
    at += 6;
  }
  if (at != text.size()) return std::nullopt;
  const int64_t seconds =
      days_from_civil(y, static_cast<unsigned>(mo), static_cast<unsigned>(d)) * 86400 + h * 3600 + mi * 60 + s - offset;
  constexpr int64_t kSecondsMax = INT64_MAX / 1'000'000'000 - 1;  // years 1678 to 2262
  if (seconds < -kSecondsMax || seconds > kSecondsMax) return std::nullopt;
  return WallTime{seconds * 1'000'000'000 + nanoseconds};
}

std::optional<Duration> parse_duration(std::string_view text) {
  bool negative = false;
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) {
    negative = text[0] == '-';
    text.remove_prefix(1);
  }
  if (text == "0") return Duration(0);
  if (text.empty()) return std::nullopt;
  double total = 0;
  while (!text.empty()) {
    size_t at = 0;
    double value = 0, scale = 1;
    bool any = false;
    for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, any = true)
      value = value * 10 + (text[at] - '0');
    if (at < text.size() && text[at] == '.')
      for (++at; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, any = true)
        value += (text[at] - '0') * (scale /= 10);
    if (!any) return std::nullopt;
    text.remove_prefix(at);
    const Unit* found = nullptr;
    for (const Unit& unit : kUnits)
      if (text.starts_with(unit.name) && (!found || unit.name.size() > found->name.size())) found = &unit;
    if (!found) return std::nullopt;
    text.remove_prefix(found->name.size());
    total += value * found->nanoseconds;
  }
  if (total > 9.2e18) return std::nullopt;
  return Duration(static_cast<int64_t>(std::llround(negative ? -total : total)));
}

std::string format_duration(Duration duration) {
  const int64_t count = duration.count();
  if (count == 0) return "0s";
  if (count < 0) return "-" + format_duration(Duration(-count));
  if (count < 1000) return fmt::format("{}ns", count);
  if (count < 1'000'000) return fmt::format("{}\xc2\xb5s", static_cast<double>(count) / 1e3);
  if (count < 1'000'000'000) return fmt::format("{}ms", static_cast<double>(count) / 1e6);
  const int64_t minutes = count / 60'000'000'000;
  const double seconds = static_cast<double>(count % 60'000'000'000) / 1e9;
  if (minutes == 0) return fmt::format("{}s", seconds);
  if (minutes < 60) return fmt::format("{}m{}s", minutes, seconds);
  return fmt::format("{}h{}m{}s", minutes / 60, minutes % 60, seconds);
}

std::string human_duration(Duration duration) {
  const int64_t s = std::chrono::duration_cast<std::chrono::seconds>(duration).count();
  if (s < -1) return "<invalid>";
  if (s < 0) return "0s";
  auto two = [](int64_t a, const char* au, int64_t b, const char* bu) {
    return b == 0 ? fmt::format("{}{}", a, au) : fmt::format("{}{}{}{}", a, au, b, bu);
  };
  const int64_t m = s / 60, h = s / 3600, d = s / 86400, y = d / 365;
  if (s < 120) return fmt::format("{}s", s);
  if (m < 10) return two(m, "m", s % 60, "s");
  if (m < 180) return fmt::format("{}m", m);
  if (h < 8) return two(h, "h", m % 60, "m");
  if (h < 48) return fmt::format("{}h", h);
  if (d < 8) return two(d, "d", h % 24, "h");
  if (y < 2) return fmt::format("{}d", d);
  if (y < 8) return two(y, "y", d % 365, "d");
  return fmt::format("{}y", y);
}

}  // namespace dure
