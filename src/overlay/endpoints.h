// Endpoints: where each peer's WireGuard packets are sent right now; the narrow place where the path ladder and the
// overlay meet. The ladder decides and answers; the overlay asks at every sync and puts what differs into the device.
//
// Between syncs a decision must not wait: whoever implements this also calls Overlay::move_endpoint when a rung
// changes. Owner: the host's wiring; outlives the Overlay. Thread: any, must not block.
#pragma once

#include <optional>
#include <string_view>

#include "os/sockets.h"

namespace dure::overlay {

struct Path {
  os::Endpoint endpoint;  // a peer's address and port, or a loopback port of ours that relays
  int mtu = 0;            // what passes to this peer inside the tunnel; 0: the device's own
  friend bool operator==(const Path&, const Path&) = default;
};

class Endpoints {
 public:
  virtual ~Endpoints() = default;
  // Nothing: no way known yet. The overlay then falls back on what the peer's Node says of its LAN
  // (annotation dure.dev/wireguard-endpoint), so that a LAN works before the ladder has spoken.
  virtual std::optional<Path> path_to(std::string_view node) = 0;
};

}  // namespace dure::overlay
