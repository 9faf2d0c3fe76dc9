// The overlay's address plan: which nodes there are, and what this node's kernel must know to reach their pods. Pure:
// no I/O.
//
// wireguard (default): one device `dure-wg` per node with the node's stable address as /32; a peer is its key, allowed
// to use its pod CIDR and its node address, and one route for each of the two.
// vxlan, flannel's shape: one device `flannel.1` (VNI 1, UDP 8472) per node with the address 10.244.X.0/32; for every
// peer a route to its pod CIDR through that address, a permanent neighbour entry that gives it the peer's MAC, and a
// forwarding entry that gives the MAC the peer's machine. Three entries a peer, no learning, no broadcast.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "kernel/links.h"
#include "kernel/wg.h"
#include "kinds/views/core_v1.h"
#include "overlay/endpoints.h"

namespace dure::overlay {

inline constexpr std::string_view backend_data_annotation = "flannel.alpha.coreos.com/backend-data";
inline constexpr std::string_view backend_type_annotation = "flannel.alpha.coreos.com/backend-type";
inline constexpr std::string_view subnet_manager_annotation = "flannel.alpha.coreos.com/kube-subnet-manager";
inline constexpr std::string_view public_ip_annotation = "flannel.alpha.coreos.com/public-ip";
inline constexpr std::string_view wireguard_key_annotation = "dure.dev/wireguard-key";
// Where this node's port is on its LAN, "192.168.0.7:51820": for the time before anything better is known.
inline constexpr std::string_view wireguard_endpoint_annotation = "dure.dev/wireguard-endpoint";

// What every backend knows of a node. `identity` is what no two nodes may share: the MAC or the key.
struct Peer {
  std::string created;  // creationTimestamp: of two that claim the same, the older node has it
  std::string node;
  IpPrefix pod_cidr;
  std::string identity;
  friend auto operator<=>(const Peer&, const Peer&) = default;
};
struct VxlanPeer : Peer {
  Ip public_ip;
  Mac vtep;
  friend auto operator<=>(const VxlanPeer&, const VxlanPeer&) = default;
};
struct WireguardPeer : Peer {
  Ip node_ip;
  kernel::WgKey key;
  std::optional<Path> path;  // none: it may call us, we cannot call it
  friend bool operator==(const WireguardPeer&, const WireguardPeer&) = default;
};

// What a Node says of itself; nothing when it has no pod CIDR yet or does not say it all.
std::optional<VxlanPeer> vxlan_peer_of(const kinds::core_v1::Node& node);
struct Ranges {
  IpPrefix pods, nodes;
};
std::optional<WireguardPeer> wireguard_peer_of(const kinds::core_v1::Node& node, const Ranges& ranges);
std::optional<IpPrefix> pod_cidr_of(const kinds::core_v1::Node& node);
std::optional<Ip> internal_ip_of(const kinds::core_v1::Node& node);
std::string backend_data(uint32_t vni, const Mac& vtep);  // {"VNI":1,"VtepMAC":"..."}

// The node's stable address: the node range's address of the number of its pod CIDR, plus one. Nothing when the pod
// CIDR is not of the cluster's range or the node range is too small.
std::optional<Ip> node_address(const Ranges& ranges, const IpPrefix& pod_cidr);

// A node that claims what another has: it is left out until that is mended.
struct Refusal {
  std::string node, holder;  // who is left out, and who has it already
  std::string message;
  friend auto operator<=>(const Refusal&, const Refusal&) = default;
};
// Leaves out of `peers`: ourselves, and whoever claims a pod CIDR or an identity that we or an older node have. Sorts
// them by age and name.
std::vector<Refusal> leave_out_claims(const Peer& own, std::vector<VxlanPeer>& peers);
std::vector<Refusal> leave_out_claims(const Peer& own, std::vector<WireguardPeer>& peers);

// Entries of the device that leads to the peers.
struct Plan {
  std::vector<kernel::Route> routes;
  std::vector<kernel::Neighbour> neighbours;
  std::vector<kernel::FdbEntry> fdb;
  std::vector<kernel::WgPeer> peers;
  friend bool operator==(const Plan&, const Plan&) = default;
};

// `link`: the index of our device. Peers as leave_out_claims left them.
Plan vxlan_plan(const std::vector<VxlanPeer>& peers, int link);
struct WireguardDevice {
  int link = 0, mtu = 0;
  Ip node_ip;
  uint16_t keepalive_seconds = 25;
};
Plan wireguard_plan(const std::vector<WireguardPeer>& peers, const WireguardDevice& device);
std::vector<kernel::Route> wireguard_routes(const WireguardPeer& peer, const WireguardDevice& device);

// What to take away and what to put so that `present` becomes `wanted`; a changed entry is only put. Where a WireGuard
// peer is sent to is no difference, unless it is new: the device follows its peers by itself (see moves). Order of
// application: forwarding entries, neighbours and peers first, routes last; removals the other way round.
struct Change {
  Plan remove, put;
  bool empty() const { return remove == Plan{} && put == Plan{}; }
  size_t size() const;
};
Change diff(const Plan& present, const Plan& wanted);

// Peers of `wanted` that the device has and whose endpoint has to be set: what we want changed since `told` (what we
// set last, by key). A peer that moved by itself is left where its packets come from.
using Told = std::map<kernel::WgKey, os::Endpoint>;
std::vector<kernel::WgPeer> moves(const Plan& present, const Plan& wanted, const Told& told);

}  // namespace dure::overlay
