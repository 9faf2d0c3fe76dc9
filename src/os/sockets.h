// Sockets of the machine for protocols that live on datagrams and small TCP messages (DNS).
// Non-blocking throughout: readiness comes from run::Loop::watch(fd()). Thread: one at a time per
// object.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "base/result.h"

namespace dure::os {

struct Endpoint {
  Ip ip;
  uint16_t port = 0;

  static std::optional<Endpoint> parse(std::string_view text);  // "192.0.2.1:80", "[fd00::1]:80"; port 0 is none
  std::string text() const;
  friend auto operator<=>(const Endpoint&, const Endpoint&) = default;
};

struct Datagram {
  Endpoint peer;  // source when received, destination when sent
  std::string_view bytes;
  bool cut = false;  // received: it was longer than datagram_bytes_max and these are its first bytes
};

class UdpSocket {
 public:
  static constexpr size_t datagram_bytes_max = 4096;  // of those that are received

  // The address need not exist yet. Port 0: any. Errors: "AddressInUse", "Forbidden" or
  // "SystemError".
  static Result<std::unique_ptr<UdpSocket>> bind(const Endpoint& local);
  // Sends to and hears from `peer` only; from a port of the kernel's choice.
  static Result<std::unique_ptr<UdpSocket>> connect(const Endpoint& peer);
  ~UdpSocket();

  int fd() const { return fd_; }
  Result<Endpoint> local() const;
  // Up to 32 datagrams with one system call; empty: nothing there. The bytes are good until the
  // next call.
  std::span<const Datagram> receive();
  // With one system call; what the kernel does not take is lost, as on the wire.
  void send(std::span<const Datagram> datagrams);
  // Up to 32 to one peer. Those of equal size that follow each other pass through the machine as one (UDP_SEGMENT),
  // which is several times cheaper; for peers on this machine: where a device's MTU is smaller, each goes by itself.
  void send_train(const Endpoint& peer, std::span<const std::string_view> datagrams);

 private:
  explicit UdpSocket(int fd);
  struct Buffers;
  int fd_;
  bool connected_ = false;
  std::unique_ptr<Buffers> buffers_;
};

class TcpStream {
 public:
  static Result<std::unique_ptr<TcpStream>> connect(const Endpoint& peer);  // in progress; writable when connected
  explicit TcpStream(int fd) : fd_(fd) {}
  ~TcpStream();
  TcpStream(const TcpStream&) = delete;
  TcpStream& operator=(const TcpStream&) = delete;

  int fd() const { return fd_; }
  // Appends what is there to `out` (at most 64 KB). False: the other side closed, or an error.
  bool read(std::string& out);
  // Writes what the kernel takes and removes it from `bytes`. False: broken.
  bool write(std::string& bytes);

 private:
  int fd_;
};

class TcpListener {
 public:
  static Result<std::unique_ptr<TcpListener>> bind(const Endpoint& local);
  ~TcpListener();
  int fd() const { return fd_; }
  Result<Endpoint> local() const;
  std::unique_ptr<TcpStream> accept(Endpoint* peer = nullptr);  // null: nobody is waiting

 private:
  explicit TcpListener(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace dure::os
