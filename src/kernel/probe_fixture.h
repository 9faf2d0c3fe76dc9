// Test: servers and clients that live in a namespace of their own choice; a server answers with its name and the
// address it saw.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>

#include "base/ip.h"
#include "kernel/namespace_fixture.h"

namespace dure::kernel {

inline sockaddr_in socket_address(const std::string& ip, uint16_t port) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(port);
  inet_pton(AF_INET, ip.c_str(), &out.sin_addr);
  return out;
}

class ProbeServer {  // TCP and UDP on one port; answers "<name> <source address>"
 public:
  ProbeServer(const NetNamespace& ns, std::string name, uint16_t port, const std::string& address = "0.0.0.0")
      : name_(std::move(name)) {
    must(ns.run([&] {
      tcp_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      udp_ = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
      int on = 1;
      setsockopt(tcp_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
      sockaddr_in any = socket_address(address, port);
      if (bind(tcp_, reinterpret_cast<sockaddr*>(&any), sizeof any) || listen(tcp_, 64) ||
          bind(udp_, reinterpret_cast<sockaddr*>(&any), sizeof any))
        ADD_FAILURE() << "cannot listen: " << errno;
    }));
    stop_ = eventfd(0, EFD_CLOEXEC);
    thread_ = std::thread([this] { run(); });
  }
  ~ProbeServer() {
    uint64_t one = 1;
    [[maybe_unused]] auto n = write(stop_, &one, sizeof one);
    thread_.join();
    close(tcp_), close(udp_), close(stop_);
  }

 private:
  std::string answer(const sockaddr_in& from) const {
    char text[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &from.sin_addr, text, sizeof text);
    return name_ + " " + text;
  }
  void run() {
    while (true) {
      pollfd waits[3] = {{tcp_, POLLIN, 0}, {udp_, POLLIN, 0}, {stop_, POLLIN, 0}};
      poll(waits, 3, -1);
      if (waits[2].revents) return;
      sockaddr_in from{};
      socklen_t size = sizeof from;
      if (waits[0].revents) {
        int client = accept(tcp_, reinterpret_cast<sockaddr*>(&from), &size);
        std::string text = answer(from);
        [[maybe_unused]] auto n = write(client, text.data(), text.size());
        close(client);
      }
      if (waits[1].revents) {
        char byte;
        recvfrom(udp_, &byte, 1, 0, reinterpret_cast<sockaddr*>(&from), &size);
        std::string text = answer(from);
        sendto(udp_, text.data(), text.size(), 0, reinterpret_cast<sockaddr*>(&from), size);
      }
    }
  }
  std::string name_;
  int tcp_ = -1, udp_ = -1, stop_ = -1;
  std::thread thread_;
};

// What the server said; "refused", "timeout" or "errno N" otherwise.
inline std::string ask(const NetNamespace& ns, const std::string& ip, uint16_t port, int type = SOCK_STREAM,
                       int fd = -1) {
  std::string out;
  auto work = [&] {
    bool own = fd < 0;
    int s = own ? socket(AF_INET, type | SOCK_CLOEXEC, 0) : fd;
    timeval limit{type == SOCK_STREAM ? 2 : 1, 0};
    setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    sockaddr_in to = socket_address(ip, port);
    char buffer[256];
    ssize_t got = -1;
    if (connect(s, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0) {
      // A datagram may be lost, as the first ones through a cable that was just plugged in: it is sent again.
      const int attempts = type == SOCK_STREAM ? 1 : 5;
      for (int i = 0; i < attempts && got < 0 && (i == 0 || errno == EAGAIN); ++i)
        if (type == SOCK_STREAM || send(s, "?", 1, 0) == 1) got = recv(s, buffer, sizeof buffer, 0);
    }
    if (got > 0)
      out.assign(buffer, static_cast<size_t>(got));
    else
      out = errno == ECONNREFUSED                                           ? "refused"
            : errno == EAGAIN || errno == EINPROGRESS || errno == ETIMEDOUT ? "timeout"
                                                                            : "errno " + std::to_string(errno);
    if (own) close(s);
  };
  must(ns.run(work));
  return out;
}
inline std::string ask_udp(const NetNamespace& ns, const std::string& ip, uint16_t port, int fd = -1) {
  return ask(ns, ip, port, SOCK_DGRAM, fd);
}

}  // namespace dure::kernel
