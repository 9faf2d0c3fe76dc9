#include "lab/network.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "base/text.h"
#include "kernel/conntrack.h"
#include "kernel/links.h"
#include "kernel/namespaces.h"
#include "kernel/sysctl.h"
#include "lab/cable.h"
#include "lab/process.h"

namespace dure::lab {
namespace {

namespace fs = std::filesystem;
using kernel::Links;
using kernel::NetNamespace;

constexpr uint8_t kByDhcp = 16;  // RTPROT_DHCP: nobody on a node may take its default route for one of dure's
constexpr const char* kInternet = "198.18.0.1";  // the internet's side of every uplink

Result<NetNamespace> namespace_of(int pid) { return NetNamespace::open("/proc/" + std::to_string(pid) + "/ns/net"); }

// The links of one network namespace, with the short forms that a lab needs.
class Inside {
 public:
  static Result<Inside> of(int pid) {
    DURE_TRY(NetNamespace ns, namespace_of(pid));
    DURE_TRY(auto links, kernel::open_links(&ns));
    return Inside(std::move(ns), std::move(links));
  }

  Links& links() { return *links_; }
  const NetNamespace& ns() const { return ns_; }

  Status change(std::string_view name, const kernel::LinkChange& change) {
    DURE_TRY(const kernel::Link link, links_->get(name));
    return links_->change(link.index, change);
  }
  Status up(std::string_view name, bool up = true) { return change(name, {.up = up}); }

  Status address(std::string_view name, const IpPrefix& address) {
    DURE_TRY(const kernel::Link link, links_->get(name));
    kernel::LinkAddress put;
    put.link = link.index;
    put.address = address;
    return links_->put_address(put);
  }

  // Straight on the device, or through a gateway there.
  Status route(const IpPrefix& destination, std::string_view name, std::optional<Ip> gateway = {}) {
    DURE_TRY(const kernel::Link link, links_->get(name));
    kernel::Route route;
    route.destination = destination;
    route.link = link.index;
    route.gateway = gateway;
    route.onlink = gateway.has_value();
    route.link_scope = !gateway;
    route.protocol = kByDhcp;
    return links_->put_route(route);
  }

  Status forget(std::string_view name) {  // addresses of IPv4; their routes go with them
    DURE_TRY(const kernel::Link link, links_->get(name));
    DURE_TRY(const auto addresses, links_->addresses(link.index));
    for (const kernel::LinkAddress& one : addresses)
      if (!one.address.ip.v6) DURE_CHECK(links_->remove_address(one));
    return {};
  }

  Status setting(std::string_view name, std::string_view value) {
    DURE_TRY(const auto sysctl, kernel::open_sysctl(&ns_));
    return sysctl->set(name, value);
  }

