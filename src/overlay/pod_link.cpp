#include "overlay/pod_link.h"

#include <algorithm>
#include <cstdio>

#include "base/text.h"
#include "kernel/namespaces.h"

namespace dure::overlay {

using namespace kernel;

namespace {

class LinuxPodNamespace final : public PodNamespace {
 public:
  LinuxPodNamespace(NetNamespace ns, std::unique_ptr<Links> links, std::unique_ptr<Sysctl> sysctl)
      : namespace_(std::move(ns)), links_(std::move(links)), sysctl_(std::move(sysctl)) {}
  Links& links() override { return *links_; }
  Sysctl& sysctl() override { return *sysctl_; }
  const NetNamespace* handle() override { return &namespace_; }

 private:
  NetNamespace namespace_;
  std::unique_ptr<Links> links_;
  std::unique_ptr<Sysctl> sysctl_;
};

Route gateway_route(const PodLinkConfig& config, int link) {
  return {.destination = IpPrefix::host(config.gateway), .link = link, .link_scope = true};
}

Route default_route(const PodLinkConfig& config, int link) {
  Ip any;
  any.v6 = config.gateway.v6;
  return {.destination = {any, 0}, .gateway = config.gateway, .link = link};
}

Status set_up_pod_side(PodNamespace& pod, const PodLinkConfig& config) {
  DURE_TRY(Link loopback, pod.links().get("lo"));
  DURE_CHECK(pod.links().change(loopback.index, {.up = true}));
  DURE_TRY(Link inside, pod.links().get(config.interface));
  // A redirect to a neighbour would take that neighbour's traffic past the node's rules.
  (void)pod.sysctl().ensure("net/ipv4/conf/" + config.interface + "/accept_redirects", "0");
  (void)pod.sysctl().ensure("net/ipv4/conf/all/accept_redirects", "0");
  DURE_CHECK(pod.links().change(inside.index, {.up = true}));
  DURE_CHECK(pod.links().put_address({inside.index, config.address, true}));
  DURE_CHECK(pod.links().put_route(gateway_route(config, inside.index)));
  return pod.links().put_route(default_route(config, inside.index));
}

bool has_address(const std::vector<LinkAddress>& all, const IpPrefix& wanted) {
  return std::ranges::any_of(all, [&](const LinkAddress& a) { return a.address == wanted; });
}

Error missing(std::string what) { return {500, "PodLinkBroken", std::move(what)}; }

}  // namespace

Result<std::unique_ptr<PodNamespace>> open_pod_namespace(const std::string& path) {
  DURE_TRY(NetNamespace ns, NetNamespace::open(path));
  DURE_TRY(auto links, open_links(&ns));
  DURE_TRY(auto sysctl, open_sysctl(&ns));
  return std::make_unique<LinuxPodNamespace>(std::move(ns), std::move(links), std::move(sysctl));
}

std::string host_interface_name(std::string_view container_id, std::string_view interface) {
  char name[16];
  std::snprintf(name, sizeof name, "veth%08x",
                static_cast<unsigned>(fnv1a_32(std::string(container_id) + "/" + std::string(interface))));
  return name;
}

Mac mac_of_address(const Ip& ip) { return {{0x0a, 0x58, ip.bytes[0], ip.bytes[1], ip.bytes[2], ip.bytes[3]}}; }

Result<Link> ensure_bridge(Links& host, const BridgeConfig& bridge) {
  auto found = host.get(bridge.name);
  if (!found && !found.error().is("NotFound")) return found;
  if (!found) {
    Status made =
        host.create_bridge({.name = bridge.name, .mac = mac_of_address(bridge.address.ip), .mtu = bridge.mtu});
    if (!made && !made.error().is("AlreadyExists")) return fail(made.error());  // another plugin process was first
    found = host.get(bridge.name);
    if (!found) return found;
  }
  if (found->kind != "bridge")
    return fail(Error{500, "BridgeNameTaken", bridge.name + " is not a bridge", "ip link delete " + bridge.name});
  LinkChange change;
  if (!found->up) change.up = true;
  if (bridge.mtu && found->mtu != bridge.mtu) change.mtu = bridge.mtu;
  if (change.up || change.mtu) DURE_CHECK(host.change(found->index, change));
  DURE_TRY(auto addresses, host.addresses(found->index));
  // An address of an earlier pod CIDR would keep pulling that subnet here.
  for (const LinkAddress& old : addresses)
    if (!old.address.ip.v6 && old.address != bridge.address) DURE_CHECK(host.remove_address(old));
  if (!has_address(addresses, bridge.address)) DURE_CHECK(host.put_address({found->index, bridge.address}));
  return found;
}

Result<PodLinkState> attach_pod(Links& host, PodNamespace& pod, const BridgeConfig& bridge,
                                const PodLinkConfig& config) {
  DURE_TRY(Link bridge_link, ensure_bridge(host, bridge));
  auto inside = pod.links().get(config.interface);
  if (!inside) {
    DURE_CHECK(host.remove(config.host_interface));  // half an attachment
    DURE_CHECK(host.create_veth({.name = config.host_interface,
                                 .peer_name = config.interface,
                                 .peer_namespace = pod.handle(),
                                 .peer_mac = mac_of_address(config.address.ip),
                                 .mtu = bridge.mtu}));
  }
  auto rest = [&]() -> Result<PodLinkState> {
    DURE_TRY(Link outside, host.get(config.host_interface));
    DURE_CHECK(host.change(outside.index, {.up = true, .master = bridge_link.index, .hairpin = bridge.hairpin}));
    DURE_CHECK(set_up_pod_side(pod, config));
    DURE_TRY(Link within, pod.links().get(config.interface));
    return PodLinkState{bridge_link.mac.text(), outside.mac.text(), within.mac.text(), within.mtu};
  };
  auto state = rest();
  if (!state) (void)host.remove(config.host_interface);
  return state;
}

Status check_pod(Links& host, PodNamespace& pod, const BridgeConfig& bridge, const PodLinkConfig& config) {
  DURE_TRY(Link bridge_link, host.get(bridge.name));
  DURE_TRY(Link outside, host.get(config.host_interface));
  if (outside.master != bridge_link.index) return fail(missing(config.host_interface + " is not in " + bridge.name));
  DURE_TRY(Link inside, pod.links().get(config.interface));
  if (!inside.up) return fail(missing(config.interface + " is down"));
  DURE_TRY(auto addresses, pod.links().addresses(inside.index));
  if (!has_address(addresses, config.address))
    return fail(missing(config.interface + " has lost " + config.address.text()));
  DURE_TRY(auto routes, pod.links().routes());
  bool has_default = std::ranges::any_of(
      routes, [&](const Route& r) { return r.destination.length == 0 && r.gateway == config.gateway; });
  if (!has_default) return fail(missing("the default route is gone"));
  return {};
}

}  // namespace dure::overlay
