#include "kernel/netlink.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kernel/namespaces.h"

namespace dure::kernel::netlink {

namespace {

constexpr size_t receive_bytes = 256 * 1024;  // a dump part is at most 32 KB, a refused message is echoed whole
constexpr int dump_tries_max = 8;

size_t padded(size_t size) { return (size + 3) & ~size_t{3}; }

}  // namespace

void Writer::raw(std::string_view bytes) {
  buffer_ += bytes;
  pad();
}

void Writer::pad() { buffer_.resize(padded(buffer_.size())); }

void Writer::begin(uint16_t type, uint16_t flags, uint32_t sequence) {
  begin_ = buffer_.size();
  nlmsghdr header{};
  header.nlmsg_type = type;
  header.nlmsg_flags = flags;
  header.nlmsg_seq = sequence;
  raw({reinterpret_cast<const char*>(&header), sizeof header});
}

void Writer::end() {
  uint32_t length = static_cast<uint32_t>(buffer_.size() - begin_);
  std::memcpy(buffer_.data() + begin_, &length, sizeof length);
}

void Writer::put(uint16_t type, std::string_view bytes) {
  nlattr header{static_cast<uint16_t>(sizeof(nlattr) + bytes.size()), type};
  DURE_ASSERT(sizeof(nlattr) + bytes.size() <= 0xffff);
  buffer_.append(reinterpret_cast<const char*>(&header), sizeof header);
  raw(bytes);
}

void Writer::put_text(uint16_t type, std::string_view text) {
  std::string with_end(text);
  with_end += '\0';
  put(type, with_end);
}

void Writer::put_be16(uint16_t type, uint16_t value) { put_u16(type, htons(value)); }
void Writer::put_be32(uint16_t type, uint32_t value) { put_u32(type, htonl(value)); }
void Writer::put_be64(uint16_t type, uint64_t value) { put_value(type, htobe64(value)); }

size_t Writer::nest(uint16_t type) {
  size_t at = buffer_.size();
  nlattr header{0, static_cast<uint16_t>(type | NLA_F_NESTED)};
  buffer_.append(reinterpret_cast<const char*>(&header), sizeof header);
  return at;
}

void Writer::close(size_t nest_begin) {
  size_t length = buffer_.size() - nest_begin;
  DURE_ASSERT(length <= 0xffff);
  uint16_t short_length = static_cast<uint16_t>(length);
  std::memcpy(buffer_.data() + nest_begin, &short_length, sizeof short_length);
}

uint16_t Attribute::be16() const { return ntohs(u16()); }
uint32_t Attribute::be32() const { return ntohl(u32()); }
uint64_t Attribute::be64() const { return be64toh(value<uint64_t>()); }

std::vector<Attribute> attributes(std::string_view bytes) {
  std::vector<Attribute> out;
  while (bytes.size() >= sizeof(nlattr)) {
    nlattr header;
    std::memcpy(&header, bytes.data(), sizeof header);
    if (header.nla_len < sizeof header || header.nla_len > bytes.size()) break;
    out.push_back({static_cast<uint16_t>(header.nla_type & NLA_TYPE_MASK),
                   bytes.substr(sizeof header, header.nla_len - sizeof header)});
    size_t step = padded(header.nla_len);
    if (step >= bytes.size()) break;
    bytes.remove_prefix(step);
  }
  return out;
}

Attribute find(std::string_view bytes, uint16_t type) {
  for (const Attribute& attribute : attributes(bytes))
    if (attribute.type == type) return attribute;
  return {};
}

Error error_of(std::string_view what, int errno_value, std::string_view kernel_says) {
  Error error = from_errno(what, errno_value);
  if (!kernel_says.empty()) error.message += " (" + std::string(kernel_says) + ")";
  switch (errno_value) {
    case ENOENT:
    case ENODEV:
    case ESRCH:
    case ENXIO:
    case EADDRNOTAVAIL:
      error.code = 404, error.reason = "NotFound";
      break;
    case EEXIST:
      error.code = 409, error.reason = "AlreadyExists";
      break;
    case EPERM:
    case EACCES:
      error.code = 403, error.reason = "Forbidden";
      break;
    case EOPNOTSUPP:
      error.code = 501, error.reason = "Unsupported";
      break;
    default:
      break;
  }
  return error;
}

Result<std::unique_ptr<Socket>> Socket::open(int protocol, const NetNamespace* ns,
                                             const std::vector<unsigned>& groups) {
  std::unique_ptr<Socket> out(new Socket);
  int failed = 0;
  auto make = [&] {
    out->fd_ = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
    if (out->fd_ < 0) failed = errno;
  };
  if (ns) {
    DURE_CHECK(ns->run(make));
  } else {
    make();
  }
  if (failed) return fail(error_of("open a netlink socket", failed));
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  if (bind(out->fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) < 0)
    return fail(error_of("bind a netlink socket", errno));
  int on = 1;
  // Older kernels know neither; both only make answers better.
  setsockopt(out->fd_, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
  setsockopt(out->fd_, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  if (protocol == NETLINK_ROUTE) setsockopt(out->fd_, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof on);
  int receive_buffer = 4 << 20;
  setsockopt(out->fd_, SOL_SOCKET, SO_RCVBUFFORCE, &receive_buffer, sizeof receive_buffer);
  for (unsigned group : groups)
    if (setsockopt(out->fd_, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) < 0)
      return fail(error_of("listen to a netlink group", errno));
  return out;
}

Socket::~Socket() {
  if (fd_ >= 0) ::close(fd_);
}

Status Socket::send(std::string_view what, std::string_view bytes) {
  // The kernel takes a datagram only when it fits the send buffer whole.
  if (bytes.size() * 2 > send_buffer_ && bytes.size() > 64 * 1024) {
    int wanted = static_cast<int>(bytes.size() * 2);
    if (setsockopt(fd_, SOL_SOCKET, SO_SNDBUFFORCE, &wanted, sizeof wanted) == 0)
      send_buffer_ = static_cast<size_t>(wanted);
  }
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  while (sendto(fd_, bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&kernel), sizeof kernel) < 0)
    if (errno != EINTR) return fail(error_of(what, errno));
  return {};
}

namespace {

struct Answer {
  bool is_error = false, is_done = false;
  int errno_value = 0;
  std::string text;
};

Answer parse_answer(const nlmsghdr& header, std::string_view body) {
  Answer out;
  out.is_error = header.nlmsg_type == NLMSG_ERROR;
  out.is_done = header.nlmsg_type == NLMSG_DONE;
  if (!out.is_error && !out.is_done) return out;
  int value = 0;
  if (body.size() >= sizeof value) std::memcpy(&value, body.data(), sizeof value);
  out.errno_value = -value;
  if (out.is_error && (header.nlmsg_flags & NLM_F_ACK_TLVS)) {
    size_t skip = sizeof(nlmsgerr);
    if (!(header.nlmsg_flags & NLM_F_CAPPED) && body.size() >= sizeof(nlmsgerr)) {
      nlmsgerr whole;
      std::memcpy(&whole, body.data(), sizeof whole);
      skip = sizeof(int) + padded(whole.msg.nlmsg_len);
    }
    if (skip < body.size()) out.text = find(body.substr(skip), NLMSGERR_ATTR_MSG).text();
  }
  return out;
}

// Calls `visit(header, body)` for each message in `bytes`; false from it ends the walk.
template <class Visit>
void each_message(std::string_view bytes, Visit visit) {
  while (bytes.size() >= sizeof(nlmsghdr)) {
    nlmsghdr header;
    std::memcpy(&header, bytes.data(), sizeof header);
    if (header.nlmsg_len < sizeof header || header.nlmsg_len > bytes.size()) return;
    if (!visit(header, bytes.substr(sizeof header, header.nlmsg_len - sizeof header))) return;
    size_t step = padded(header.nlmsg_len);
    if (step >= bytes.size()) return;
    bytes.remove_prefix(step);
  }
}

}  // namespace

Result<bool> Socket::read_answers(std::string_view what, uint32_t sequence, bool dump,
                                  const std::function<void(const Message&)>& reader, bool& interrupted) {
  buffer_.resize(receive_bytes);
  ssize_t got = recv(fd_, buffer_.data(), buffer_.size(), 0);
  if (got < 0) {
    if (errno == EINTR) return false;
    return fail(error_of(what, errno));
  }
  bool finished = false;
  int failed = 0;
  std::string text;
  each_message({buffer_.data(), static_cast<size_t>(got)}, [&](const nlmsghdr& header, std::string_view body) {
    if (header.nlmsg_seq != sequence) return true;  // a late answer to a request that was given up
    if (header.nlmsg_flags & NLM_F_DUMP_INTR) interrupted = true;
    Answer answer = parse_answer(header, body);
    if (answer.is_error || (answer.is_done && dump)) {
      finished = true;
      failed = answer.errno_value;
      text = std::move(answer.text);
      return false;
    }
    if (reader) reader(Message{header.nlmsg_type, header.nlmsg_flags, header.nlmsg_seq, body});
    return true;
  });
  if (failed) return fail(error_of(what, failed, text));
  return finished;
}

namespace {

std::string with_sequence(std::string_view bytes, uint32_t sequence) {
  std::string out(bytes);
  std::memcpy(out.data() + offsetof(nlmsghdr, nlmsg_seq), &sequence, sizeof sequence);
  return out;
}

}  // namespace

Status Socket::request(std::string_view what, const Writer& writer, const std::function<void(const Message&)>& reader) {
  uint32_t sequence = next_sequence();
  DURE_CHECK(send(what, with_sequence(writer.bytes(), sequence)));
  bool interrupted = false;
  while (true) {
    DURE_TRY(bool finished, read_answers(what, sequence, false, reader, interrupted));
    if (finished) return {};
  }
}

Status Socket::dump(std::string_view what, const Writer& writer, const std::function<void(const Message&)>& reader) {
  // Messages are handed on only from a dump that was not interrupted: copies are kept until it ends.
  for (int tries = 0;; ++tries) {
    struct Copy {
      uint16_t type, flags;
      std::string body;
    };
    std::vector<Copy> copies;
    uint32_t sequence = next_sequence();
    DURE_CHECK(send(what, with_sequence(writer.bytes(), sequence)));
    bool interrupted = false;
    while (true) {
      DURE_TRY(bool finished, read_answers(
                                  what, sequence, true,
                                  [&](const Message& message) {
                                    copies.push_back({message.type, message.flags, std::string(message.body)});
                                  },
                                  interrupted));
      if (finished) break;
    }
    if (interrupted && tries < dump_tries_max) continue;
    for (const Copy& copy : copies) reader(Message{copy.type, copy.flags, sequence, copy.body});
    return {};
  }
}

Result<std::vector<Failure>> Socket::batch(std::string_view what, const Writer& writer) {
  DURE_CHECK(send(what, writer.bytes()));
  // The kernel has worked through the batch before `send` returned: all its answers are queued.
  std::vector<Failure> failures;
  buffer_.resize(receive_bytes);
  while (true) {
    ssize_t got = recv(fd_, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return failures;
    if (got < 0) return fail(error_of(what, errno));
    each_message({buffer_.data(), static_cast<size_t>(got)}, [&](const nlmsghdr& header, std::string_view body) {
      Answer answer = parse_answer(header, body);
      if (answer.is_error && answer.errno_value)
        failures.push_back({header.nlmsg_seq, answer.errno_value, std::move(answer.text)});
      return true;
    });
  }
}

Result<bool> Socket::receive(const std::function<void(const Message&)>& reader, bool& lost) {
  buffer_.resize(receive_bytes);
  ssize_t got = recv(fd_, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
  if (got < 0) {
    if (errno == EAGAIN || errno == EINTR) return false;
    if (errno == ENOBUFS) {
      lost = true;
      return true;
    }
    return fail(error_of("read netlink events", errno));
  }
  each_message({buffer_.data(), static_cast<size_t>(got)}, [&](const nlmsghdr& header, std::string_view body) {
    reader(Message{header.nlmsg_type, header.nlmsg_flags, header.nlmsg_seq, body});
    return true;
  });
  return true;
}

}  // namespace dure::kernel::netlink
