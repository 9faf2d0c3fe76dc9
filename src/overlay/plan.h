// The overlay's address plan: which nodes there are, and what this node's kernel must know to reach their pods. Pure:
// no I/O.
//
// flannel's shape for VXLAN: one device `flannel.1` (VNI 1, UDP 8472) per node with the address 10.244.X.0/32; for
// every peer a route to its pod CIDR through that address, a permanent neighbour entry that gives it the peer's MAC,
// and a forwarding entry that gives the MAC the peer's machine. Three entries a peer, no learning, no broadcast.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "kernel/links.h"
#include "kinds/views/core_v1.h"

namespace dure::overlay {

inline constexpr std::string_view backend_data_annotation = "flannel.alpha.coreos.com/backend-data";
inline constexpr std::string_view backend_type_annotation = "flannel.alpha.coreos.com/backend-type";
inline constexpr std::string_view subnet_manager_annotation = "flannel.alpha.coreos.com/kube-subnet-manager";
inline constexpr std::string_view public_ip_annotation = "flannel.alpha.coreos.com/public-ip";

struct Peer {
  std::string node;
  IpPrefix pod_cidr;
  Ip public_ip;
  Mac vtep;
  friend auto operator<=>(const Peer&, const Peer&) = default;
};

// What a Node says of itself; nothing when it has no pod CIDR yet or no (whole) vxlan annotations.
std::optional<Peer> peer_of(const kinds::core_v1::Node& node);
std::optional<IpPrefix> pod_cidr_of(const kinds::core_v1::Node& node);
std::optional<Ip> internal_ip_of(const kinds::core_v1::Node& node);
std::string backend_data(uint32_t vni, const Mac& vtep);  // {"VNI":1,"VtepMAC":"..."}

// Entries on the vxlan device.
struct Plan {
  std::vector<kernel::Route> routes;
  std::vector<kernel::Neighbour> neighbours;
  std::vector<kernel::FdbEntry> fdb;
  friend bool operator==(const Plan&, const Plan&) = default;
};

// `link`: the index of our vxlan device. Peers with our own name, or with a pod CIDR that overlaps ours or an earlier
// peer's (in order of their names), are left out.
Plan make_plan(std::string_view own_node, const IpPrefix& own_cidr, std::vector<Peer> peers, int link);

// What to take away and what to put so that `present` becomes `wanted`; a changed entry is only put. Order of
// application: forwarding entries and neighbours first, routes last; removals the other way round.
struct Change {
  Plan remove, put;
  bool empty() const { return remove == Plan{} && put == Plan{}; }
  size_t size() const;
};
Change diff(const Plan& present, const Plan& wanted);

}  // namespace dure::overlay
