#include "os/sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/text.h"

namespace dure::os {

std::optional<Endpoint> Endpoint::parse(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == text.npos) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  const auto ip = Ip::parse(host);
  const auto number = parse_int(text.substr(colon + 1));
  if (!ip || ip->v6 != bracketed || !number || *number < 1 || *number > 65535) return std::nullopt;
  return Endpoint{*ip, static_cast<uint16_t>(*number)};
}

std::string Endpoint::text() const {
  const std::string host = ip.v6 ? "[" + ip.text() + "]" : ip.text();
  return host + ":" + std::to_string(port);
}

namespace {

constexpr size_t batch_max = 32;

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

Address to_system(const Endpoint& endpoint) {
  Address out;
  if (endpoint.ip.v6) {
    auto* in6 = reinterpret_cast<sockaddr_in6*>(&out.storage);
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(endpoint.port);
    std::memcpy(&in6->sin6_addr, endpoint.ip.bytes.data(), 16);
    out.size = sizeof *in6;
  } else {
    auto* in = reinterpret_cast<sockaddr_in*>(&out.storage);
    in->sin_family = AF_INET;
    in->sin_port = htons(endpoint.port);
    std::memcpy(&in->sin_addr, endpoint.ip.bytes.data(), 4);
    out.size = sizeof *in;
  }
  return out;
}

Endpoint from_system(const sockaddr_storage& storage) {
  Endpoint out;
  if (storage.ss_family == AF_INET6) {
    auto* in6 = reinterpret_cast<const sockaddr_in6*>(&storage);
    out.ip = Ip::from_raw({reinterpret_cast<const char*>(&in6->sin6_addr), 16});
    out.port = ntohs(in6->sin6_port);
  } else if (storage.ss_family == AF_INET) {
    auto* in = reinterpret_cast<const sockaddr_in*>(&storage);
    out.ip = Ip::from_raw({reinterpret_cast<const char*>(&in->sin_addr), 4});
    out.port = ntohs(in->sin_port);
  }
  return out;
}

Error socket_error(std::string_view what, const Endpoint& endpoint, int errno_value) {
  Error error =
      from_errno(std::string(what) + " " + endpoint.ip.text() + ":" + std::to_string(endpoint.port), errno_value);
  if (errno_value == EADDRINUSE) error.reason = "AddressInUse";
  if (errno_value == EACCES || errno_value == EPERM) error.reason = "Forbidden";
  return error;
}

Result<int> open_bound(const Endpoint& local, int type) {
  int fd = socket(local.ip.v6 ? AF_INET6 : AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return fail(socket_error("open a socket for", local, errno));
  int on = 1;
  if (type == SOCK_STREAM) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  setsockopt(fd, local.ip.v6 ? IPPROTO_IPV6 : IPPROTO_IP, local.ip.v6 ? IPV6_FREEBIND : IP_FREEBIND, &on, sizeof on);
  Address address = to_system(local);
  if (::bind(fd, address.get(), address.size) < 0) {
    int failed = errno;
    close(fd);
    return fail(socket_error("listen at", local, failed));
  }
  return fd;
}

Result<Endpoint> local_of(int fd) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size) < 0) return fail(from_errno("getsockname", errno));
  return from_system(storage);
}

}  // namespace

struct UdpSocket::Buffers {
  std::array<mmsghdr, batch_max> headers{};
  std::array<iovec, batch_max> parts{};
  std::array<sockaddr_storage, batch_max> peers{};
  std::array<Datagram, batch_max> datagrams{};
  std::array<std::array<char, datagram_bytes_max>, batch_max> bytes;
};

// The bytes are not set to zero: what no datagram was written to takes no memory.
UdpSocket::UdpSocket(int fd) : fd_(fd), buffers_(std::make_unique_for_overwrite<Buffers>()) {}

UdpSocket::~UdpSocket() { close(fd_); }

Result<std::unique_ptr<UdpSocket>> UdpSocket::bind(const Endpoint& local) {
  DURE_TRY(int fd, open_bound(local, SOCK_DGRAM));
  int bytes = 4 << 20;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
  return std::unique_ptr<UdpSocket>(new UdpSocket(fd));
}

