// Ranges: which addresses pods, services and nodes get, so that they collide with nothing this machine already reaches:
// its own addresses, routes (of VPNs too), bridges of Docker and libvirt, name servers. Pure; `networks.h` reads the
// machine.
//
// IPv4. Wanted ranges that were only defaults move to the next free one, with a note; those a person gave are kept or
// refused.
#pragma once

#include <string>
#include <vector>

#include "base/ip.h"
#include "bootstrap/finding.h"

namespace dure::bootstrap {

// Something a machine reaches without the cluster.
struct MachineNetwork {
  IpPrefix range;
  std::string what;      // "docker0", "route by tun0", "name server in /etc/resolv.conf"
  bool is_host = false;  // one address that must stay reachable: its own, a gateway, a name server
  friend auto operator<=>(const MachineNetwork&, const MachineNetwork&) = default;
};

struct WantedRange {
  std::string text;    // "10.244.0.0/16"
  bool given = false;  // by a flag
};

struct WantedRanges {
  WantedRange pods{"10.244.0.0/16"}, services{"10.96.0.0/12"}, nodes{"10.245.0.0/16"};
  bool with_nodes = true;  // false: the network gives nodes no addresses of their own
  int node_mask = 24;      // of one node's pods
};

struct RangePlan {
  IpPrefix pods, services, nodes;  // good only when nothing in `findings` refuses
  // RangeMoved (note). Refusals: BadRange, RangeTooSmall, RangesOverlap, RangeCollides, NoFreeRange. RangeShadows
  // (warn): a wide route, as of a company's VPN, holds a given range; the cluster's routes win inside it.
  std::vector<Finding> findings;
};

RangePlan pick_ranges(const std::vector<MachineNetwork>& networks, const WantedRanges& wanted);

// How a range of the cluster and one thing of a machine get in each other's way.
enum class Clash { none, shadow, collision };
Clash clash(const IpPrefix& range, const MachineNetwork& network);

}  // namespace dure::bootstrap
