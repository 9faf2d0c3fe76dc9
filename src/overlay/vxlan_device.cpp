#include "base/text.h"
#include "overlay/peer_device.h"

namespace dure::overlay {

using namespace kernel;

namespace {

constexpr int vxlan_header_bytes = 50;

// The same after every restart without being kept anywhere: a locally administered address made from the node's name.
Mac vtep_mac(std::string_view node_name) {
  uint64_t hash = fnv1a_64("vtep/" + std::string(node_name));
  Mac mac;
  for (int i = 0; i < 6; ++i) mac.bytes[i] = static_cast<uint8_t>(hash >> (8 * i));
  mac.bytes[0] = static_cast<uint8_t>((mac.bytes[0] & 0xfc) | 0x02);
  return mac;
}

class VxlanDevice final : public PeerDevice {
 public:
  VxlanDevice(const OverlayOptions& options, OverlayWorld world) : options_(options), links_(world.links) {}

  Result<int> mtu(const OwnNode& own) override {
    if (!own.uplink)
      return fail(
          Error{503, "NoUplink", "this machine has no route to the others", "ip route; give --node-ip ADDRESS"});
    return own.uplink->link.mtu - vxlan_header_bytes;
  }

  Result<Link> ensure(const OwnNode& own, int mtu) override {
    const Uplink& up = *own.uplink;
    auto found = links_.get(options_.vxlan);
    if (!found && !found.error().is("NotFound")) return found;
    Mac mac = found && !found->mac.is_zero() ? found->mac : vtep_mac(options_.node_name);
    bool fits = found && found->kind == "vxlan" && found->vni == options_.vni && found->port == options_.port &&
                found->local == up.address && found->underlay == up.link.index && !found->learning;
    if (!fits) {
      // None of this can be changed on a living device; routes and entries are put again by the peers' part of the
      // sync.
      if (found) DURE_CHECK(links_.remove(options_.vxlan));
      DURE_CHECK(links_.create_vxlan({.name = options_.vxlan,
                                      .vni = options_.vni,
                                      .port = options_.port,
                                      .local = up.address,
                                      .underlay = up.link.index,
                                      .mac = mac,
                                      .mtu = mtu}));
      found = links_.get(options_.vxlan);
      if (!found) return found;
    }
    DURE_CHECK(bring_up(links_, *found, mtu));
    DURE_CHECK(put_only_address(links_, found->index, own.pod_cidr.network().ip));
    return found;
  }

  Wanted plan(const OwnNode& own, const std::vector<schema::Object>& nodes, const Link& device) override {
    Wanted out;
    std::vector<VxlanPeer> peers;
    for (const schema::Object& object : nodes)
      if (auto peer = vxlan_peer_of(kinds::core_v1::Node(object))) peers.push_back(std::move(*peer));
    out.refused = leave_out_claims({std::string(own.node.metadata().creationTimestamp()), options_.node_name,
                                    own.pod_cidr, "MAC " + device.mac.text()},
                                   peers);
    out.plan = vxlan_plan(peers, device.index);
    return out;
  }

  Result<Plan> present(const Link& device) override { return routes_and_entries(links_, device.index); }

  Status apply(const Change& change, const Plan&, const Plan&) override {
    for (const Route& route : change.remove.routes) DURE_CHECK(links_.remove_route(route));
    for (const Neighbour& entry : change.remove.neighbours) DURE_CHECK(links_.remove_neighbour(entry));
    for (const FdbEntry& entry : change.remove.fdb) DURE_CHECK(links_.remove_fdb(entry));
    for (const FdbEntry& entry : change.put.fdb) DURE_CHECK(links_.put_fdb(entry));
    for (const Neighbour& entry : change.put.neighbours) DURE_CHECK(links_.put_neighbour(entry));
    for (const Route& route : change.put.routes) DURE_CHECK(links_.put_route(route));
    return {};
  }

  std::map<std::string, std::string> annotations(const OwnNode& own, const Link& device) override {
    return {{std::string(backend_data_annotation), backend_data(options_.vni, device.mac)},
            {std::string(backend_type_annotation), "vxlan"},
            {std::string(subnet_manager_annotation), "true"},
            {std::string(public_ip_annotation), own.uplink->address.text()}};
  }

  Status remove() override { return links_.remove(options_.vxlan); }

 private:
  const OverlayOptions& options_;
  Links& links_;
};

}  // namespace

std::unique_ptr<PeerDevice> vxlan_device(const OverlayOptions& options, OverlayWorld world) {
  return std::make_unique<VxlanDevice>(options, world);
}

}  // namespace dure::overlay