Result<std::unique_ptr<UdpSocket>> UdpSocket::connect(const Endpoint& peer) {
  int fd = socket(peer.ip.v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return fail(socket_error("open a socket for", peer, errno));
  Address address = to_system(peer);
  if (::connect(fd, address.get(), address.size) < 0) {
    int failed = errno;
    close(fd);
    return fail(socket_error("connect to", peer, failed));
  }
  std::unique_ptr<UdpSocket> out(new UdpSocket(fd));
  out->connected_ = true;
  return out;
}

Result<Endpoint> UdpSocket::local() const { return local_of(fd_); }

std::span<const Datagram> UdpSocket::receive() {
  Buffers& b = *buffers_;
  for (size_t i = 0; i < batch_max; ++i) {
    b.parts[i] = {b.bytes[i].data(), datagram_bytes_max};
    b.headers[i].msg_hdr = {&b.peers[i], sizeof b.peers[i], &b.parts[i], 1, nullptr, 0, 0};
  }
  int got = recvmmsg(fd_, b.headers.data(), batch_max, 0, nullptr);
  for (int i = 0; i < got; ++i)
    b.datagrams[i] = {.peer = from_system(b.peers[i]),
                      .bytes = {b.bytes[i].data(), b.headers[i].msg_len},
                      .cut = (b.headers[i].msg_hdr.msg_flags & MSG_TRUNC) != 0};
  return {b.datagrams.data(), got > 0 ? static_cast<size_t>(got) : 0};
}

void UdpSocket::send(std::span<const Datagram> datagrams) {
  while (!datagrams.empty()) {
    size_t count = std::min(datagrams.size(), batch_max);
    std::array<mmsghdr, batch_max> headers{};
    std::array<iovec, batch_max> parts{};
    std::array<Address, batch_max> peers;
    for (size_t i = 0; i < count; ++i) {
      parts[i] = {const_cast<char*>(datagrams[i].bytes.data()), datagrams[i].bytes.size()};
      headers[i].msg_hdr.msg_iov = &parts[i];
      headers[i].msg_hdr.msg_iovlen = 1;
      if (connected_) continue;
      peers[i] = to_system(datagrams[i].peer);
      headers[i].msg_hdr.msg_name = peers[i].get();
      headers[i].msg_hdr.msg_namelen = peers[i].size;
    }
    size_t done = 0;
    while (done < count) {
      int sent = sendmmsg(fd_, headers.data() + done, static_cast<unsigned>(count - done), 0);
      // An error is of the first one that was not sent: it is lost, the others are tried.
      done += sent > 0 ? static_cast<size_t>(sent) : 1;
    }
    datagrams = datagrams.subspan(count);
  }
}

namespace {

// How many of the first go as one: equally large, but for a shorter last one; what fits into one IP packet.
size_t train_length(std::span<const std::string_view> datagrams) {
  constexpr size_t bytes_max = 65000;
  const size_t size = datagrams[0].size();
  size_t count = 1, bytes = size;
  while (size > 0 && count < std::min(datagrams.size(), batch_max) && datagrams[count - 1].size() == size &&
         datagrams[count].size() <= size && !datagrams[count].empty() && bytes + datagrams[count].size() <= bytes_max)
    bytes += datagrams[count++].size();
  return count;
}

bool send_as_one(int fd, Address& peer, std::span<const std::string_view> datagrams) {
  std::array<iovec, batch_max> parts{};
  for (size_t i = 0; i < datagrams.size(); ++i)
    parts[i] = {const_cast<char*>(datagrams[i].data()), datagrams[i].size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(uint16_t))> control{};
  msghdr message{peer.get(), peer.size, parts.data(), datagrams.size(), control.data(), control.size(), 0};
  cmsghdr* segment = CMSG_FIRSTHDR(&message);
  segment->cmsg_level = SOL_UDP;
  segment->cmsg_type = UDP_SEGMENT;
  segment->cmsg_len = CMSG_LEN(sizeof(uint16_t));
  const auto size = static_cast<uint16_t>(datagrams[0].size());
  std::memcpy(CMSG_DATA(segment), &size, sizeof size);
  return sendmsg(fd, &message, 0) >= 0 || errno == EAGAIN || errno == ENOBUFS;
}

}  // namespace

void UdpSocket::send_train(const Endpoint& peer, std::span<const std::string_view> datagrams) {
  Address address = to_system(peer);
  while (!datagrams.empty()) {
    const size_t count = train_length(datagrams);
    if (count == 1 || !send_as_one(fd_, address, datagrams.first(count)))
      for (const std::string_view one : datagrams.first(count)) {
        const Datagram alone{peer, one};
        send({&alone, 1});
      }
    datagrams = datagrams.subspan(count);
  }
}

Result<std::unique_ptr<TcpStream>> TcpStream::connect(const Endpoint& peer) {
  int fd = socket(peer.ip.v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return fail(socket_error("open a socket for", peer, errno));
  Address address = to_system(peer);
  if (::connect(fd, address.get(), address.size) < 0 && errno != EINPROGRESS) {
    int failed = errno;
    close(fd);
    return fail(socket_error("connect to", peer, failed));
  }
  return std::make_unique<TcpStream>(fd);
}

TcpStream::~TcpStream() { close(fd_); }

bool TcpStream::read(std::string& out) {
  char buffer[64 * 1024];
  ssize_t got = ::recv(fd_, buffer, sizeof buffer, 0);
  if (got > 0) out.append(buffer, static_cast<size_t>(got));
  return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

bool TcpStream::write(std::string& bytes) {
  while (!bytes.empty()) {
    ssize_t put = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (put < 0) return errno == EAGAIN || errno == EINTR;
    bytes.erase(0, static_cast<size_t>(put));
  }
  return true;
}

Result<std::unique_ptr<TcpListener>> TcpListener::bind(const Endpoint& local) {
  DURE_TRY(int fd, open_bound(local, SOCK_STREAM));
  if (listen(fd, 128) < 0) {
    int failed = errno;
    close(fd);
    return fail(socket_error("listen at", local, failed));
  }
  return std::unique_ptr<TcpListener>(new TcpListener(fd));
}

TcpListener::~TcpListener() { close(fd_); }

Result<Endpoint> TcpListener::local() const { return local_of(fd_); }

std::unique_ptr<TcpStream> TcpListener::accept(Endpoint* peer) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  int fd = accept4(fd_, reinterpret_cast<sockaddr*>(&storage), &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) return nullptr;
  if (peer) *peer = from_system(storage);
  return std::make_unique<TcpStream>(fd);
}

}  // namespace dure::os
