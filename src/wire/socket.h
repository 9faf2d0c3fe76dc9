// Sockets before they carry anything: addresses, listening, names. Descriptors are non-blocking and close on exec.
#pragma once

#include <sys/socket.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace dure::wire {

struct SocketAddress {
  sockaddr_storage storage = {};
  socklen_t size = 0;
  int family() const { return storage.ss_family; }
};

struct HostPort {
  std::string host;
  int port = 0;
};

// "192.0.2.1:80", "[::1]:80", "name:80".
Result<HostPort> parse_host_port(std::string_view text);
Result<SocketAddress> unix_address(std::string_view path);
// Blocks while the resolver asks; a numeric host never does.
Result<std::vector<SocketAddress>> resolve(const HostPort& target, bool numeric_only);
std::string address_text(const SocketAddress& address);  // "192.0.2.1:1234", "[::1]:1234", "unix:/path"

// address as in Server::listen.
Result<int> listen_socket(std::string_view address);
Result<int> local_port(int fd);
std::string local_address_text(int fd);  // empty when there is none
// Latency over throughput for small writes; keep-alive finds dead peers within about a minute.
void tune_connection(int fd, int family);

}  // namespace dure::wire
