// A path: one way for packets to reach another node, and what the ladder knows of it. Values only.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/time.h"
#include "os/sockets.h"

namespace dure::overlay {

// The first eight bytes of the hash of a node's WireGuard public key, big endian; 0 is nobody.
using NodeId = uint64_t;

// Best first. The order is the ladder.
enum class Rung : uint8_t {
  lan,        // an address of the peer's own network, without a public network in between
  public_,    // one of the two has a public address
  punched,    // through the NATs of both
  relay_udp,  // another node passes the packets on
  relay_tls,  // the server passes them on, over both nodes' tunnels
  proxy,      // the same, and at least one of the tunnels goes through an HTTP proxy
  none,
};
inline constexpr size_t rung_count = 6;
std::string_view rung_name(Rung rung);  // "lan", "public", "punched", "relay-udp", "relay-tls", "proxy", "none"
std::optional<Rung> rung_of_name(std::string_view name);
inline bool is_direct(Rung rung) { return rung <= Rung::punched; }

// How a packet travels.
struct Via {
  enum class Kind : uint8_t { direct, relay, tunnel };
  Kind kind = Kind::tunnel;
  os::Endpoint endpoint = {};  // direct: the peer's
  NodeId relay = 0;            // relay: the node in the middle
  static Via direct(const os::Endpoint& to) { return {Kind::direct, to, 0}; }
  static Via through(NodeId node) { return {Kind::relay, {}, node}; }
  static Via tunnel() { return {}; }
  friend auto operator<=>(const Via&, const Via&) = default;
};

// Addresses that are never routed on the public network: private, shared (carrier NAT), link-local.
bool is_private(const Ip& ip);

// What relaying a packet adds to it (overlay/probe_packet.h); the packet that fits a path through a relay is smaller by
// as much.
inline constexpr uint16_t relay_overhead = 48;

}  // namespace dure::overlay
