// ZooNet: the routers and wires of a NatZoo: where a datagram ends up, and what the routers remember of it. No time of
// its own, no queue: the owner says when. Thread: one.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/time.h"
#include "os/sockets.h"
#include "sim/dice.h"

namespace dure::sim {

struct ZooRouter {
  enum class Filter { none, address, address_and_port };
  std::string kind;
  int outside = 0;  // the segment its uplink is in
  Ip address;       // there
  bool symmetric = false, keeps_port = true, hairpin = false, udp_blocked = false, cut = false;
  Filter filter = Filter::address_and_port;
  Duration memory = 120s;  // how long an unused mapping lives

  struct Mapping {
    os::Endpoint inside;
    std::set<os::Endpoint> sent_to;
    Monotonic used;
  };
  std::map<uint16_t, Mapping> mappings = {};  // by outside port
};

// Segment 0 is the internet; every other one is the LAN of one router.
struct ZooSegment {
  IpPrefix prefix;
  int router = -1;
  std::map<Ip, int> nodes = {};    // address -> node
  std::map<Ip, int> routers = {};  // address -> router whose uplink is here
};

class ZooNet {
 public:
  explicit ZooNet(Dice& dice) : dice_(dice) { segments.push_back({}); }

  struct Arrival {
    int node = -1;
    os::Endpoint from;
    uint16_t port = 0;  // at the node
  };
  // Sends from a segment; nothing: it got lost at some router.
  std::optional<Arrival> send(int segment, const os::Endpoint& from, const os::Endpoint& to, Monotonic now);
  // The routers between a segment and the internet, inside first.
  std::vector<int> chain(int segment) const;
  // The address a TCP connection from there is seen with on the internet; `own` without a router.
  Ip public_address(int segment, const Ip& own) const;
  bool uplink_cut(int segment) const;

  std::vector<ZooSegment> segments;
  std::vector<ZooRouter> routers;

 private:
  std::optional<Arrival> route(int segment, os::Endpoint from, const os::Endpoint& to, Monotonic now, int hops);
  std::optional<Arrival> inbound(int router, const os::Endpoint& from, const os::Endpoint& to, Monotonic now, int hops);
  uint16_t map_port(ZooRouter& router, const os::Endpoint& inside, const os::Endpoint& to, Monotonic now);

  Dice& dice_;
};

}  // namespace dure::sim
