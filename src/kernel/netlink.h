// Netlink: messages to and from the kernel, for the sources of this room only.
//
// Writer makes one or more messages in a growing buffer; Message and Attributes read them without copying; Socket is
// one netlink socket, bound for its life to the network namespace it was opened in. Thread: one at a time (owners
// lock).
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace dure::kernel {

class NetNamespace;

namespace netlink {

class Writer {
 public:
  void begin(uint16_t type, uint16_t flags, uint32_t sequence = 0);
  void end();  // closes the message: its length is known now
  template <class T>
  void header(const T& value) {  // the fixed part of a message (ifinfomsg, rtmsg, ...)
    raw({reinterpret_cast<const char*>(&value), sizeof value});
  }
  void put(uint16_t type, std::string_view bytes);
  void put_text(uint16_t type, std::string_view text);  // with the closing NUL
  void put_u8(uint16_t type, uint8_t value) { put_value(type, value); }
  void put_u16(uint16_t type, uint16_t value) { put_value(type, value); }
  void put_u32(uint16_t type, uint32_t value) { put_value(type, value); }
  void put_be16(uint16_t type, uint16_t value);
  void put_be32(uint16_t type, uint32_t value);
  void put_be64(uint16_t type, uint64_t value);
  size_t nest(uint16_t type);  // answers where it began, for `close`
  void close(size_t nest_begin);
  // For headers that stand inside an attribute (VETH_INFO_PEER).
  void raw(std::string_view bytes);

  std::string_view bytes() const { return buffer_; }
  size_t size() const { return buffer_.size(); }
  void clear() { buffer_.clear(); }

 private:
  template <class T>
  void put_value(uint16_t type, T value) {
    put(type, {reinterpret_cast<const char*>(&value), sizeof value});
  }
  void pad();
  std::string buffer_;
  size_t begin_ = 0;
};

struct Attribute {
  uint16_t type = 0;  // without the nest and byte order flags
  std::string_view data;

  uint8_t u8() const { return value<uint8_t>(); }
  uint16_t u16() const { return value<uint16_t>(); }
  uint32_t u32() const { return value<uint32_t>(); }
  uint16_t be16() const;
  uint32_t be32() const;
  uint64_t be64() const;
  std::string text() const { return std::string(data.substr(0, data.find('\0'))); }

 private:
  template <class T>
  T value() const {
    T out{};
    if (data.size() >= sizeof out) std::memcpy(&out, data.data(), sizeof out);
    return out;
  }
};

// The attributes in `bytes`; broken ones end the list.
std::vector<Attribute> attributes(std::string_view bytes);
// The first attribute of that type; an empty one of type 0 when there is none.
Attribute find(std::string_view bytes, uint16_t type);

struct Message {
  uint16_t type = 0, flags = 0;
  uint32_t sequence = 0;
  std::string_view body;

  template <class T>
  T header() const {
    T out{};
    std::memcpy(&out, body.data(), body.size() < sizeof out ? body.size() : sizeof out);
    return out;
  }
  template <class T>
  std::string_view after() const {  // the attributes behind the fixed part
    size_t skip = (sizeof(T) + 3) & ~size_t{3};
    return body.size() > skip ? body.substr(skip) : std::string_view{};
  }
};

// "NotFound", "AlreadyExists", "Forbidden", "Unsupported" or "SystemError" by the errno; the message as the system
// spells it.
Error error_of(std::string_view what, int errno_value, std::string_view kernel_says = {});

struct Failure {  // one message of a batch that the kernel refused
  uint32_t sequence = 0;
  int errno_value = 0;
  std::string text;
};

class Socket {
 public:
  // `ns` null: the namespace of the calling thread. `groups`: multicast groups to listen to.
  static Result<std::unique_ptr<Socket>> open(int protocol, const NetNamespace* ns = nullptr,
                                              const std::vector<unsigned>& groups = {});
  ~Socket();
  int fd() const { return fd_; }
  uint32_t next_sequence() { return ++sequence_; }

  // Sends one message (begun with NLM_F_ACK) and waits for its answer; other messages that come with the answer go to
  // `reader`.
  Status request(std::string_view what, const Writer& writer, const std::function<void(const Message&)>& reader = {});
  // A message begun with NLM_F_DUMP; tries again when the kernel says the list changed meanwhile.
  Status dump(std::string_view what, const Writer& writer, const std::function<void(const Message&)>& reader);
  // A batch (nfnetlink): everything in one datagram; answers what the kernel refused, empty when it took all.
  Result<std::vector<Failure>> batch(std::string_view what, const Writer& writer);
  // Multicast: reads what is there; false: nothing more. `lost` is set when the kernel dropped some.
  Result<bool> receive(const std::function<void(const Message&)>& reader, bool& lost);

 private:
  Socket() = default;
  Status send(std::string_view what, std::string_view bytes);
  Result<bool> read_answers(std::string_view what, uint32_t sequence, bool dump,
                            const std::function<void(const Message&)>& reader, bool& interrupted);
  int fd_ = -1;
  uint32_t sequence_ = 0;
  size_t send_buffer_ = 0;
  std::string buffer_;
};

}  // namespace netlink
}  // namespace dure::kernel
