// Proxy: an HTTP proxy on the way to a server, as HTTPS_PROXY and NO_PROXY describe it. Connections go through it with
// CONNECT (RFC 9110 section 9.3.6), so that TLS stays between the two ends.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace dure::wire {

struct Proxy {
  std::string address;        // "host:port"
  std::string authorization;  // value of Proxy-Authorization, or empty
  friend bool operator==(const Proxy&, const Proxy&) = default;
};

// "http://user:password@host:port", "host:port"; the port is 80 when there is none (RFC 3986 forms; user and password
// percent-encoded). "BadProxy" for anything else; proxies that are spoken to over TLS or SOCKS are not supported.
Result<Proxy> parse_proxy(std::string_view url);
// What may be logged: without user and password.
std::string proxy_without_secret(std::string_view url);

// Whether NO_PROXY takes `host` out: entries by comma; "*"; a name means itself and what is below it (with or without
// a dot in front); an address; a range in CIDR form; each with ":port" to mean that port only. The machine itself is
// always taken out.
bool bypasses_proxy(std::string_view no_proxy, std::string_view host, int port);

// The request and the reading of the answer to it. `answer` is everything up to and with the empty line.
std::string connect_request(const Proxy& proxy, std::string_view target);
// "ProxyRefused" with the status line; code 407 becomes a sentence about user and password.
Status check_connect_answer(std::string_view answer, const Proxy& proxy);

}  // namespace dure::wire
