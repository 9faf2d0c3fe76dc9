// Probe packets: what nodes say to each other on their WireGuard ports, beside WireGuard. Values and codec; no I/O.
//
// All numbers are big endian. Every packet begins with four bytes that WireGuard does not know and drops.
//   0  magic d5 52 45 01   4  type   5  flags   6  two zeros   8  sender's id   16  receiver's id
//   ping   24 transaction   32 tag    then padding
//   pong   24 transaction   32 observed address (16, IPv4 in the first four), 48 port, 50 family (4, 6; 0: none), 51
//   zero,
//          52 tag
//   data   24 the other end's id (of the node that it is for, or that it comes from)   32 tag   48 a packet to pass on
// The tag (16 bytes) is a MAC over everything before it and, for data, over the first 32 bytes after it, keyed with the
// secret of sender and receiver. So nobody else can make a node answer, or use it as a relay.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "overlay/path.h"

namespace dure::overlay {

inline constexpr std::array<uint8_t, 4> probe_magic = {0xd5, 0x52, 0x45, 0x01};
inline bool is_probe(std::string_view bytes) {
  return bytes.size() >= 4 && static_cast<uint8_t>(bytes[0]) == probe_magic[0] &&
         static_cast<uint8_t>(bytes[1]) == probe_magic[1] && static_cast<uint8_t>(bytes[2]) == probe_magic[2] &&
         static_cast<uint8_t>(bytes[3]) == probe_magic[3];
}

NodeId node_id_of(std::string_view public_key);  // 32 raw bytes

// The MAC's key, made from the secret that two nodes share (X25519). Value-like; moves. Thread: one.
class ProbeKey {
 public:
  using Tag = std::array<char, 16>;
  explicit ProbeKey(std::string_view shared_secret);
  ~ProbeKey();
  ProbeKey(ProbeKey&&) noexcept;
  ProbeKey& operator=(ProbeKey&&) noexcept;
  // About half a microsecond.
  Tag tag(std::string_view first, std::string_view second = {}) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

enum class ProbeType : uint8_t { ping = 1, pong = 2, data = 3 };
inline constexpr size_t ping_bytes = 48, pong_bytes = 68, data_head_bytes = 48;
static_assert(data_head_bytes == relay_overhead);
inline constexpr size_t probe_bytes_max = 2048;

struct Probe {
  ProbeType type = ProbeType::ping;
  NodeId from = 0, to = 0;
  bool punch = false;                         // ping: try all your paths to me now
  bool pass_on = false;                       // data: for another node
  uint64_t transaction = 0;                   // ping, pong
  std::optional<os::Endpoint> observed = {};  // pong
  NodeId other = 0;                           // data
  std::string_view body = {};                 // data: the packet; ping: its padding
};

// The parts that can be read without a key; nothing: not a probe, or not whole.
std::optional<Probe> read_probe(std::string_view bytes);
// Whether the tag is right. Constant time.
bool proven(std::string_view bytes, const Probe& probe, const ProbeKey& key);

// Ping or pong; a ping is padded to `size` bytes.
std::string write_probe(const Probe& probe, const ProbeKey& key, size_t size = 0);
// What goes before `probe.body`.
std::array<char, data_head_bytes> write_data_head(const Probe& probe, const ProbeKey& key);

}  // namespace dure::overlay
