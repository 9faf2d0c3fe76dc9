// Addresses, ranges, ports, names and proxies.
#include <algorithm>

#include <fmt/format.h>

#include "base/text.h"
#include "bootstrap/checks/checks.h"

namespace dure::bootstrap {
namespace {

using Answer = std::optional<Verdict>;
using Severity = Finding::Severity;

bool is_default(const RouteFact& route) { return route.destination.length == 0; }

const Interface* interface_named(const MachineFacts& facts, std::string_view name) {
  const auto found = std::ranges::find(facts.interfaces, name, &Interface::name);
  return found == facts.interfaces.end() ? nullptr : &*found;
}

// The interface of the best default route.
const Interface* uplink_of(const MachineFacts& facts) {
  const RouteFact* best = nullptr;
  for (const RouteFact& route : facts.routes)
    if (is_default(route) && (!best || route.metric < best->metric)) best = &route;
  return best ? interface_named(facts, best->interface) : nullptr;
}

// Devices of ours, on a machine that is a member already.
bool is_ours(const MachineFacts& facts, std::string_view name) {
  return facts.member && (name == "cni0" || name == "flannel.1" || name == "dure-wg" || name.starts_with("veth"));
}

bool is_docker(std::string_view name) { return name == "docker0" || name.starts_with("br-"); }

std::vector<Ip> addresses_of(const MachineFacts& facts) {
  std::vector<Ip> out;
  for (const Interface& one : facts.interfaces)
    if (!one.loopback && one.up && !is_docker(one.name) && !is_ours(facts, one.name))
      for (const IpPrefix& address : one.addresses)
        if (!address.ip.v6) out.push_back(address.ip);
  return out;
}

Answer no_address(const MachineFacts& facts, const CheckOptions&) {
  if (!addresses_of(facts).empty()) return {};
  return Verdict{"this machine has no IPv4 address but its own loopback", "connect it to a network: ip address"};
}

Answer no_default_route(const MachineFacts& facts, const CheckOptions&) {
  if (addresses_of(facts).empty() || std::ranges::any_of(facts.routes, is_default)) return {};
  return Verdict{"there is no default route; only servers on this machine's own networks can be reached",
                 "ip route add default via GATEWAY"};
}

Answer default_routes_equal(const MachineFacts& facts, const CheckOptions&) {
  for (const RouteFact& a : facts.routes)
    for (const RouteFact& b : facts.routes)
      if (is_default(a) && is_default(b) && a.metric == b.metric && a.interface < b.interface)
        return Verdict{fmt::format("two default routes have the same metric ({} and {}); which one is used is chance",
                                   a.interface, b.interface),
                       "give one a higher metric: nmcli connection modify NAME ipv4.route-metric 200"};
  return {};
}

// VirtualBox's plain NAT gives every guest this address.
Answer virtualbox_nat_only(const MachineFacts& facts, const CheckOptions& options) {
  const auto addresses = addresses_of(facts);
  const Ip nat = Ip::v4(0x0a00020f);
  if (addresses.empty() || std::ranges::any_of(addresses, [&](const Ip& ip) { return ip != nat; })) return {};
  const bool server = options.role == Role::server;
  return Verdict{server
                     ? "the only address is 10.0.2.15, VirtualBox's NAT: no other machine can reach a server here"
                     : "the only address is 10.0.2.15, VirtualBox's NAT, as on every such guest; this node dials out "
                       "and works, but gets no direct path",
                 "VirtualBox: set the adapter to \"Bridged\" or add one in \"NAT Network\"",
                 {},
                 server ? Severity::refuse : Severity::note};
}

Answer mac_duplicated(const MachineFacts& facts, const CheckOptions&) {
  for (const Interface& a : facts.interfaces)
    for (const Interface& b : facts.interfaces)
      if (a.physical && b.physical && a.name < b.name && a.mac == b.mac && !a.mac.is_zero())
        return Verdict{fmt::format("{} and {} have the same MAC {}", a.name, b.name, a.mac.text()),
                       "give one its own: VirtualBox Settings > Network > Advanced, the button beside the MAC address"};
  return {};
}

Answer mtu_too_small(const MachineFacts& facts, const CheckOptions&) {
  const Interface* uplink = uplink_of(facts);
  if (!uplink || uplink->mtu >= 1280) return {};
  return Verdict{fmt::format("{} has an MTU of {}; tunnels inside it get below what IPv6 and many programs need (1280)",
                             uplink->name, uplink->mtu),
                 fmt::format("ip link set {} mtu 1500   (a VPN: 1420)", uplink->name)};
}

Answer mtu_mixed(const MachineFacts& facts, const CheckOptions&) {
  for (const Interface& one : facts.interfaces)
    if (one.physical && one.up && one.mtu > 1500 && !one.wireless)
      for (const Interface& other : facts.interfaces)
        if (other.physical && other.up && other.mtu <= 1500 && !other.addresses.empty() && !one.addresses.empty())
          return Verdict{fmt::format("{} sends jumbo frames (MTU {}) and {} does not ({}): large packets may vanish",
                                     one.name, one.mtu, other.name, other.mtu),
                         fmt::format("ip link set {} mtu 1500", one.name)};
  return {};
}

Answer wifi_power_save(const MachineFacts& facts, const CheckOptions&) {
  for (const Interface& one : facts.interfaces)
    if (one.wireless && one.power_save)
      return Verdict{fmt::format("Wi-Fi power saving is on for {}: every packet may wait 100 ms", one.name),
                     fmt::format("iw dev {} set power_save off   (for good: wifi.powersave=2 in "
                                 "/etc/NetworkManager/conf.d/wifi.conf)",
                                 one.name)};
  return {};
}

Answer wifi_uplink(const MachineFacts& facts, const CheckOptions& options) {
  const Interface* uplink = uplink_of(facts);
  if (!uplink || !uplink->wireless) return {};
  return Verdict{"the server's only way out is Wi-Fi (" + uplink->name + "); every break cuts off all nodes",
                 "connect it by cable"};
}

// --- Ranges

Answer overlap(const MachineFacts& facts, const CheckOptions& options, bool docker) {
  for (const auto& [what, range] : options.ranges)
    for (const Interface& one : facts.interfaces) {
      if (one.loopback || is_docker(one.name) != docker || is_ours(facts, one.name)) continue;
      for (const IpPrefix& address : one.addresses)
        if (!address.ip.v6 && address.overlaps(range))
          return Verdict{
              fmt::format("the cluster's {} range {} overlaps {} on {}", what, range.text(), address.network().text(),
                          one.name),
              docker ? "move Docker: {\"bip\": \"172.30.0.1/24\"} in /etc/docker/daemon.json (networks of its own: "
                       "docker network rm), or dure init with another range"
                     : "choose another with --pod-network-cidr, --service-cidr or --node-cidr of dure init"};
    }
  return {};
}

Answer range_overlap(const MachineFacts& facts, const CheckOptions& options) { return overlap(facts, options, false); }
Answer docker_overlap(const MachineFacts& facts, const CheckOptions& options) { return overlap(facts, options, true); }

Answer route_overlap(const MachineFacts& facts, const CheckOptions& options) {
  for (const auto& [what, range] : options.ranges)
    for (const RouteFact& route : facts.routes) {
      if (is_default(route) || is_ours(facts, route.interface) || !route.destination.overlaps(range)) continue;
      if (route.destination.length < range.length) continue;  // the cluster's own routes are more exact
      if (const Interface* own = interface_named(facts, route.interface))
        if (std::ranges::any_of(own->addresses, [&](const IpPrefix& a) { return a.network() == route.destination; }))
          continue;  // its address said so already
      return Verdict{fmt::format("a route to {} by {} takes packets of the cluster's {} range {} away",
                                 route.destination.text(), route.interface, what, range.text()),
                     fmt::format("ip route del {}   (a VPN adds it: leave the range out of its AllowedIPs)",
                                 route.destination.text())};
    }
  return {};
}

// Calico's pool over a LAN looks like this: part of the neighbours is suddenly behind a tunnel.
Answer route_inside_lan(const MachineFacts& facts, const CheckOptions&) {
  const Interface* uplink = uplink_of(facts);
  if (!uplink) return {};
  for (const RouteFact& route : facts.routes)
    for (const IpPrefix& lan : uplink->addresses) {
      if (lan.ip.v6 || is_default(route) || route.interface == uplink->name || route.destination.length == 32) continue;
      const Interface* other = interface_named(facts, route.interface);
      if (other && (other->physical || other->loopback)) continue;
      if (route.destination.length <= lan.length || !lan.contains(route.destination.ip)) continue;
      return Verdict{
          fmt::format("a route to {} by {} takes a part of this machine's own LAN {} away", route.destination.text(),
                      route.interface, lan.network().text()),
          fmt::format("ip route del {}   (Calico: give it a pool that is not the LAN's)", route.destination.text())};
    }
  return {};
}

Answer behind_carrier_nat(const MachineFacts& facts, const CheckOptions&) {
  const Interface* uplink = uplink_of(facts);
  const IpPrefix shared{Ip::v4(0x64400000), 10};
  if (!uplink || std::ranges::none_of(uplink->addresses, [&](const IpPrefix& one) { return shared.contains(one.ip); }))
    return {};
  return Verdict{"the way out is a provider's shared address (100.64.0.0/10): no port can be forwarded to this server",
                 "put the server, or a relay of its port, where a port can be reached"};
}

// --- Ports

const Listener* listener_on(const MachineFacts& facts, std::string_view protocol, uint16_t port, bool wildcard_only) {
  for (const Listener& one : facts.listeners)
    if (one.protocol == protocol && one.port == port && (!wildcard_only || one.ip.is_unspecified())) return &one;
  return nullptr;
}

Verdict port_taken(std::string_view protocol, uint16_t port, std::string_view use) {
  return {fmt::format("{} port {} is taken by another program; dure needs it for {}", protocol == "tcp" ? "TCP" : "UDP",
                      port, use),
          fmt::format("ss -lnp{} 'sport = :{}'   shows which; stop it, or choose another port", protocol[0], port)};
}

Answer api_port_taken(const MachineFacts& facts, const CheckOptions& options) {
  if (facts.member || !listener_on(facts, "tcp", options.api_port, false)) return {};
  Verdict verdict = port_taken("tcp", options.api_port, "the API server");
  verdict.fix += ": dure init --apiserver-bind-port PORT";
  return verdict;
}

Answer wireguard_port_taken(const MachineFacts& facts, const CheckOptions& options) {
  if (facts.member || options.network != "wireguard" || !listener_on(facts, "udp", options.wireguard_port, false))
    return {};
  return port_taken("udp", options.wireguard_port, "packets between nodes");
}

Answer vxlan_port_taken(const MachineFacts& facts, const CheckOptions& options) {
  if (facts.member || options.network != "vxlan" || !listener_on(facts, "udp", options.vxlan_port, false)) return {};
  return port_taken("udp", options.vxlan_port, "packets between nodes");
}

Answer dns_port_taken(const MachineFacts& facts, const CheckOptions&) {
  if (!listener_on(facts, "udp", 53, true) && !listener_on(facts, "tcp", 53, true)) return {};
  return Verdict{"a DNS server listens on port 53 of all addresses, so the cluster's DNS cannot have its own",
                 "dnsmasq: bind-interfaces in its configuration; named: listen-on { 127.0.0.1; };"};
}

// --- Names

Answer resolver_loops(const MachineFacts& facts, const CheckOptions&) {
  const auto& own = facts.resolver.nameservers;
  auto is_local = [](const std::string& text) { return text.starts_with("127.") || text == "::1"; };
  if (own.empty() || !std::ranges::all_of(own, is_local)) return {};
  if (std::ranges::any_of(facts.resolver.upstream, [&](const std::string& one) { return !is_local(one); })) return {};
  return Verdict{
      fmt::format("/etc/resolv.conf names only this machine ({}), and no other file tells who answers for it; "
                  "pods that ask would ask in a circle",
                  own.front()),
      "systemd-resolved: ln -sf /run/systemd/resolve/resolv.conf /etc/resolv.conf   (others: nameserver ADDRESS)"};
}

Answer resolver_in_cluster(const MachineFacts& facts, const CheckOptions& options) {
  for (const std::string& text : facts.resolver.nameservers)
    for (const auto& [what, range] : options.ranges)
      if (const auto ip = Ip::parse(text); ip && range.contains(*ip))
        return Verdict{fmt::format("the nameserver {} lies in the cluster's {} range {}", text, what, range.text()),
                       facts.member ? "put this machine's own nameserver back into /etc/resolv.conf"
                                    : "choose another range at dure init, or another nameserver"};
  return {};
}

Answer no_nameserver(const MachineFacts& facts, const CheckOptions&) {
  if (!facts.resolver.nameservers.empty()) return {};
  return Verdict{"/etc/resolv.conf has no nameserver; pods can resolve names of the cluster only",
                 "echo \"nameserver ADDRESS\" >> /etc/resolv.conf"};
}

Answer nameservers_many(const MachineFacts& facts, const CheckOptions&) {
  if (facts.resolver.nameservers.size() <= 3) return {};
  return Verdict{fmt::format("/etc/resolv.conf names {} nameservers; programs ask the first three only",
                             facts.resolver.nameservers.size()),
                 "leave three in /etc/resolv.conf"};
}

Answer search_domains_many(const MachineFacts& facts, const CheckOptions&) {
  size_t length = 0;
  for (const std::string& one : facts.resolver.search) length += one.size() + 1;
  if (facts.resolver.search.size() <= 29 && length <= 1900) return {};
  return Verdict{
      fmt::format("/etc/resolv.conf has {} search domains of {} characters; with the cluster's own there is no "
                  "room for all (32, 2048)",
                  facts.resolver.search.size(), length),
      "shorten the search line in /etc/resolv.conf"};
}

Answer search_domain_clashes(const MachineFacts& facts, const CheckOptions& options) {
  for (const std::string& one : facts.resolver.search)
    if (one == options.dns_domain || one.ends_with("." + options.dns_domain))
      return Verdict{fmt::format("the search domain {} of this machine is the cluster's", one),
                     "remove it from /etc/resolv.conf: names of Services are for pods"};
  return {};
}

// --- Proxies

bool covers(std::string_view no_proxy, const IpPrefix& range) {
  for (std::string_view one : split(no_proxy, ',')) {
    one = trim(one);
    if (one == "*") return true;
    const auto prefix = IpPrefix::parse(one);
    if (prefix && prefix->length <= range.length && prefix->contains(range.ip)) return true;
  }
  return false;
}

Answer proxy_without_exceptions(const MachineFacts& facts, const CheckOptions& options) {
  const auto& environment = facts.environment;
  const auto proxy =
      environment.contains("https_proxy") ? environment.find("https_proxy") : environment.find("http_proxy");
  if (proxy == environment.end()) return {};
  const auto found = environment.find("no_proxy");
  const std::string no_proxy = found == environment.end() ? "" : found->second;
  std::vector<std::string> missing;
  for (const auto& [what, range] : options.ranges)
    if (!covers(no_proxy, range)) missing.push_back(range.text());
  for (const std::string& domain : {std::string(".svc"), "." + options.dns_domain})
    if (no_proxy.find(domain) == std::string::npos && no_proxy != "*") missing.push_back(domain);
  if (missing.empty()) return {};
  return Verdict{
      fmt::format("a proxy is set ({}) and NO_PROXY does not name {}: what is meant for pods goes to the proxy",
                  proxy->second, join(missing, ", ")),
      fmt::format("NO_PROXY={}{}{}   in /etc/environment and the container runtime's unit", no_proxy,
                  no_proxy.empty() ? "" : ",", join(missing, ","))};
}

constexpr Check kChecks[] = {
    {"NoAddress", Severity::refuse, false, "a node must reach its server", no_address},
    {"NoDefaultRoute", Severity::note, false, "images and servers are often far away", no_default_route},
    {"DefaultRoutesEqual", Severity::warn, false, "the way out changes by chance", default_routes_equal},
    {"VirtualBoxNatOnly", Severity::refuse, false, "all guests in VirtualBox's NAT have the same address",
     virtualbox_nat_only},
    {"MacDuplicated", Severity::warn, false, "switches lose packets of a MAC that is there twice", mac_duplicated},
    {"MtuTooSmall", Severity::warn, false, "tunnels take some of each packet", mtu_too_small},
    {"MtuMixed", Severity::note, false, "a packet must fit every cable on its way", mtu_mixed},
    {"WifiPowerSave", Severity::warn, false, "packets wait until the radio wakes up", wifi_power_save},
    {"WifiUplink", Severity::note, true, "the server is everybody's meeting point", wifi_uplink},
    {"RangeOverlap", Severity::refuse, false, "one address cannot be in two places", range_overlap},
    {"DockerOverlap", Severity::refuse, false, "Docker's networks take addresses of pods", docker_overlap},
    {"RouteOverlap", Severity::warn, false, "a more exact route wins over the cluster's", route_overlap},
    {"RouteInsideLan", Severity::warn, false, "neighbours become unreachable", route_inside_lan},
    {"BehindCarrierNat", Severity::warn, true, "members must reach the server", behind_carrier_nat},
    {"ApiPortTaken", Severity::refuse, true, "the API server must listen", api_port_taken},
    {"WireGuardPortTaken", Severity::refuse, false, "two programs cannot share a port", wireguard_port_taken},
    {"VxlanPortTaken", Severity::refuse, false, "two programs cannot share a port", vxlan_port_taken},
    {"DnsPortTaken", Severity::refuse, false, "every node answers for the cluster's names", dns_port_taken},
    {"ResolverLoops", Severity::refuse, false, "pods inherit the machine's nameservers", resolver_loops},
    {"ResolverInCluster", Severity::refuse, false, "the machine must resolve names before there is a cluster",
     resolver_in_cluster},
    {"NoNameserver", Severity::note, false, "pods inherit the machine's nameservers", no_nameserver},
    {"NameserversMany", Severity::note, false, "the rest is never asked", nameservers_many},
    {"SearchDomainsMany", Severity::warn, false, "a pod's resolv.conf has limits", search_domains_many},
    {"SearchDomainClashes", Severity::warn, false, "every lookup of the machine would ask for Services",
     search_domain_clashes},
    {"ProxyWithoutExceptions", Severity::warn, false, "a proxy cannot reach pods", proxy_without_exceptions},
};

}  // namespace

std::span<const Check> network_checks() { return kChecks; }

}  // namespace dure::bootstrap
