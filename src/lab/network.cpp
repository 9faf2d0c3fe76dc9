#include "lab/network.h"

#include "base/ip.h"
#include "base/text.h"
#include "kernel/links.h"
#include "kernel/namespaces.h"

namespace dure::lab {
namespace {

using kernel::Links;
using kernel::NetNamespace;

Result<NetNamespace> namespace_of(int pid) { return NetNamespace::open("/proc/" + std::to_string(pid) + "/ns/net"); }

Status set_up(Links& links, std::string_view name) {
  DURE_TRY(const kernel::Link link, links.get(name));
  kernel::LinkChange change;
  change.up = true;
  return links.change(link.index, change);
}

Status put_address(Links& links, std::string_view name, const std::string& address) {
  DURE_TRY(const kernel::Link link, links.get(name));
  const auto prefix = IpPrefix::parse(address);
  if (!prefix) return fail(bad_request(address + " is not an address with a length"));
  kernel::LinkAddress put;
  put.link = link.index;
  put.address = *prefix;
  return links.put_address(put);
}

// A stable MAC from a text; locally administered.
Mac mac_for(const std::string& text) {
  Mac mac;
  const uint64_t hash = fnv1a_64(text);
  mac.bytes[0] = 0x02;
  for (size_t i = 1; i < 6; ++i) mac.bytes[i] = static_cast<uint8_t>(hash >> (8 * i));
  return mac;
}

}  // namespace

Status make_lan(int init_pid, const LabSpec& spec) {
  DURE_TRY(const NetNamespace lab, namespace_of(init_pid));
  DURE_TRY(const auto links, kernel::open_links(&lab));
  DURE_CHECK(set_up(*links, "lo"));
  kernel::BridgeOptions bridge;
  bridge.name = "lan";
  bridge.mac = mac_for(spec.id + "/lan");  // fixed: otherwise it changes with the ports and neighbours lose the gateway
  DURE_CHECK(links->create_bridge(bridge));
  DURE_CHECK(put_address(*links, "lan", spec.subnet + ".1/24"));
  return set_up(*links, "lan");
}

Status plug_in(int init_pid, int node_pid, const LabSpec& spec, const NodeSpec& node) {
  DURE_TRY(const NetNamespace lab, namespace_of(init_pid));
  DURE_TRY(const NetNamespace inside, namespace_of(node_pid));
  DURE_TRY(const auto lab_links, kernel::open_links(&lab));
  DURE_TRY(const auto node_links, kernel::open_links(&inside));
  kernel::VethOptions veth;
  veth.name = "p-" + node.name;
  veth.peer_name = "eth0";
  veth.peer_namespace = &inside;
  veth.mac = mac_for(spec.id + "/port/" + node.name);
  veth.peer_mac = mac_for(spec.id + "/" + node.name);
  DURE_CHECK(lab_links->create_veth(veth));
  DURE_TRY(const kernel::Link bridge, lab_links->get("lan"));
  DURE_TRY(const kernel::Link port, lab_links->get(veth.name));
  kernel::LinkChange enslave;
  enslave.master = bridge.index;
  enslave.up = true;
  DURE_CHECK(lab_links->change(port.index, enslave));

  DURE_CHECK(set_up(*node_links, "lo"));
  DURE_CHECK(put_address(*node_links, "eth0", node.address + "/24"));
  DURE_CHECK(set_up(*node_links, "eth0"));
  DURE_TRY(const kernel::Link eth0, node_links->get("eth0"));
  kernel::Route route;
  route.destination = *IpPrefix::parse("0.0.0.0/0");
  route.gateway = Ip::parse(spec.subnet + ".1");
  route.link = eth0.index;
  return node_links->put_route(route);
}

}  // namespace dure::lab
