#include "base/ip.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

#include "base/text.h"

namespace dure {

std::optional<Ip> Ip::parse(std::string_view text) {
  char buffer[INET6_ADDRSTRLEN + 1];
  if (text.empty() || text.size() >= sizeof buffer) return std::nullopt;
  std::memcpy(buffer, text.data(), text.size());
  buffer[text.size()] = 0;
  Ip ip;
  ip.v6 = text.find(':') != text.npos;
  if (inet_pton(ip.v6 ? AF_INET6 : AF_INET, buffer, ip.bytes.data()) != 1) return std::nullopt;
  return ip;
}

Ip Ip::v4(uint32_t host_order) {
  Ip ip;
  for (int i = 0; i < 4; ++i) ip.bytes[i] = static_cast<uint8_t>(host_order >> (24 - 8 * i));
  return ip;
}

Ip Ip::from_raw(std::string_view network_order) {
  Ip ip;
  ip.v6 = network_order.size() == 16;
  std::memcpy(ip.bytes.data(), network_order.data(), std::min<size_t>(network_order.size(), 16));
  return ip;
}

uint32_t Ip::v4() const {
  return uint32_t{bytes[0]} << 24 | uint32_t{bytes[1]} << 16 | uint32_t{bytes[2]} << 8 | bytes[3];
}

bool Ip::is_loopback() const {
  if (!v6) return bytes[0] == 127;
  return *this == *parse("::1");
}

std::string Ip::text() const {
  char buffer[INET6_ADDRSTRLEN];
  inet_ntop(v6 ? AF_INET6 : AF_INET, bytes.data(), buffer, sizeof buffer);
  return buffer;
}

std::optional<IpPrefix> IpPrefix::parse(std::string_view text) {
  size_t slash = text.find('/');
  if (slash == text.npos) return std::nullopt;
  auto ip = Ip::parse(text.substr(0, slash));
  std::string_view digits = text.substr(slash + 1);
  bool plain = !digits.empty() && std::ranges::all_of(digits, [](char c) { return c >= '0' && c <= '9'; });
  if (!ip || !plain || digits.size() > 3 || (digits.size() > 1 && digits[0] == '0')) return std::nullopt;
  int64_t length = *parse_int(digits);
  if (length > (ip->v6 ? 128 : 32)) return std::nullopt;
  return IpPrefix{*ip, static_cast<int>(length)};
}

IpPrefix IpPrefix::network() const {
  IpPrefix out = *this;
  for (int bit = length; bit < (ip.v6 ? 128 : 32); ++bit)
    out.ip.bytes[bit / 8] &= static_cast<uint8_t>(~(0x80 >> (bit % 8)));
  return out;
}

bool IpPrefix::contains(const Ip& other) const {
  return other.v6 == ip.v6 && IpPrefix{other, length}.network().ip == network().ip;
}

bool IpPrefix::overlaps(const IpPrefix& other) const {
  return length <= other.length ? contains(other.ip) : other.contains(ip);
}

std::optional<int64_t> IpPrefix::part_number(int part_length, const Ip& inside) const {
  if (!contains(inside)) return std::nullopt;
  int64_t number = 0;
  for (int bit = length; bit < part_length; ++bit)
    number = number * 2 + ((inside.bytes[static_cast<size_t>(bit / 8)] >> (7 - bit % 8)) & 1);
  return number;
}

std::optional<IpPrefix> IpPrefix::part(int part_length, int64_t number) const {
  IpPrefix out = network();
  out.length = part_length;
  for (int bit = part_length - 1; bit >= length; --bit, number /= 2)
    if (number % 2) out.ip.bytes[static_cast<size_t>(bit / 8)] |= static_cast<uint8_t>(1 << (7 - bit % 8));
  if (number != 0) return std::nullopt;
  return out;
}

std::optional<Ip> IpPrefix::nth(int64_t number) const {
  auto host = part(ip.v6 ? 128 : 32, number);
  if (!host) return std::nullopt;
  return host->ip;
}

std::string IpPrefix::text() const { return ip.text() + "/" + std::to_string(length); }

std::optional<Mac> Mac::parse(std::string_view text) {
  if (text.size() != 17) return std::nullopt;
  Mac mac;
  for (int i = 0; i < 6; ++i) {
    int value = 0;
    for (int d = 0; d < 2; ++d) {
      char c = text[i * 3 + d];
      int digit = c >= '0' && c <= '9'   ? c - '0'
                  : c >= 'a' && c <= 'f' ? c - 'a' + 10
                  : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                         : -1;
      if (digit < 0) return std::nullopt;
      value = value * 16 + digit;
    }
    if (i < 5 && text[i * 3 + 2] != ':') return std::nullopt;
    mac.bytes[i] = static_cast<uint8_t>(value);
  }
  return mac;
}

std::string Mac::text() const {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out;
  for (int i = 0; i < 6; ++i) {
    if (i) out += ':';
    out += digits[bytes[i] >> 4];
    out += digits[bytes[i] & 15];
  }
  return out;
}

}  // namespace dure
