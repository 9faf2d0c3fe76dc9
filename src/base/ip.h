// Ip, IpPrefix, Mac: network addresses as values. IPv4 and IPv6; an IPv4 address mapped into IPv6 stays IPv6.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace dure {

struct Ip {
  bool v6 = false;
  std::array<uint8_t, 16> bytes{};  // network order; IPv4 in the first four

  static std::optional<Ip> parse(std::string_view text);  // no leading zeros, no zone
  static Ip v4(uint32_t host_order);
  static Ip from_raw(std::string_view network_order);  // 4 or 16 bytes
  uint32_t v4() const;                                 // host order; IPv4 only
  std::string_view raw() const { return {reinterpret_cast<const char*>(bytes.data()), v6 ? 16u : 4u}; }
  bool is_unspecified() const { return bytes == std::array<uint8_t, 16>{}; }
  bool is_loopback() const;
  std::string text() const;
  friend auto operator<=>(const Ip&, const Ip&) = default;
};

// An address and a length; the bits behind the length are kept ("10.244.1.1/24" is an interface's address).
struct IpPrefix {
  Ip ip;
  int length = 0;

  static std::optional<IpPrefix> parse(std::string_view text);  // "10.0.0.0/8"; the length is required
  static IpPrefix host(const Ip& ip) { return {ip, ip.v6 ? 128 : 32}; }
  IpPrefix network() const;  // the bits behind the length cleared
  bool contains(const Ip& ip) const;
  bool overlaps(const IpPrefix& other) const;
  // A range divided into parts of `part_length` bits, counted from 0: the part that holds `inside` (none: it lies
  // outside), the part of a number, and the single address of a number. Numbers above 2^62 are not asked for.
  std::optional<int64_t> part_number(int part_length, const Ip& inside) const;
  std::optional<IpPrefix> part(int part_length, int64_t number) const;  // none: the range has not so many
  std::optional<Ip> nth(int64_t number) const;
  std::string text() const;
  friend auto operator<=>(const IpPrefix&, const IpPrefix&) = default;
};

struct Mac {
  std::array<uint8_t, 6> bytes{};

  static std::optional<Mac> parse(std::string_view text);  // "02:00:00:00:00:01", either case
  std::string_view raw() const { return {reinterpret_cast<const char*>(bytes.data()), 6}; }
  bool is_zero() const { return bytes == std::array<uint8_t, 6>{}; }
  std::string text() const;  // lower case
  friend auto operator<=>(const Mac&, const Mac&) = default;
};

}  // namespace dure
