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

std::optional<Peer> peer_of(const Node& node) {
  auto annotations = node.metadata().annotations();
  if (annotations.get(backend_type_annotation) != "vxlan") return std::nullopt;
  auto cidr = pod_cidr_of(node);
  auto ip = Ip::parse(annotations.get(public_ip_annotation));
  auto data = schema::decode_json(SharedBytes(std::string(annotations.get(backend_data_annotation))));
  if (!cidr || !ip || ip->v6 || !data) return std::nullopt;
  const schema::Node* mac_text = data->root()->find("VtepMAC");
  auto mac = Mac::parse(mac_text ? mac_text->string() : "");
  if (!mac) return std::nullopt;
  return Peer{std::string(node.metadata().name()), *cidr, *ip, *mac};
}

Plan make_plan(std::string_view own_node, const IpPrefix& own_cidr, std::vector<Peer> peers, int link) {
  std::ranges::sort(peers);
  Plan plan;
  std::vector<IpPrefix> taken{own_cidr};
  for (const Peer& peer : peers) {
    if (peer.node == own_node) continue;
    if (std::ranges::any_of(taken, [&](const IpPrefix& t) { return t.overlaps(peer.pod_cidr); })) continue;
    taken.push_back(peer.pod_cidr);
    Ip gateway = peer.pod_cidr.network().ip;
    plan.routes.push_back({.destination = peer.pod_cidr.network(), .gateway = gateway, .link = link, .onlink = true});
    plan.neighbours.push_back({link, gateway, peer.vtep});
    plan.fdb.push_back({link, peer.vtep, peer.public_ip});
  }
  return plan;
}

size_t Change::size() const {
  auto count = [](const Plan& p) { return p.routes.size() + p.neighbours.size() + p.fdb.size(); };
  return count(remove) + count(put);
}

namespace {

bool same_place(const kernel::Route& a, const kernel::Route& b) {
  return a.destination == b.destination && a.metric == b.metric;
}
bool same_place(const kernel::Neighbour& a, const kernel::Neighbour& b) { return a.ip == b.ip; }
bool same_place(const kernel::FdbEntry& a, const kernel::FdbEntry& b) { return a.mac == b.mac; }

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

}  // namespace

Change diff(const Plan& present, const Plan& wanted) {
  Change change;
  diff_list(present.routes, wanted.routes, change.remove.routes, change.put.routes);
  diff_list(present.neighbours, wanted.neighbours, change.remove.neighbours, change.put.neighbours);
  diff_list(present.fdb, wanted.fdb, change.remove.fdb, change.put.fdb);
  return change;
}

}  // namespace dure::overlay