 private:
  Inside(NetNamespace ns, std::unique_ptr<Links> links) : ns_(std::move(ns)), links_(std::move(links)) {}
  NetNamespace ns_;
  std::unique_ptr<Links> links_;
};

// A stable MAC from a text; locally administered.
Mac mac_for(const std::string& text) {
  Mac mac;
  const uint64_t hash = fnv1a_64(text);
  mac.bytes[0] = 0x02;
  for (size_t i = 1; i < 6; ++i) mac.bytes[i] = static_cast<uint8_t>(hash >> (8 * i));
  return mac;
}

IpPrefix everywhere() { return *IpPrefix::parse("0.0.0.0/0"); }

// A router: holds a network namespace and a host name until it is killed.
int hold(const std::string& name) {
  prctl(PR_SET_NAME, "dure-lab-router");
  if (sethostname(name.c_str(), name.size()) != 0) return 1;
  while (true) pause();
}

Status forward_packets(Inside& inside) {
  DURE_CHECK(inside.up("lo"));
  // A LAN's own frames are not the router's packets; the file is there only where the bridge filter is.
  if (Status set = inside.setting("net/bridge/bridge-nf-call-iptables", "0"); !set && !set.error().is("NotFound"))
    return set;
  return inside.setting("net/ipv4/ip_forward", "1");
}

// Out of whatever bridge, into this one.
Status enslave(Inside& inside, std::string_view port) {
  DURE_TRY(const kernel::Link bridge, inside.links().get("lan"));
  return inside.change(port, {.up = true, .master = bridge.index});
}

}  // namespace

Ip public_address(size_t index, int generation) {
  const uint32_t base = Ip::parse("203.0.113.10")->v4();
  return Ip::v4(base + static_cast<uint32_t>(index) +
                static_cast<uint32_t>(topology_sites_max) * static_cast<uint32_t>(generation % 15));
}

Network::Network(const Topology& topology, std::string id, std::string folder)
    : topology_(topology), id_(std::move(id)), folder_(std::move(folder)) {
  for (size_t i = 0; i < topology.sites.size(); ++i) {
    SiteState site;
    site.spec = &topology.sites[i];
    site.public_address = public_address(i, 0);
    site.gateways = gateways_of(topology, *site.spec, i, site.public_address);
    site.cable = site.spec->cable;
    sites_[site.spec->name] = std::move(site);
  }
  for (size_t i = 0; i < topology.nodes.size(); ++i) {
    const NodeSpec& node = topology.nodes[i];
    ports_[node.name] = {node.site, node.address, "p" + std::to_string(i + 1), true};
  }
}

Status Network::build(int init_pid) {
  init_pid_ = init_pid;
  DURE_CHECK(run_in_child([&] { return build_internet(); }));
  for (auto& [name, site] : sites_) DURE_CHECK(build_site(site));
  return {};
}

Status Network::build_internet() {
  DURE_TRY(Inside inet, Inside::of(init_pid_));
  DURE_CHECK(forward_packets(inet));
  for (const char* address : {"192.0.2.1/32", "192.0.2.2/32"})
    DURE_CHECK(inet.address("lo", *IpPrefix::parse(address)));
  return {};
}

Status Network::build_site(SiteState& site) {
  DURE_CHECK(start_routers(site));
  for (size_t i = 0; i < site.gateways.size(); ++i) DURE_CHECK(run_in_child([&] { return make_lan(site, i); }));
  DURE_CHECK(connect_uplink(site));
  return write_rules(site);
}

Status Network::start_routers(SiteState& site) {
  for (const Gateway& gateway : site.gateways) {
    // Through a process that has joined the lab's namespaces; it passes the router on by its pid.
    DURE_TRY(const int pid, clone_child(CLONE_NEWNET | CLONE_NEWUTS, [&] { return hold(gateway.name); }));
    site.pids.push_back(pid);
  }
  return {};
}

// The bridge of router number `router`, and for the outer one of two the line to the inner one.
Status Network::make_lan(const SiteState& site, size_t router) {
  const Gateway& gateway = site.gateways[router];
  DURE_TRY(Inside inside, Inside::of(site.pids[router]));
  DURE_CHECK(forward_packets(inside));
  kernel::BridgeOptions bridge;
  bridge.name = "lan";
  bridge.mac =
      mac_for(id_ + "/" + gateway.name);  // fixed: else it changes with the ports and neighbours lose the gateway
  DURE_CHECK(inside.links().create_bridge(bridge));
  DURE_CHECK(inside.address("lan", gateway.inner));
  DURE_CHECK(inside.up("lan"));
  if (router == 0) return {};

  DURE_TRY(Inside inner, Inside::of(site.pids[0]));
  kernel::VethOptions veth;
  veth.name = "inner";
  veth.peer_name = "wan";
  veth.peer_namespace = &inner.ns();
  DURE_CHECK(inside.links().create_veth(veth));
  DURE_CHECK(enslave(inside, "inner"));
  DURE_CHECK(inner.address("wan", site.gateways[0].outer));
  DURE_CHECK(inner.up("wan"));
  return inner.route(everywhere(), "wan", gateway.inner.ip);
}

std::string Network::uplink_device(const SiteState& site) const { return "w" + std::to_string(index_of(site) + 1); }

size_t Network::index_of(const SiteState& site) const {
  return static_cast<size_t>(site.spec - topology_.sites.data());
}

// A veth where the cable is plain, else two TAP devices and the process between them. Replaces what was there.
Status Network::connect_uplink(SiteState& site) {
  const std::string device = uplink_device(site);
  DURE_CHECK(run_in_child([&]() -> Status {
    DURE_TRY(Inside inet, Inside::of(init_pid_));
    DURE_CHECK(inet.links().remove(device));
    if (!site.cable.plain()) return {};
    DURE_TRY(const Inside outside, Inside::of(site.pids.back()));
    kernel::VethOptions veth;
    veth.name = device;
    veth.peer_name = "wan";
    veth.peer_namespace = &outside.ns();
    return inet.links().create_veth(veth);
  }));
  if (!site.cable.plain()) DURE_CHECK(start_cable(site));
  return run_in_child([&] { return address_uplink(site); });
}

Status Network::start_cable(SiteState& site) {
  int control[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) != 0) return fail(from_errno("socketpair", errno));
  DURE_TRY(site.cable_pid, clone_child(0, [&] {
             close(control[0]);
             return run_cable({init_pid_, site.pids.back(), uplink_device(site), "wan"}, site.cable, control[1]);
           }));
  close(control[1]);
  site.cable_control = control[0];
  pollfd waiting{site.cable_control, POLLIN, 0};
  char ready;
  if (poll(&waiting, 1, 10'000) == 1 && read(site.cable_control, &ready, 1) == 1) return {};
  return fail(
      Error{500, "LabCableFailed",
            "the cable of " + site.spec->name + " could not be made: is /dev/net/tun there? see supervisor.log"});
}

Status Network::address_uplink(const SiteState& site) {
  const std::string device = uplink_device(site);
  DURE_TRY(Inside inet, Inside::of(init_pid_));
  DURE_TRY(Inside router, Inside::of(site.pids.back()));
  DURE_CHECK(inet.change(device, {.mtu = site.cable.mtu, .mac = mac_for(id_ + "/" + device)}));
  DURE_CHECK(router.change("wan", {.mtu = site.cable.mtu, .mac = mac_for(id_ + "/wan/" + site.spec->name)}));
  DURE_CHECK(inet.address(device, IpPrefix::host(*Ip::parse(kInternet))));
  DURE_CHECK(router.address("wan", IpPrefix::host(site.public_address)));
  DURE_CHECK(inet.up(device));
  DURE_CHECK(router.up("wan"));
  DURE_CHECK(inet.route(IpPrefix::host(site.public_address), device));
  DURE_CHECK(router.route(IpPrefix::host(*Ip::parse(kInternet)), "wan"));
  DURE_CHECK(router.route(everywhere(), "wan", Ip::parse(kInternet)));
  if (site.spec->nat != Nat::none) return {};
  return inet.route(site.spec->subnet, device, site.public_address);
}

Status Network::write_rules(const SiteState& site) {
  for (size_t i = 0; i < site.gateways.size(); ++i)
    DURE_CHECK(apply(site.pids[i], site.gateways[i].name, gateway_rules(site.gateways[i])));
  return {};
}

Status Network::apply(int pid, const std::string& name, const std::string& rules) {
  const std::string file = folder_ + "/rules/" + name + ".nft", log = file + ".log";
  std::error_code ignored;
  fs::create_directories(folder_ + "/rules", ignored);
  std::ofstream(file) << rules;
  return run_in_child([&]() -> Status {
    DURE_CHECK(join_namespaces(pid, {"net"}));
    Command command{{"nft", "-f", file}};
    command.output = open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    DURE_TRY(const int nft, spawn(command));
    if (wait_for(nft) == 0) return {};
    std::ifstream in(log);
    const std::string why((std::istreambuf_iterator<char>(in)), {});
    return fail(Error{500, "LabRulesFailed", "nft refused the rules in " + file + ": " + why});
  });
}

Plug Network::plug(const std::string& node) const {
  const PortState& port = ports_.at(node);
  const SiteState& site = sites_.at(port.site);
  return {site.pids[0],
          port.device,
          mac_for(id_ + "/" + node),
          {*Ip::parse(port.address), site.spec->subnet.length},
          site.spec->gateway()};
}

Status Network::plug_in(const std::string& node, int node_pid) {
  const PortState& port = ports_.at(node);
  const SiteState& site = sites_.at(port.site);
  const Plug plug = this->plug(node);
  return run_in_child([&]() -> Status {
    DURE_TRY(Inside router, Inside::of(site.pids[0]));
    if (is_vm(node)) {
      DURE_CHECK(enslave(router, port.device));
      return port.plugged ? Status() : router.up(port.device, false);
    }
    DURE_TRY(Inside inside, Inside::of(node_pid));
    kernel::VethOptions veth;
    veth.name = port.device;
    veth.peer_name = "eth0";
    veth.peer_namespace = &inside.ns();
    veth.mac = mac_for(id_ + "/port/" + node);
    veth.peer_mac = plug.mac;
    // After a power cut: the kernel takes the old namespace's devices away in its own time.
    DURE_CHECK(router.links().remove(port.device));
    DURE_CHECK(router.links().create_veth(veth));
    DURE_CHECK(enslave(router, port.device));
    if (!port.plugged) DURE_CHECK(router.up(port.device, false));
    DURE_CHECK(inside.up("lo"));
    DURE_CHECK(inside.address("eth0", plug.address));
    DURE_CHECK(inside.up("eth0"));
    return inside.route(everywhere(), "eth0", plug.gateway);
  });
}

Result<std::string> Network::roam(const std::string& node, int node_pid, const std::string& to) {
  PortState& port = ports_.at(node);
  const SiteState &from = sites_.at(port.site), &there = sites_.at(to);
  std::vector<std::string> taken;
  for (const auto& [name, other] : ports_)
    if (other.site == to) taken.push_back(other.address);
  const NodeSpec& spec = *topology_.node(node);
  const auto free = spec.site == to ? Ip::parse(spec.address) : free_address(there.spec->subnet, taken);
  if (!free) return fail(Error{409, "SubnetFull", "the subnet of " + to + " has no free address"});
  DURE_CHECK(run_in_child([&]() -> Status {
    DURE_TRY(Inside old_router, Inside::of(from.pids[0]));
    DURE_TRY(Inside new_router, Inside::of(there.pids[0]));
    DURE_CHECK(old_router.change(port.device, {.up = false, .master = 0}));
    DURE_CHECK(old_router.change(port.device, {.move_to = &new_router.ns()}));
    if (is_vm(node)) return enslave(new_router, port.device);
    DURE_TRY(Inside inside, Inside::of(node_pid));
    DURE_CHECK(inside.forget("eth0"));
    DURE_CHECK(enslave(new_router, port.device));
    DURE_CHECK(inside.address("eth0", {*free, there.spec->subnet.length}));
    return inside.route(everywhere(), "eth0", there.spec->gateway());
  }));
  port = {to, free->text(), port.device, true};
  DURE_CHECK(set_cuts(cuts_));  // they may name its old address
  return port.address;
}

Status Network::set_plugged(const std::string& node, bool plugged) {
  PortState& port = ports_.at(node);
  DURE_CHECK(run_in_child([&]() -> Status {
    DURE_TRY(Inside router, Inside::of(sites_.at(port.site).pids[0]));
    return router.up(port.device, plugged);
  }));
  port.plugged = plugged;
  return {};
}

Status Network::set_cable(const std::string& name, const Cable& cable) {
  SiteState& site = sites_.at(name);
  const bool rewire = site.cable_pid == 0 && !cable.plain(), resize = cable.mtu != site.cable.mtu;
  site.cable = cable;
  if (rewire) return connect_uplink(site);
  if (site.cable_pid != 0 && write(site.cable_control, &cable, sizeof cable) != sizeof cable)
    return fail(internal("the cable of " + name + " has ended"));
  if (resize) return run_in_child([&] { return address_uplink(site); });
  return {};
}

Result<std::string> Network::renumber(const std::string& name) {
  SiteState& site = sites_.at(name);
  const Ip old = site.public_address;
  const std::string device = uplink_device(site);
  site.public_address = public_address(index_of(site), ++site.generation);
  site.gateways = gateways_of(topology_, *site.spec, index_of(site), site.public_address);
  DURE_CHECK(run_in_child([&]() -> Status {
    DURE_TRY(Inside inet, Inside::of(init_pid_));
    DURE_TRY(Inside router, Inside::of(site.pids.back()));
    DURE_TRY(const kernel::Link uplink, inet.links().get(device));
    DURE_CHECK(router.forget("wan"));
    kernel::Route gone;
    gone.destination = IpPrefix::host(old);
    gone.link = uplink.index;
    gone.link_scope = true;
    gone.protocol = kByDhcp;
    DURE_CHECK(inet.links().remove_route(gone));
    return address_uplink(site);
  }));
  DURE_CHECK(write_rules(site));
  DURE_CHECK(forget_connections(site));
  DURE_CHECK(set_cuts(cuts_));
  return site.public_address.text();
}

Status Network::reboot(const std::string& name) {
  const SiteState& site = sites_.at(name);
  DURE_CHECK(write_rules(site));  // empties learned mappings
  return forget_connections(site);
}

Status Network::forget_connections(const SiteState& site) {
  return run_in_child([&]() -> Status {
    for (const int pid : site.pids) {
      DURE_TRY(const NetNamespace ns, namespace_of(pid));
      DURE_TRY(const auto connections, kernel::open_conntrack(&ns));
      for (const uint8_t protocol : {6, 17, 1})
        if (auto removed = connections->remove(protocol, [](const kernel::Flow&) { return true; }); !removed)
          return fail(std::move(removed.error()));
    }
    return {};
  });
}

Status Network::set_cuts(const std::vector<CutNames>& cuts) {
  std::vector<Cut> internet;
  std::map<std::string, std::vector<Cut>> routers, bridges;
  auto outside_address = [](const SiteState& site) {
    return site.spec->nat == Nat::none ? site.spec->subnet.text() : site.public_address.text();
  };
  for (const auto& [a, b] : cuts) {
    const auto site_a = sites_.find(a), site_b = sites_.find(b);
    const auto node_a = ports_.find(a), node_b = ports_.find(b);
    if (site_a != sites_.end())
      internet.push_back({uplink_device(site_a->second), site_b == sites_.end() ? "" : uplink_device(site_b->second)});
    else if (site_b != sites_.end())
      routers[node_a->second.site].push_back({node_a->second.address, outside_address(site_b->second), true});
    else if (node_b != ports_.end() && node_a->second.site == node_b->second.site)
      bridges[node_a->second.site].push_back({node_a->second.device, node_b->second.device});
  }
  DURE_CHECK(apply(init_pid_, "internet-cut", cut_rules(internet)));
  for (const auto& [name, site] : sites_) {
    const std::string gateway = site.gateways[0].name;
    DURE_CHECK(apply(site.pids[0], gateway + "-cut", cut_rules(routers[name]) + bridge_cut_rules(bridges[name])));
  }
  cuts_ = cuts;
  return {};
}

std::vector<std::pair<std::string, int>> Network::routers() const {
  std::vector<std::pair<std::string, int>> out{{"internet", init_pid_}};
  for (const SiteSpec& spec : topology_.sites) {
    const SiteState& site = sites_.at(spec.name);
    for (size_t i = 0; i < site.pids.size(); ++i) out.emplace_back(site.gateways[i].name, site.pids[i]);
  }
  return out;
}

std::vector<int> Network::processes() const {
  std::vector<int> out;
  for (const auto& [name, site] : sites_) {
    out.insert(out.end(), site.pids.begin(), site.pids.end());
    if (site.cable_pid) out.push_back(site.cable_pid);
  }
  return out;
}

}  // namespace dure::lab
