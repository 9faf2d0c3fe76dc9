// Quantity: an exact amount of a resource ("100m", "1.5Gi", "2e3"), as resource.Quantity of the
// Kubernetes API.
//
// Resolution is 1e-9, rounded away from zero; amounts beyond 2^63-1 are capped, as upstream does.
// Arithmetic is exact.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace dure::schema {

class Quantity {
 public:
  enum class Format : uint8_t { decimal_si, binary_si, decimal_exponent };

  Quantity() = default;
  static Quantity of(int64_t value, Format format = Format::decimal_si);
  static Quantity of_milli(int64_t milli);
  // Errors carry upstream's sentence.
  static Result<Quantity> parse(std::string_view text);
  // Reads a text that a decoder already accepted; nonsense reads as zero.
  static Quantity read(std::string_view text);

  int64_t value() const;  // whole units, rounded away from zero
  int64_t milli() const;  // thousandths, rounded away from zero, capped to int64
  double approximate() const;
  int sign() const { return nano_ > 0 ? 1 : nano_ < 0 ? -1 : 0; }
  bool is_whole() const;
  Format format() const { return format_; }
  std::string text() const;  // canonical form

  // The result has the format of the left side, or of the right one where the left is zero.
  Quantity operator+(const Quantity& other) const;
  Quantity operator-(const Quantity& other) const;
  friend std::strong_ordering operator<=>(const Quantity& a, const Quantity& b) {
    return a.nano_ < b.nano_   ? std::strong_ordering::less
           : a.nano_ > b.nano_ ? std::strong_ordering::greater
                               : std::strong_ordering::equal;
  }
  friend bool operator==(const Quantity& a, const Quantity& b) { return a.nano_ == b.nano_; }

 private:
  __int128 nano_ = 0;
  Format format_ = Format::decimal_si;
};

}  // namespace dure::schema
