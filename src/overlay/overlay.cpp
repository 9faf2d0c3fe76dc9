#include "overlay/overlay.h"

#include <algorithm>

#include "base/log.h"
#include "base/text.h"
#include "overlay/cni.h"
#include "overlay/peer_device.h"
#include "overlay/pod_link.h"

namespace dure::overlay {

using namespace kernel;
using kinds::core_v1::Node;

namespace {

constexpr const char* conflist_name = "10-dure.conflist";

std::optional<Node> find_node(const std::vector<schema::Object>& nodes, std::string_view name) {
  for (const schema::Object& object : nodes)
    if (Node node(object); node.metadata().name() == name) return node;
  return std::nullopt;
}

}  // namespace

Overlay::Overlay(OverlayOptions options, OverlayWorld world) : options_(std::move(options)), world_(std::move(world)) {
  if (options_.backend == Backend::vxlan) device_ = vxlan_device(options_, world_);
  if (options_.backend == Backend::wireguard) device_ = wireguard_device(options_, world_);
}

Overlay::~Overlay() = default;

Status Overlay::set(std::string_view name, std::string_view value) {
  DURE_TRY(std::string before, world_.sysctl.ensure(name, value));
  if (before != value && options_.on_setting) options_.on_setting(name, before);
  return {};
}

Status Overlay::prepare() {
  DURE_CHECK(set("net/ipv4/ip_forward", "1"));
  if (device_) DURE_CHECK(device_->prepare());
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

Result<std::optional<Uplink>> Overlay::uplink(const Node& node) {
  const bool stays = options_.backend == Backend::vxlan;  // the address is the node's name there
  std::optional<Ip> wanted = options_.node_ip || !stays ? options_.node_ip : internal_ip_of(node);
  if (wanted) {
    DURE_TRY(auto addresses, world_.links.addresses());
    auto found = std::ranges::find_if(addresses, [&](const LinkAddress& a) { return a.address.ip == *wanted; });
    if (found != addresses.end()) {
      DURE_TRY(auto links, world_.links.list());
      for (const Link& link : links)
        if (link.index == found->link) return Uplink{link, *wanted};
    }
    if (options_.node_ip && stays)
      return fail(Error{500, "NodeAddressMissing",
                        "no network device of this machine has the address " + wanted->text(), "ip address"});
  }
  // The address is of yesterday, or not known yet.
  auto found = find_uplink(world_.links, Ip::v4(0x01010101));
  if (!found && !stays) return std::optional<Uplink>{};
  DURE_TRY(Uplink way, std::move(found));
  return way;
}

Status Overlay::sync_rules() {
  // Pods keep their address inside the cluster and take the node's outside.
  NftChain chain{.name = "overlay-post", .hook = NftHook::postrouting, .type = NftChainType::nat, .priority = 100};
  IpPrefix multicast{Ip::v4(0xe0000000), 4};
  NftRule outside{nft_within(NftField::ip_source, options_.cluster_cidr),
                  nft_within(NftField::ip_destination, options_.cluster_cidr, true),
                  nft_within(NftField::ip_destination, options_.service_cidr, true),
                  nft_within(NftField::ip_destination, multicast, true)};
  if (options_.backend == Backend::wireguard)
    outside.push_back(nft_within(NftField::ip_destination, options_.node_cidr, true));
  outside.push_back(NftMasquerade{});
  std::vector<NftRule> rules{std::move(outside)};
  for (NftRule& rule : device_->masquerade_rules()) rules.push_back(std::move(rule));
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

Status Overlay::sync_peers(const OwnNode& own, const std::vector<schema::Object>& nodes, const Link& device,
                           Synced& out) {
  PeerDevice::Wanted wanted = device_->plan(own, nodes, device);
  DURE_TRY(const Plan present, device_->present(device));
  const Change change = diff(present, wanted.plan);
  DURE_CHECK(device_->apply(change, present, wanted.plan));
  out.changes = change.size();
  out.refused = std::move(wanted.refused);
  return {};
}

Result<Overlay::Synced> Overlay::sync(const std::vector<schema::Object>& nodes) {
  DURE_CHECK(prepare());
  Synced out;
  if (!device_) {
    out.ready = true;
    return out;
  }
  auto found = find_node(nodes, options_.node_name);
  auto cidr = found ? pod_cidr_of(*found) : std::nullopt;
  if (!cidr) return out;
  DURE_TRY(auto way, uplink(*found));
  const OwnNode own{*found, *cidr, std::move(way)};
  DURE_TRY(out.node_ip, device_->node_ip(own));
  DURE_TRY(const int mtu, device_->mtu(own));
  DURE_CHECK(ensure_bridge(
      world_.links, {.name = options_.bridge, .address = {Ip::v4(cidr->ip.v4() + 1), cidr->length}, .mtu = mtu}));
  DURE_CHECK(set("net/ipv4/conf/" + options_.bridge + "/send_redirects", "0"));
  DURE_TRY(const Link device, device_->ensure(own, mtu));
  DURE_CHECK(sync_peers(own, nodes, device, out));
  DURE_CHECK(sync_rules());
  // Last: a runtime that finds the file starts pods.
  DURE_CHECK(sync_conflist(*cidr, mtu));
  out.annotations = device_->annotations(own, device);
  out.ready = true;
  return out;
}

Status Overlay::move_endpoint(std::string_view node, const Path& path) {
  return device_ ? device_->move(node, path) : Status{};
}

Result<Plan> routes_and_entries(Links& links, int link) {
  Plan plan;
  DURE_TRY(plan.routes, links.routes());
  std::erase_if(plan.routes, [&](const Route& r) {
    return r.link != link || r.destination.ip.v6 || r.protocol == route_protocol_kernel;
  });
  DURE_TRY(plan.neighbours, links.neighbours(link));
  std::erase_if(plan.neighbours, [](const Neighbour& n) { return n.ip.v6; });
  DURE_TRY(plan.fdb, links.fdb(link));
  return plan;
}

Status put_only_address(Links& links, int link, const Ip& ip) {
  const IpPrefix own = IpPrefix::host(ip);
  DURE_TRY(auto addresses, links.addresses(link));
  for (const LinkAddress& old : addresses)
    if (!old.address.ip.v6 && old.address != own) DURE_CHECK(links.remove_address(old));
  return links.put_address({link, own});
}

Status bring_up(Links& links, const Link& link, int mtu) {
  LinkChange change;
  if (!link.up) change.up = true;
  if (link.mtu != mtu) change.mtu = mtu;
  return change.up || change.mtu ? links.change(link.index, change) : Status{};
}

Status Overlay::remove_all() {
  if (device_) {
    DURE_CHECK(device_->remove());
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
