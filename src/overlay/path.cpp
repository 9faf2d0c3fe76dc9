#include "overlay/path.h"

#include <array>

namespace dure::overlay {
namespace {

constexpr std::array<std::string_view, rung_count + 1> names = {"lan",       "public", "punched", "relay-udp",
                                                                "relay-tls", "proxy",  "none"};

bool within(const Ip& ip, uint32_t network, int length) { return (ip.v4() ^ network) >> (32 - length) == 0; }

}  // namespace

std::string_view rung_name(Rung rung) { return names[static_cast<size_t>(rung)]; }

std::optional<Rung> rung_of_name(std::string_view name) {
  for (size_t i = 0; i < names.size(); ++i)
    if (names[i] == name) return static_cast<Rung>(i);
  return std::nullopt;
}

bool is_private(const Ip& ip) {
  if (ip.v6) return (ip.bytes[0] & 0xfe) == 0xfc || (ip.bytes[0] == 0xfe && (ip.bytes[1] & 0xc0) == 0x80);
  return within(ip, 0x0a000000, 8) || within(ip, 0xac100000, 12) || within(ip, 0xc0a80000, 16) ||
         within(ip, 0x64400000, 10) || within(ip, 0xa9fe0000, 16) || within(ip, 0x7f000000, 8);
}

}  // namespace dure::overlay
