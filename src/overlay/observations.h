// Observations: where other nodes see this node's WireGuard port. Every pong says it, so the members of a cluster are
// each other's STUN servers. Pure. Bounds: one observation per observer, at most 64 observers, the oldest goes.
#pragma once

#include <vector>

#include "base/time.h"
#include "overlay/path.h"

namespace dure::overlay {

class Observations {
 public:
  static constexpr Duration lifetime = 90s;
  static constexpr size_t observers_max = 64, candidates_max = 4;

  // `observer` said so, from `from`.
  void add(NodeId observer, const os::Endpoint& from, const os::Endpoint& seen, Monotonic now);
  void forget() { all_.clear(); }  // this node changed its network

  // The addresses that others may try, the most widely seen first; `own`: not worth saying.
  std::vector<os::Endpoint> candidates(const std::vector<IpPrefix>& own, Monotonic now) const;
  // One public address, another port for each observer: a NAT that cannot be punched by telling the port.
  bool symmetric(Monotonic now) const;

 private:
  struct One {
    NodeId observer = 0;
    os::Endpoint from, seen;
    Monotonic when;
  };
  std::vector<One> all_;
};

}  // namespace dure::overlay
