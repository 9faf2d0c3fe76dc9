#include "overlay/overlay.h"

#include <algorithm>

#include "base/log.h"
#include "base/text.h"
#include "overlay/cni.h"
#include "overlay/pod_link.h"

namespace dure::overlay {

using namespace kernel;
using kinds::core_v1::Node;

namespace {

constexpr int vxlan_header_bytes = 50;
constexpr const char* conflist_name = "10-dure.conflist";

// The same after every restart without being kept anywhere: a locally administered address made from the node's name.
Mac vtep_mac(std::string_view node_name) {
  uint64_t hash = fnv1a_64("vtep/" + std::string(node_name));
  Mac mac;
  for (int i = 0; i < 6; ++i) mac.bytes[i] = static_cast<uint8_t>(hash >> (8 * i));
  mac.bytes[0] = static_cast<uint8_t>((mac.bytes[0] & 0xfc) | 0x02);
  return mac;
}

std::optional<Node> find_node(const std::vector<schema::Object>& nodes, std::string_view name) {
  for (const schema::Object& object : nodes)
    if (Node node(object); node.metadata().name() == name) return node;
  return std::nullopt;
}

}  // namespace

Status Overlay::set(std::string_view name, std::string_view value) {
  DURE_TRY(std::string before, world_.sysctl.ensure(name, value));
  if (before != value && options_.on_setting) options_.on_setting(name, before);
  return {};
}

Status Overlay::prepare() {
  DURE_CHECK(set("net/ipv4/ip_forward", "1"));
  if (options_.local_addresses.empty()) return {};
  DURE_TRY(Link lo, world_.links.get("lo"));
  if (!lo.up) DURE_CHECK(world_.links.change(lo.index, {.up = true}));
  DURE_TRY(auto present, world_.links.addresses(lo.index));
  for (const Ip& ip : options_.local_addresses) {
    LinkAddress wanted{.link = lo.index, .address = IpPrefix::host(ip), .host_scope = true};
    bool there = std::ranges::any_of(present, [&](const LinkAddress& a) { return a.address == wanted.address; });
    if (!there) DURE_CHECK(world_.links.put_address(wanted));
  }
  return {};
}

Result<Overlay::Uplink> Overlay::uplink(const Node& node) {
  std::optional<Ip> wanted = options_.node_ip ? options_.node_ip : internal_ip_of(node);
  if (wanted) {
    DURE_TRY(auto addresses, world_.links.addresses());
    auto found = std::ranges::find_if(addresses, [&](const LinkAddress& a) { return a.address.ip == *wanted; });
    if (found != addresses.end()) {
      DURE_TRY(auto links, world_.links.list());
      for (const Link& link : links)
        if (link.index == found->link) return Uplink{link, *wanted};
    }
    if (options_.node_ip)
      return fail(Error{500, "NodeAddressMissing",
                        "no network device of this machine has the address " + wanted->text(), "ip address"});
  }
  // The Node's address is of yesterday, or not written yet.
  DURE_TRY(kernel::Uplink found, find_uplink(world_.links, Ip::v4(0x01010101)));
  return Uplink{found.link, found.address};
}

Status Overlay::sync_rules() {
  // Pods keep their address inside the cluster and take the node's outside.
  NftChain chain{.name = "overlay-post", .hook = NftHook::postrouting, .type = NftChainType::nat, .priority = 100};
  IpPrefix multicast{Ip::v4(0xe0000000), 4};
  std::vector<NftRule> rules{{nft_within(NftField::ip_source, options_.cluster_cidr),
                              nft_within(NftField::ip_destination, options_.cluster_cidr, true),
                              nft_within(NftField::ip_destination, options_.service_cidr, true),
                              nft_within(NftField::ip_destination, multicast, true), NftMasquerade{}}};
  DURE_TRY(auto now, world_.nft.chains());
  NftBatch batch;
  nft_sync_chain(batch, now, chain, rules);
  return batch.empty() ? Status{} : world_.nft.apply(batch);
}

Status Overlay::sync_conflist(const IpPrefix& cidr, int mtu) {
  std::string path = options_.cni_folder + "/" + conflist_name;
  std::string text =
      cni_conflist({.subnet = cidr, .mtu = mtu, .bridge = options_.bridge, .state_folder = options_.cni_state_folder});
  if (auto now = os::read_file(world_.disk, path); now && *now == text) return {};
  DURE_CHECK(world_.disk.make_directories(options_.cni_folder, 0755));
  return os::write_file_atomic(world_.disk, path, text, 0644);
}

Result<Link> Overlay::sync_vxlan(const IpPrefix& cidr, const Uplink& up, int mtu) {
  auto found = world_.links.get(options_.vxlan);
  if (!found && !found.error().is("NotFound")) return found;
  Mac mac = found && !found->mac.is_zero() ? found->mac : vtep_mac(options_.node_name);
  bool fits = found && found->kind == "vxlan" && found->vni == options_.vni && found->port == options_.port &&
              found->local == up.ip && found->underlay == up.link.index && !found->learning;
  if (!fits) {
    // None of this can be changed on a living device; routes and entries are put again by the peers' part of the sync.
    if (found) DURE_CHECK(world_.links.remove(options_.vxlan));
    DURE_CHECK(world_.links.create_vxlan({.name = options_.vxlan,
                                          .vni = options_.vni,
                                          .port = options_.port,
                                          .local = up.ip,
                                          .underlay = up.link.index,
                                          .mac = mac,
                                          .mtu = mtu}));
    found = world_.links.get(options_.vxlan);
    if (!found) return found;
  }
  LinkChange change;
  if (!found->up) change.up = true;
  if (found->mtu != mtu) change.mtu = mtu;
  if (change.up || change.mtu) DURE_CHECK(world_.links.change(found->index, change));
  IpPrefix own = IpPrefix::host(cidr.network().ip);
  DURE_TRY(auto addresses, world_.links.addresses(found->index));
  for (const LinkAddress& old : addresses)
    if (!old.address.ip.v6 && old.address != own) DURE_CHECK(world_.links.remove_address(old));
  DURE_CHECK(world_.links.put_address({found->index, own}));
  return found;
}

Result<Plan> Overlay::present(int link) {
  Plan plan;
  DURE_TRY(plan.routes, world_.links.routes());
  std::erase_if(plan.routes, [&](const Route& r) {
    return r.link != link || r.destination.ip.v6 || r.protocol == route_protocol_kernel;
  });
  DURE_TRY(plan.neighbours, world_.links.neighbours(link));
  std::erase_if(plan.neighbours, [](const Neighbour& n) { return n.ip.v6; });
  DURE_TRY(plan.fdb, world_.links.fdb(link));
  return plan;
}

Status Overlay::apply(const Change& change) {
  for (const Route& route : change.remove.routes) DURE_CHECK(world_.links.remove_route(route));
  for (const Neighbour& entry : change.remove.neighbours) DURE_CHECK(world_.links.remove_neighbour(entry));
  for (const FdbEntry& entry : change.remove.fdb) DURE_CHECK(world_.links.remove_fdb(entry));
  for (const FdbEntry& entry : change.put.fdb) DURE_CHECK(world_.links.put_fdb(entry));
  for (const Neighbour& entry : change.put.neighbours) DURE_CHECK(world_.links.put_neighbour(entry));
  for (const Route& route : change.put.routes) DURE_CHECK(world_.links.put_route(route));
  return {};
}

Result<size_t> Overlay::sync_peers(const Plan& wanted, int link) {
  DURE_TRY(Plan now, present(link));
  Change change = diff(now, wanted);
  DURE_CHECK(apply(change));
  return change.size();
}

Result<Overlay::Synced> Overlay::sync(const std::vector<schema::Object>& nodes) {
  DURE_CHECK(prepare());
  Synced out;
  if (options_.backend == Backend::none) {
    out.ready = true;
    return out;
  }
  auto own = find_node(nodes, options_.node_name);
  auto cidr = own ? pod_cidr_of(*own) : std::nullopt;
  if (!cidr) return out;
  DURE_TRY(Uplink up, uplink(*own));
  int mtu = up.link.mtu - vxlan_header_bytes;
  DURE_CHECK(ensure_bridge(
      world_.links, {.name = options_.bridge, .address = {Ip::v4(cidr->ip.v4() + 1), cidr->length}, .mtu = mtu}));
  DURE_CHECK(set("net/ipv4/conf/" + options_.bridge + "/send_redirects", "0"));
  DURE_TRY(Link vxlan, sync_vxlan(*cidr, up, mtu));
  std::vector<Peer> peers;
  for (const schema::Object& object : nodes)
    if (auto peer = peer_of(Node(object))) peers.push_back(std::move(*peer));
  DURE_TRY(out.changes, sync_peers(make_plan(options_.node_name, *cidr, std::move(peers), vxlan.index), vxlan.index));
  DURE_CHECK(sync_rules());
  // Last: a runtime that finds the file starts pods.
  DURE_CHECK(sync_conflist(*cidr, mtu));
  out.annotations = {{std::string(backend_data_annotation), backend_data(options_.vni, vxlan.mac)},
                     {std::string(backend_type_annotation), "vxlan"},
                     {std::string(subnet_manager_annotation), "true"},
                     {std::string(public_ip_annotation), up.ip.text()}};
  out.ready = true;
  return out;
}

Status Overlay::remove_all() {
  if (options_.backend == Backend::vxlan) {
    DURE_CHECK(world_.links.remove(options_.vxlan));
    DURE_CHECK(world_.links.remove(options_.bridge));
    std::string path = options_.cni_folder + "/" + conflist_name;
    if (world_.disk.exists(path)) DURE_CHECK(world_.disk.remove(path));
  }
  DURE_TRY(Link lo, world_.links.get("lo"));
  for (const Ip& ip : options_.local_addresses) DURE_CHECK(world_.links.remove_address({lo.index, IpPrefix::host(ip)}));
  DURE_TRY(auto chains, world_.nft.chains());
  NftBatch batch;
  for (const NftChainState& state : chains)
    if (state.chain.name.starts_with("overlay-")) batch.flush_chain(state.chain.name);
  for (const NftChainState& state : chains)
    if (state.chain.name.starts_with("overlay-")) batch.remove_chain(state.chain.name);
  DURE_TRY(auto sets, world_.nft.sets());
  for (const std::string& name : sets)
    if (name.starts_with("overlay-")) batch.remove_set(name);
  return batch.empty() ? Status{} : world_.nft.apply(batch);
}

}  // namespace dure::overlay
