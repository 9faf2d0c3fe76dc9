#include "wire/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "base/text.h"

namespace dure::wire {
namespace {

constexpr std::string_view unix_prefix = "unix:";

Result<SocketAddress> listen_address(std::string_view address) {
  if (address.starts_with(unix_prefix)) return unix_address(address.substr(unix_prefix.size()));
  DURE_TRY(auto target, parse_host_port(address));
  if (target.host.empty()) target.host = "::";
  DURE_TRY(const auto found, resolve(target, true));
  return found.front();
}

int bind_and_listen(int fd, const SocketAddress& address) {
  const int on = 1, off = 0;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (address.family() == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address.storage), address.size) != 0)
    return errno;
  // Before `listen` nobody can connect, so the wider mode of `bind` is never open.
  if (address.family() == AF_UNIX)
    chmod(reinterpret_cast<const sockaddr_un*>(&address.storage)->sun_path, 0600);
  return listen(fd, 1024) != 0 ? errno : 0;
}

// A socket file that nobody listens on any more is in the way of the next start.
void remove_stale_socket(const SocketAddress& address) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return;
  const bool refused =
      connect(fd, reinterpret_cast<const sockaddr*>(&address.storage), address.size) != 0 &&
      errno == ECONNREFUSED;
  ::close(fd);
  if (refused) unlink(reinterpret_cast<const sockaddr_un*>(&address.storage)->sun_path);
}

}  // namespace

Result<HostPort> parse_host_port(std::string_view text) {
  const size_t colon = text.rfind(':');
  const auto port =
      colon == std::string_view::npos ? std::nullopt : parse_int(text.substr(colon + 1));
  if (!port || *port < 0 || *port > 65535)
    return fail(bad_request("address \"" + std::string(text) + "\" has no port"));
  auto host = text.substr(0, colon);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']')
    host = host.substr(1, host.size() - 2);
  return HostPort{std::string(host), int(*port)};
}

Result<SocketAddress> unix_address(std::string_view path) {
  SocketAddress out;
  auto& address = reinterpret_cast<sockaddr_un&>(out.storage);
  if (path.empty() || path.size() >= sizeof address.sun_path)
    return fail(
        bad_request("socket path \"" + std::string(path) + "\" is empty or longer than 107 bytes"));
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  out.size = socklen_t(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  return out;
}

Result<std::vector<SocketAddress>> resolve(const HostPort& target, bool numeric_only) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | (numeric_only ? AI_NUMERICHOST : AI_ADDRCONFIG);
  addrinfo* found = nullptr;
  const int error =
      getaddrinfo(target.host.c_str(), std::to_string(target.port).c_str(), &hints, &found);
  if (error != 0)
    return fail(Error{.code = 503,
                      .reason = "NameNotResolved",
                      .message = "look up " + target.host + ": " + gai_strerror(error)});
  std::vector<SocketAddress> out;
  for (const addrinfo* entry = found; entry; entry = entry->ai_next) {
    SocketAddress address;
    std::memcpy(&address.storage, entry->ai_addr, entry->ai_addrlen);
    address.size = entry->ai_addrlen;
    out.push_back(address);
  }
  freeaddrinfo(found);
  return out;
}

std::string address_text(const SocketAddress& address) {
  char text[INET6_ADDRSTRLEN] = "";
  switch (address.family()) {
    case AF_INET: {
      const auto& in = reinterpret_cast<const sockaddr_in&>(address.storage);
      inet_ntop(AF_INET, &in.sin_addr, text, sizeof text);
      return std::string(text) + ":" + std::to_string(ntohs(in.sin_port));
    }
    case AF_INET6: {
      const auto& in = reinterpret_cast<const sockaddr_in6&>(address.storage);
      if (IN6_IS_ADDR_V4MAPPED(&in.sin6_addr)) {  // an IPv4 peer of a socket that listens on both
        inet_ntop(AF_INET, in.sin6_addr.s6_addr + 12, text, sizeof text);
        return std::string(text) + ":" + std::to_string(ntohs(in.sin6_port));
      }
      inet_ntop(AF_INET6, &in.sin6_addr, text, sizeof text);
      return "[" + std::string(text) + "]:" + std::to_string(ntohs(in.sin6_port));
    }
    case AF_UNIX:
      return "unix:" + std::string(reinterpret_cast<const sockaddr_un&>(address.storage).sun_path);
    default:
      return "unknown";
  }
}

Result<int> listen_socket(std::string_view text) {
  DURE_TRY(auto address, listen_address(text));
  if (address.family() == AF_UNIX) remove_stale_socket(address);
  int fd = socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return fail(from_errno("socket", errno));
  const int error = bind_and_listen(fd, address);
  if (error != 0) {
    ::close(fd);
    Error failure = from_errno("listen on " + std::string(text), error);
    if (error == EADDRINUSE) failure.reason = "AddressInUse";
    return fail(std::move(failure));
  }
  return fd;
}

Result<int> local_port(int fd) {
  SocketAddress address;
  address.size = sizeof address.storage;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address.storage), &address.size) != 0)
    return fail(from_errno("getsockname", errno));
  switch (address.family()) {
    case AF_INET:
      return int(ntohs(reinterpret_cast<const sockaddr_in&>(address.storage).sin_port));
    case AF_INET6:
      return int(ntohs(reinterpret_cast<const sockaddr_in6&>(address.storage).sin6_port));
    default:
      return 0;
  }
}

std::string local_address_text(int fd) {
  SocketAddress address;
  address.size = sizeof address.storage;
  if (fd < 0 || getsockname(fd, reinterpret_cast<sockaddr*>(&address.storage), &address.size) != 0) return {};
  return address.family() == AF_INET || address.family() == AF_INET6 ? address_text(address) : std::string();
}

void tune_connection(int fd, int family) {
  if (family == AF_UNIX) return;
  const int on = 1, idle_seconds = 30, interval_seconds = 10, probes = 3;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_seconds, sizeof idle_seconds);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_seconds, sizeof interval_seconds);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

}  // namespace dure::wire
