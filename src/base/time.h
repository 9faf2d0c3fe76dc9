// Time values. Nobody in base reads a clock: os::Clock does.
//
// WallTime is what objects carry (RFC 3339, UTC); Monotonic is what deadlines are made of.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace dure {

using Duration = std::chrono::nanoseconds;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
using std::chrono_literals::operator""min;
using std::chrono_literals::operator""h;

struct WallTime {
  int64_t nanoseconds = 0;  // since 1970-01-01T00:00:00Z
  friend auto operator<=>(const WallTime&, const WallTime&) = default;
  int64_t seconds() const {
    return nanoseconds >= 0 ? nanoseconds / 1'000'000'000 : (nanoseconds - 999'999'999) / 1'000'000'000;
  }
};
inline WallTime operator+(WallTime t, Duration d) { return {t.nanoseconds + d.count()}; }
inline WallTime operator-(WallTime t, Duration d) { return {t.nanoseconds - d.count()}; }
inline Duration operator-(WallTime a, WallTime b) { return Duration(a.nanoseconds - b.nanoseconds); }

struct Monotonic {
  int64_t nanoseconds = 0;  // since some moment of this boot
  friend auto operator<=>(const Monotonic&, const Monotonic&) = default;
};
inline Monotonic operator+(Monotonic t, Duration d) { return {t.nanoseconds + d.count()}; }
inline Duration operator-(Monotonic a, Monotonic b) { return Duration(a.nanoseconds - b.nanoseconds); }

std::string format_time(WallTime time);                     // metav1.Time: 2006-01-02T15:04:05Z
std::string format_micro_time(WallTime time);               // metav1.MicroTime: six decimals
std::string format_nano_time(WallTime time);                // RFC 3339 with nine decimals (CRI logs)
std::optional<WallTime> parse_time(std::string_view text);  // RFC 3339, any offset and fraction

std::optional<Duration> parse_duration(std::string_view text);  // Go's form: 1m30s, 250ms
std::string format_duration(Duration duration);                 // Go's form
// kubectl's short age: 5s, 3m12s, 4h, 2d3h (printer-columns "humanDuration").
std::string human_duration(Duration duration);

}  // namespace dure
