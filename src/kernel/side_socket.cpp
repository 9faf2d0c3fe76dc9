#include "kernel/side_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <map>
#include <optional>

#include "kernel/namespaces.h"

namespace dure::kernel {
namespace {

constexpr size_t batch_max = 32, packet_bytes_max = 2048, sources_max = 4096;
constexpr int buffer_bytes = 4 << 20;

// The sum of RFC 1071 over parts that follow each other.
class Checksum {
 public:
  void add(std::string_view bytes) {
    size_t i = 0;
    if (odd_ && !bytes.empty()) {
      sum_ += static_cast<uint8_t>(bytes[0]);
      i = 1;
      odd_ = false;
    }
    for (; i + 4 <= bytes.size(); i += 4) {
      uint32_t word;
      std::memcpy(&word, bytes.data() + i, 4);
      sum_ += ntohl(word);
    }
    for (; i + 2 <= bytes.size(); i += 2)
      add(static_cast<uint16_t>(static_cast<uint8_t>(bytes[i]) << 8 | static_cast<uint8_t>(bytes[i + 1])));
    if (i < bytes.size()) {
      sum_ += static_cast<uint64_t>(static_cast<uint8_t>(bytes[i])) << 8;
      odd_ = true;
    }
  }
  void add(uint16_t number) { sum_ += number; }
  uint16_t value() const {
    uint64_t sum = sum_;
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    const auto out = static_cast<uint16_t>(~sum);
    return out == 0 ? 0xffff : out;
  }

 private:
  uint64_t sum_ = 0;  // of 16-bit words, and of 32-bit ones, which fold to the same
  bool odd_ = false;
};

struct Packet {  // one datagram being sent
  udphdr header{};
  std::array<iovec, 3> parts{};
  sockaddr_in to{};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(in_pktinfo))> control{};
};

}  // namespace

struct SideSocket::State {
  uint16_t port = 0;
  int whole = -1;                       // hears, and sends with DF
  int plain = -1;                       // sends what may be cut
  int asking = -1;                      // connected to learn a source, never used to send
  std::map<uint32_t, in_addr> sources;  // by destination
  std::array<mmsghdr, batch_max> headers{};
  std::array<iovec, batch_max> parts{};
  std::array<sockaddr_in, batch_max> peers{};
  std::array<Received, batch_max> received{};
  std::array<std::array<char, packet_bytes_max>, batch_max> bytes;
  std::array<Packet, batch_max> packets{};

  ~State() {
    if (asking >= 0) close(asking);
    if (whole >= 0) close(whole);
    if (plain >= 0) close(plain);
  }

  // The address that the kernel would send from. A checksum covers it, so it has to be known.
  std::optional<in_addr> source_for(const in_addr& to) {
    if (const auto known = sources.find(to.s_addr); known != sources.end()) return known->second;
    if (sources.size() >= sources_max) sources.clear();
    sockaddr_in address{};  // of no family: forgets the last question
    ::connect(asking, reinterpret_cast<sockaddr*>(&address), sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr = to;
    socklen_t size = sizeof address;
    const bool ok = ::connect(asking, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                    getsockname(asking, reinterpret_cast<sockaddr*>(&address), &size) == 0;
    if (!ok) return std::nullopt;
    sources[to.s_addr] = address.sin_addr;
    return address.sin_addr;
  }

  bool prepare(Packet& packet, msghdr& message, const Sent& datagram) {
    packet.to = {};
    packet.to.sin_family = AF_INET;
    if (datagram.to.ip.v6) return false;
    std::memcpy(&packet.to.sin_addr, datagram.to.ip.bytes.data(), 4);
    const auto source = source_for(packet.to.sin_addr);
    if (!source) return false;
    const auto size = static_cast<uint16_t>(sizeof(udphdr) + datagram.head.size() + datagram.body.size());
    packet.header.source = htons(port);
    packet.header.dest = htons(datagram.to.port);
    packet.header.len = htons(size);
    packet.header.check = 0;
    Checksum sum;
    sum.add({reinterpret_cast<const char*>(&source->s_addr), 4});
    sum.add({reinterpret_cast<const char*>(&packet.to.sin_addr.s_addr), 4});
    sum.add(uint16_t{IPPROTO_UDP});
    sum.add(size);
    sum.add({reinterpret_cast<const char*>(&packet.header), sizeof packet.header});
    sum.add(datagram.head);
    sum.add(datagram.body);
    packet.header.check = htons(sum.value());
    packet.parts = {iovec{&packet.header, sizeof packet.header},
                    iovec{const_cast<char*>(datagram.head.data()), datagram.head.size()},
                    iovec{const_cast<char*>(datagram.body.data()), datagram.body.size()}};
    message = {&packet.to, sizeof packet.to, packet.parts.data(), packet.parts.size(), nullptr, 0, 0};
    message.msg_control = packet.control.data();
    message.msg_controllen = packet.control.size();
    cmsghdr* control = CMSG_FIRSTHDR(&message);
    control->cmsg_level = IPPROTO_IP;
    control->cmsg_type = IP_PKTINFO;
    control->cmsg_len = CMSG_LEN(sizeof(in_pktinfo));
    in_pktinfo info{};
    info.ipi_spec_dst = *source;
    std::memcpy(CMSG_DATA(control), &info, sizeof info);
    return true;
  }

  Status open() {
    asking = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (asking < 0) return fail(from_errno("open a socket", errno));
    for (int* fd : {&whole, &plain}) {
      *fd = socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP);
      if (*fd < 0) {
        Error error = from_errno("open a raw socket", errno);
        if (errno == EPERM || errno == EACCES) error.reason = "Forbidden";
        return fail(std::move(error));
      }
      const int discover = fd == &whole ? IP_PMTUDISC_PROBE : IP_PMTUDISC_DONT;
      setsockopt(*fd, IPPROTO_IP, IP_MTU_DISCOVER, &discover, sizeof discover);
      setsockopt(*fd, SOL_SOCKET, SO_SNDBUF, &buffer_bytes, sizeof buffer_bytes);
    }
    return {};
  }

  // `packet` is what the kernel hands over: from the IP header on.
  Status filter(std::array<uint8_t, 4> first) {
    const uint32_t magic = uint32_t{first[0]} << 24 | uint32_t{first[1]} << 16 | uint32_t{first[2]} << 8 | first[3];
    sock_filter wanted[] = {
        BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0),  // the length of the IP header
        BPF_STMT(BPF_LD | BPF_H | BPF_IND, 2),  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, port, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_IND, 8),  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, magic, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0xffff),      BPF_STMT(BPF_RET | BPF_K, 0),
    };
    sock_filter nothing[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
    const sock_fprog programs[] = {{std::size(wanted), wanted}, {std::size(nothing), nothing}};
    if (setsockopt(whole, SOL_SOCKET, SO_ATTACH_FILTER, &programs[0], sizeof programs[0]) ||
        setsockopt(plain, SOL_SOCKET, SO_ATTACH_FILTER, &programs[1], sizeof programs[1]))
      return fail(from_errno("filter a raw socket", errno));
    if (setsockopt(whole, SOL_SOCKET, SO_RCVBUFFORCE, &buffer_bytes, sizeof buffer_bytes))
      setsockopt(whole, SOL_SOCKET, SO_RCVBUF, &buffer_bytes, sizeof buffer_bytes);
    // What came before the filter was there.
    char drop[64];
    while (recv(whole, drop, sizeof drop, 0) >= 0) {
    }
    return {};
  }
};

