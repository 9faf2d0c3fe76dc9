#include "overlay/plan.h"

#include <algorithm>

#include <fmt/format.h>

#include "schema/json.h"

namespace dure::overlay {

using kinds::core_v1::Node;

std::optional<IpPrefix> pod_cidr_of(const Node& node) {
  std::vector<std::string_view> texts{node.spec().podCIDR()};
  for (std::string_view text : node.spec().podCIDRs()) texts.push_back(text);
  for (std::string_view text : texts)
    if (auto prefix = IpPrefix::parse(text); prefix && !prefix->ip.v6) return prefix->network();
  return std::nullopt;
}

std::optional<Ip> internal_ip_of(const Node& node) {
  for (auto address : node.status().addresses()) {
    if (address.type() != "InternalIP") continue;
    if (auto ip = Ip::parse(address.address()); ip && !ip->v6) return ip;
  }
  return std::nullopt;
}

std::string backend_data(uint32_t vni, const Mac& vtep) {
  return fmt::format(R"({{"VNI":{},"VtepMAC":"{}"}})", vni, vtep.text());
}

std::optional<VxlanPeer> vxlan_peer_of(const Node& node) {
  auto annotations = node.metadata().annotations();
  if (annotations.get(backend_type_annotation) != "vxlan") return std::nullopt;
  auto cidr = pod_cidr_of(node);
  auto ip = Ip::parse(annotations.get(public_ip_annotation));
  auto data = schema::decode_json(SharedBytes(std::string(annotations.get(backend_data_annotation))));
  if (!cidr || !ip || ip->v6 || !data) return std::nullopt;
  const schema::Node* mac_text = data->root()->find("VtepMAC");
  auto mac = Mac::parse(mac_text ? mac_text->string() : "");
  if (!mac) return std::nullopt;
  return VxlanPeer{{std::string(node.metadata().creationTimestamp()), std::string(node.metadata().name()), *cidr,
                    "MAC " + mac->text()},
                   *ip,
                   *mac};
}

std::optional<WireguardPeer> wireguard_peer_of(const Node& node, const Ranges& ranges) {
  auto annotations = node.metadata().annotations();
  auto cidr = pod_cidr_of(node);
  auto key = kernel::WgKey::parse(annotations.get(wireguard_key_annotation));
  if (!cidr || !key) return std::nullopt;
  auto ip = node_address(ranges, *cidr);
  if (!ip) return std::nullopt;
  WireguardPeer peer{{std::string(node.metadata().creationTimestamp()), std::string(node.metadata().name()), *cidr,
                      "WireGuard key " + key->text()},
                     *ip,
                     *key,
                     {}};
  if (auto endpoint = os::Endpoint::parse(annotations.get(wireguard_endpoint_annotation))) peer.path = Path{*endpoint};
  return peer;
}

std::optional<Ip> node_address(const Ranges& ranges, const IpPrefix& pod_cidr) {
  if (pod_cidr.length < ranges.pods.length) return std::nullopt;
  auto number = ranges.pods.part_number(pod_cidr.length, pod_cidr.ip);
  return number ? ranges.nodes.nth(*number + 1) : std::nullopt;
}

namespace {

std::string claimed(const Peer& peer, const Peer& holder) {
  if (peer.pod_cidr.overlaps(holder.pod_cidr))
    return fmt::format("pod range {} of node {}", peer.pod_cidr.text(), holder.node);
  if (peer.identity == holder.identity) return fmt::format("{} of node {}", peer.identity, holder.node);
  return {};
}

template <class P>
std::vector<Refusal> leave_out(const Peer& own, std::vector<P>& peers) {
  std::ranges::sort(peers, {}, [](const P& p) { return std::tie(p.created, p.node); });
  std::vector<Refusal> refused;
  std::vector<Peer> holders{own};
  std::vector<P> kept;
  for (P& peer : peers) {
    if (peer.node == own.node) continue;
    std::string what;
    const auto holder =
        std::ranges::find_if(holders, [&](const Peer& h) { return !(what = claimed(peer, h)).empty(); });
    if (holder != holders.end()) {
      refused.push_back({peer.node, holder->node, fmt::format("node {} claims the {}", peer.node, what)});
      continue;
    }
    holders.push_back(peer);
    kept.push_back(std::move(peer));
  }
  peers = std::move(kept);
  return refused;
}

}  // namespace

std::vector<Refusal> leave_out_claims(const Peer& own, std::vector<VxlanPeer>& peers) { return leave_out(own, peers); }
std::vector<Refusal> leave_out_claims(const Peer& own, std::vector<WireguardPeer>& peers) {
  return leave_out(own, peers);
}

Plan vxlan_plan(const std::vector<VxlanPeer>& peers, int link) {
  Plan plan;
  for (const VxlanPeer& peer : peers) {
    Ip gateway = peer.pod_cidr.network().ip;
    plan.routes.push_back({.destination = peer.pod_cidr.network(), .gateway = gateway, .link = link, .onlink = true});
    plan.neighbours.push_back({link, gateway, peer.vtep});
    plan.fdb.push_back({link, peer.vtep, peer.public_ip});
  }
  return plan;
}

std::vector<kernel::Route> wireguard_routes(const WireguardPeer& peer, const WireguardDevice& device) {
  std::vector<kernel::Route> out;
  const int mtu = peer.path && peer.path->mtu > 0 && peer.path->mtu < device.mtu ? peer.path->mtu : 0;
  for (const IpPrefix& destination : {peer.pod_cidr.network(), IpPrefix::host(peer.node_ip)})
    out.push_back(
        {.destination = destination, .link = device.link, .source = device.node_ip, .link_scope = true, .mtu = mtu});
  return out;
}

Plan wireguard_plan(const std::vector<WireguardPeer>& peers, const WireguardDevice& device) {
  Plan plan;
  for (const WireguardPeer& peer : peers) {
    for (kernel::Route& route : wireguard_routes(peer, device)) plan.routes.push_back(std::move(route));
    kernel::WgPeer entry{.key = peer.key,
                         .endpoint = {},
                         .allowed_ips = {peer.pod_cidr.network(), IpPrefix::host(peer.node_ip)},
                         .keepalive_seconds = 0};
    std::ranges::sort(entry.allowed_ips);
    // Without an endpoint the first handshake would fail, and the next one waits for five seconds.
    if (peer.path) entry.endpoint = peer.path->endpoint, entry.keepalive_seconds = device.keepalive_seconds;
    plan.peers.push_back(std::move(entry));
  }
  return plan;
}

size_t Change::size() const {
  auto count = [](const Plan& p) { return p.routes.size() + p.neighbours.size() + p.fdb.size() + p.peers.size(); };
  return count(remove) + count(put);
}

namespace {

bool same_place(const kernel::Route& a, const kernel::Route& b) {
  return a.destination == b.destination && a.metric == b.metric;
}
bool same_place(const kernel::Neighbour& a, const kernel::Neighbour& b) { return a.ip == b.ip; }
bool same_place(const kernel::FdbEntry& a, const kernel::FdbEntry& b) { return a.mac == b.mac; }
bool same_place(const kernel::WgPeer& a, const kernel::WgPeer& b) { return a.key == b.key; }

// Putting an entry replaces the one at the same place, so only entries whose place is not wanted any more are removed.
template <class T>
void diff_list(std::vector<T> present, std::vector<T> wanted, std::vector<T>& remove, std::vector<T>& put) {
  std::ranges::sort(present);
  std::ranges::sort(wanted);
  std::vector<T> gone;
  std::ranges::set_difference(present, wanted, std::back_inserter(gone));
  std::ranges::set_difference(wanted, present, std::back_inserter(put));
  for (const T& old : gone)
    if (std::ranges::none_of(wanted, [&](const T& w) { return same_place(w, old); })) remove.push_back(old);
}

std::vector<kernel::WgPeer> without_endpoints(std::vector<kernel::WgPeer> peers) {
  for (kernel::WgPeer& peer : peers) peer.endpoint.reset();
  return peers;
}

const kernel::WgPeer* find_peer(const std::vector<kernel::WgPeer>& peers, const kernel::WgKey& key) {
  auto found = std::ranges::find(peers, key, &kernel::WgPeer::key);
  return found == peers.end() ? nullptr : &*found;
}

}  // namespace

Change diff(const Plan& present, const Plan& wanted) {
  Change change;
  diff_list(present.routes, wanted.routes, change.remove.routes, change.put.routes);
  diff_list(present.neighbours, wanted.neighbours, change.remove.neighbours, change.put.neighbours);
  diff_list(present.fdb, wanted.fdb, change.remove.fdb, change.put.fdb);
  diff_list(without_endpoints(present.peers), without_endpoints(wanted.peers), change.remove.peers, change.put.peers);
  // A peer that calls nobody yet is put with its endpoint: it calls at once.
  for (kernel::WgPeer& peer : change.put.peers)
    if (const auto* now = find_peer(present.peers, peer.key); !now || !now->endpoint)
      peer.endpoint = find_peer(wanted.peers, peer.key)->endpoint;
  return change;
}

std::vector<kernel::WgPeer> moves(const Plan& present, const Plan& wanted, const Told& told) {
  std::vector<kernel::WgPeer> out;
  for (const kernel::WgPeer& peer : wanted.peers) {
    if (!peer.endpoint) continue;
    const kernel::WgPeer* now = find_peer(present.peers, peer.key);
    const auto before = told.find(peer.key);
    if (!now || !now->endpoint) continue;  // put with it
    const bool changed = before != told.end() ? before->second != *peer.endpoint : now->endpoint != peer.endpoint;
    if (changed) out.push_back(peer);
  }
  return out;
}

}  // namespace dure::overlay
