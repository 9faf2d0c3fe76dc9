#include "lab/forwarder.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "lab/process.h"

namespace dure::lab {
namespace {

// One direction of a connection.
struct Half {
  int from = -1, to = -1;
  std::string pending;
  bool ended = false;   // `from` sent its last byte
  bool closed = false;  // `to` was told so

  bool wants_read() const { return !ended && pending.size() < 64 << 10; }

  bool readable() {
    char buffer[32 << 10];
    const ssize_t n = read(from, buffer, sizeof buffer);
    if (n > 0)
      pending.append(buffer, static_cast<size_t>(n));
    else if (n == 0)
      ended = true;
    else if (errno != EAGAIN && errno != EINTR)
      return false;
    return writable();
  }

  bool writable() {
    while (!pending.empty()) {
      const ssize_t n = send(to, pending.data(), pending.size(), MSG_NOSIGNAL);
      if (n < 0) return errno == EAGAIN || errno == EINTR;
      pending.erase(0, static_cast<size_t>(n));
    }
    if (ended && !closed) {
      shutdown(to, SHUT_WR);
      closed = true;
    }
    return true;
  }
};

struct Connection {
  Half out, back;
  bool done() const { return out.closed && back.closed; }
};

int connect_to(const std::string& address, int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in target{};
  target.sin_family = AF_INET;
  target.sin_port = htons(static_cast<uint16_t>(port));
  inet_pton(AF_INET, address.c_str(), &target.sin_addr);
  if (connect(fd, reinterpret_cast<sockaddr*>(&target), sizeof target) != 0) {
    close(fd);
    return -1;
  }
  return fd;
}

void prepare(int fd) {
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  const int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

short events_of(const Half& reads, const Half& writes) {
  return static_cast<short>((reads.wants_read() ? POLLIN : 0) | (writes.pending.empty() ? 0 : POLLOUT));
}

bool advance(Connection& c, short client, short server) {
  bool good = true;
  if (client & (POLLIN | POLLHUP)) good = good && (c.out.wants_read() ? c.out.readable() : true);
  if (server & (POLLIN | POLLHUP)) good = good && (c.back.wants_read() ? c.back.readable() : true);
  if (server & POLLOUT) good = good && c.out.writable();
  if (client & POLLOUT) good = good && c.back.writable();
  return good && !((client | server) & (POLLERR | POLLNVAL)) && !c.done();
}

}  // namespace

Result<Listener> listen_on_loopback(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(fd, 128) != 0 ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    const int why = errno;
    close(fd);
    return fail(from_errno("listen on 127.0.0.1:" + std::to_string(port), why));
  }
  return Listener{fd, ntohs(address.sin_port)};
}

int forward(int listener, int pid, const std::string& address, int port) {
  prctl(PR_SET_NAME, "dure-lab-port");
  if (!join_namespaces(pid, {"net"})) return 1;
  std::vector<Connection> connections;
  while (true) {
    std::vector<pollfd> waiting{{connections.size() < 256 ? listener : -1, POLLIN, 0}};
    for (const Connection& c : connections) {
      waiting.push_back({c.out.from, events_of(c.out, c.back), 0});
      waiting.push_back({c.out.to, events_of(c.back, c.out), 0});
    }
    if (poll(waiting.data(), waiting.size(), -1) < 0 && errno != EINTR) return 1;
    for (size_t i = connections.size(); i-- > 0;)
      if (!advance(connections[i], waiting[1 + 2 * i].revents, waiting[2 + 2 * i].revents)) {
        close(connections[i].out.from);
        close(connections[i].out.to);
        connections.erase(connections.begin() + static_cast<long>(i));
      }
    if (!(waiting[0].revents & POLLIN)) continue;
    const int client = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0) continue;
    const int server = connect_to(address, port);
    if (server < 0) {
      close(client);
      continue;
    }
    prepare(client);
    prepare(server);
    connections.push_back({{client, server, {}, false, false}, {server, client, {}, false, false}});
  }
}

}  // namespace dure::lab