Result<std::unique_ptr<SideSocket>> SideSocket::open(uint16_t port, std::array<uint8_t, 4> first_bytes,
                                                     const NetNamespace* ns) {
  auto state = std::make_unique_for_overwrite<State>();  // what no packet was written to takes no memory
  state->port = port;
  Status opened;
  const auto work = [&] { opened = state->open(); };
  if (ns) {
    DURE_CHECK(ns->run(work));
  } else {
    work();
  }
  DURE_CHECK(opened);
  DURE_CHECK(state->filter(first_bytes));
  return std::unique_ptr<SideSocket>(new SideSocket(std::move(state)));
}

SideSocket::SideSocket(std::unique_ptr<State> state) : state_(std::move(state)) {}
SideSocket::~SideSocket() = default;
int SideSocket::fd() const { return state_->whole; }
void SideSocket::network_changed() { state_->sources.clear(); }

std::span<const SideSocket::Received> SideSocket::receive() {
  State& s = *state_;
  for (size_t i = 0; i < batch_max; ++i) {
    s.parts[i] = {s.bytes[i].data(), packet_bytes_max};
    s.headers[i].msg_hdr = {&s.peers[i], sizeof s.peers[i], &s.parts[i], 1, nullptr, 0, 0};
  }
  const int got = recvmmsg(s.whole, s.headers.data(), batch_max, 0, nullptr);
  size_t count = 0;
  for (int i = 0; i < got; ++i) {
    const size_t size = s.headers[static_cast<size_t>(i)].msg_len;
    char* const packet = s.bytes[static_cast<size_t>(i)].data();
    const size_t ip_bytes = (static_cast<uint8_t>(packet[0]) & 15) * 4u;
    if (size < ip_bytes + sizeof(udphdr) || size > packet_bytes_max) continue;
    udphdr header;
    std::memcpy(&header, packet + ip_bytes, sizeof header);
    const size_t length = ntohs(header.len);
    if (length < sizeof(udphdr) || ip_bytes + length > size) continue;
    const std::string_view source(packet + 12, 4);
    s.received[count++] = {{Ip::from_raw(source), ntohs(header.source)},
                           {packet + ip_bytes + sizeof header, length - sizeof header}};
  }
  return {s.received.data(), count};
}

SideSocket::Outcome SideSocket::send_whole(const os::Endpoint& to, std::string_view bytes) {
  msghdr message{};
  if (!state_->prepare(state_->packets[0], message, {to, bytes, {}})) return Outcome::unreachable;
  if (sendmsg(state_->whole, &message, 0) >= 0) return Outcome::taken;
  if (errno == EMSGSIZE) return Outcome::too_large;
  if (errno == EAGAIN || errno == ENOBUFS) return Outcome::busy;
  state_->sources.clear();
  return Outcome::unreachable;
}

void SideSocket::send(std::span<const Sent> datagrams) {
  State& s = *state_;
  while (!datagrams.empty()) {
    size_t count = 0, taken = 0;
    for (; taken < datagrams.size() && count < batch_max; ++taken)
      if (s.prepare(s.packets[count], s.headers[count].msg_hdr, datagrams[taken])) ++count;
    datagrams = datagrams.subspan(taken);
    for (size_t done = 0; done < count;) {
      const int sent = sendmmsg(s.plain, s.headers.data() + done, static_cast<unsigned>(count - done), 0);
      if (sent < 0 && (errno == EAGAIN || errno == ENOBUFS)) break;
      done += sent > 0 ? static_cast<size_t>(sent) : 1;  // an error is of the first that was not sent
    }
  }
}

}  // namespace dure::kernel
