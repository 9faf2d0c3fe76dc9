#include "schema/quantity.h"

#include <algorithm>

namespace dure::schema {

namespace {

using Wide = __int128;
constexpr Wide kNano = 1'000'000'000;
constexpr Wide kLargest = static_cast<Wide>(INT64_MAX) * kNano;
constexpr size_t kDigitsMax = 36;  // more of a mantissa does not fit; beyond the resolution anyway

Wide power_of_ten(int exponent) {
  Wide result = 1;
  for (int i = 0; i < exponent; ++i) result *= 10;
  return result;
}

Wide divide_away_from_zero(Wide value, Wide divisor) {
  const Wide quotient = value / divisor;
  if (quotient * divisor == value) return quotient;
  return quotient + (value < 0 ? -1 : 1);
}

// value * factor, capped.
Wide multiply(Wide value, Wide factor) {
  if (value != 0 && factor > (kLargest + kNano) / value) return kLargest;
  return std::min(value * factor, kLargest);
}

// Resource amounts in mantissas of up to kDigitsMax digits: value = mantissa * 10^ten * 2^two.
Wide scaled(Wide mantissa, int ten, int two, bool sticky) {
  ten += 9;
  if (ten < 0) {
    // Divide first: what is lost lies below the resolution unless a binary suffix lifts it, and
    // then only beyond 18 digits.
    if (two > 0) {
      while (ten < -18) {
        sticky = sticky || mantissa % 10 != 0;
        mantissa /= 10;
        ++ten;
      }
      const Wide divisor = power_of_ten(-ten);
      const Wide factor = static_cast<Wide>(1) << two;
      const Wide whole = multiply(mantissa / divisor, factor);
      const Wide rest = mantissa % divisor;  // < 10^18, factor <= 2^60
      return std::min(kLargest, whole + divide_away_from_zero(rest * factor + (sticky ? 1 : 0), divisor));
    }
    if (-ten > static_cast<int>(kDigitsMax)) return mantissa != 0 || sticky ? 1 : 0;
    const Wide divisor = power_of_ten(-ten);
    const Wide result = divide_away_from_zero(mantissa, divisor);
    return std::min(kLargest, sticky && mantissa % divisor == 0 ? result + 1 : result);
  }
  if (mantissa == 0) return sticky ? 1 : 0;
  if (ten > static_cast<int>(kDigitsMax)) return kLargest;
  return multiply(multiply(mantissa, power_of_ten(ten)), static_cast<Wide>(1) << two);
}

struct Suffix {
  int ten = 0, two = 0;
  Quantity::Format format = Quantity::Format::decimal_si;
};

bool interpret(std::string_view text, Suffix& out) {
  using Format = Quantity::Format;
  if (text.empty()) return true;
  if (text.size() == 2 && text[1] == 'i') {
    const size_t place = std::string_view("KMGTPE").find(text[0]);
    if (place == std::string_view::npos) return false;
    out = {0, static_cast<int>(place + 1) * 10, Format::binary_si};
    return true;
  }
  if (text.size() == 1) {
    const size_t place = std::string_view("num kMGTPE").find(text[0]);
    if (place == std::string_view::npos || place == 3) return false;
    out = {static_cast<int>(place) * 3 - 9, 0, Format::decimal_si};
    return true;
  }
  if (text[0] != 'e' && text[0] != 'E') return false;
  bool negative = false;
  size_t i = 1;
  if (text[i] == '+' || text[i] == '-') negative = text[i++] == '-';
  if (i == text.size()) return false;
  int exponent = 0;
  for (; i < text.size(); ++i) {
    if (text[i] < '0' || text[i] > '9') return false;
    exponent = std::min(exponent * 10 + (text[i] - '0'), 100000);
  }
  out = {negative ? -exponent : exponent, 0, Format::decimal_exponent};
  return true;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

Error wrong_format() {
  return bad_request(
      "quantities must match the regular expression "
      "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
}

std::string decimal(Wide value) {
  char buffer[48];
  char* p = buffer + sizeof buffer;
  const bool negative = value < 0;
  unsigned __int128 rest = negative ? -static_cast<unsigned __int128>(value) : static_cast<unsigned __int128>(value);
  do {
    *--p = static_cast<char>('0' + static_cast<int>(rest % 10));
    rest /= 10;
  } while (rest != 0);
  if (negative) *--p = '-';
  return std::string(p, static_cast<size_t>(buffer + sizeof buffer - p));
}

int64_t capped(Wide value) { return static_cast<int64_t>(std::clamp<Wide>(value, INT64_MIN, INT64_MAX)); }

}  // namespace

Quantity Quantity::of(int64_t value, Format format) {
  Quantity q;
  q.nano_ = static_cast<Wide>(value) * kNano;
  q.format_ = format;
  return q;
}

Quantity Quantity::of_milli(int64_t milli) {
  Quantity q;
  q.nano_ = static_cast<Wide>(milli) * (kNano / 1000);
  return q;
}

Result<Quantity> Quantity::parse(std::string_view text) {
  size_t i = 0;
  bool negative = false;
  if (i < text.size() && (text[i] == '+' || text[i] == '-')) negative = text[i++] == '-';
  Wide mantissa = 0;
  size_t kept = 0, digits = 0, dropped = 0, fraction = 0;
  bool sticky = false, point = false;
  for (; i < text.size(); ++i) {
    if (text[i] == '.' && !point) {
      point = true;
      continue;
    }
    if (!is_digit(text[i])) break;
    ++digits;
    if (point) ++fraction;
    if (kept >= kDigitsMax) {
      ++dropped;
      sticky = sticky || text[i] != '0';
      continue;
    }
    mantissa = mantissa * 10 + (text[i] - '0');
    if (mantissa != 0) ++kept;
  }
  if (digits == 0 && !point) return fail(wrong_format());
  const size_t suffix_start = i;
  while (i < text.size() && std::string_view("eEinumkKMGTP").find(text[i]) != std::string_view::npos) ++i;
  if (i < text.size() && (text[i] == '+' || text[i] == '-')) ++i;
  while (i < text.size() && is_digit(text[i])) ++i;
  if (i != text.size()) return fail(wrong_format());
  if (digits == 0) return fail(bad_request("unable to parse numeric part of quantity"));
  Suffix suffix;
  if (!interpret(text.substr(suffix_start), suffix)) return fail(bad_request("unable to parse quantity's suffix"));
  Quantity q;
  q.format_ = suffix.format;
  const int ten = std::clamp(suffix.ten, -100000, 100000) - static_cast<int>(std::min<size_t>(fraction, 1'000'000)) +
                  static_cast<int>(std::min<size_t>(dropped, 1'000'000));
  q.nano_ = scaled(mantissa, ten, suffix.two, sticky);
  if (negative) q.nano_ = -q.nano_;
  return q;
}

Quantity Quantity::read(std::string_view text) {
  auto parsed = parse(text);
  return parsed ? *parsed : Quantity();
}

int64_t Quantity::value() const { return capped(divide_away_from_zero(nano_, kNano)); }
int64_t Quantity::milli() const { return capped(divide_away_from_zero(nano_, kNano / 1000)); }
double Quantity::approximate() const { return static_cast<double>(nano_) / 1e9; }
bool Quantity::is_whole() const { return nano_ % kNano == 0; }

std::string Quantity::text() const {
  if (nano_ == 0) return "0";
  const bool small = nano_ > -1024 * kNano && nano_ < 1024 * kNano;
  if (format_ == Format::binary_si && !small && is_whole()) {
    Wide value = nano_ / kNano;
    size_t times = 0;
    while (value % 1024 == 0 && times < 6) {
      value /= 1024;
      ++times;
    }
    std::string out = decimal(value);
    if (times > 0) out.append({"KMGTPE"[times - 1], 'i'});
    return out;
  }
  Wide value = nano_;
  int exponent = -9;
  while (value % 1000 == 0 && exponent < 18) {
    value /= 1000;
    exponent += 3;
  }
  std::string out = decimal(value);
  if (exponent == 0) return out;
  if (format_ == Format::decimal_exponent) return out + "e" + std::to_string(exponent);
  return out + "num kMGTPE"[static_cast<size_t>(exponent / 3 + 3)];
}

Quantity Quantity::operator+(const Quantity& other) const {
  Quantity sum = *this;
  if (nano_ == 0) sum.format_ = other.format_;
  sum.nano_ = std::clamp(nano_ + other.nano_, -kLargest, kLargest);
  return sum;
}

Quantity Quantity::operator-(const Quantity& other) const {
  Quantity negated = other;
  negated.nano_ = -negated.nano_;
  return *this + negated;
}

}  // namespace dure::schema
