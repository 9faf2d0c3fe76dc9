// ServerAddress: what a person writes for the server of a cluster: "192.0.2.1:6443", "pi.example.org",
// "https://[2001:db8::1]:6443/". Copied text is where joining goes wrong first, so what cannot be an address says which
// part of it is foreign. Pure.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace dure::bootstrap {

struct ServerAddress {
  std::string host;  // a name stays a name, so that it can be resolved again
  int port = 6443;
  std::string text() const;  // "host:port"; an IPv6 host in brackets
  std::string url() const { return "https://" + text(); }
  friend bool operator==(const ServerAddress&, const ServerAddress&) = default;
};

// Errors: PlainHttp (http://...), AddressGarbled (a footnote mark, a placeholder, a path, a port that is none, ...).
Result<ServerAddress> parse_server_address(std::string_view text);

// One IP address of this machine, as --apiserver-advertise-address wants it. AddressGarbled.
Status check_own_address(std::string_view flag, std::string_view text);

// The first thing in a command line that no keyboard makes: curly quotes, long dashes, no-break spaces, footnote marks.
// "GarbledArgument"; success: all of it is plain.
Status check_plain_text(std::string_view argument);

}  // namespace dure::bootstrap
