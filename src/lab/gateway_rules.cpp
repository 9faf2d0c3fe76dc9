#include "lab/gateway_rules.h"

#include <fmt/format.h>

namespace dure::lab {
namespace {

// A range for the router in front of the site's own; never the site's.
std::string between_range(const SiteSpec& site, size_t index) {
  if (site.nat == Nat::cgnat) return fmt::format("100.64.{}", index);
  return site.subnet.overlaps(*IpPrefix::parse("192.168.1.0/24")) ? "192.168.101" : "192.168.1";
}

IpPrefix prefix(const std::string& text) { return *IpPrefix::parse(text); }

std::string replaced(std::string_view table, const std::string& body) {
  return fmt::format("table {0} {{}}\ndelete table {0}\ntable {0} {{\n{1}}}\n", table, body);
}

std::string public_text(const Gateway& g) { return g.outer.ip.text(); }

std::string translation(const Gateway& g) {
  const bool random = g.nat == Nat::symmetric || g.nat == Nat::company;
  // Who sent from which port: for senders from outside (full cone), and for neighbours when there is hairpin.
  const bool learns = g.nat == Nat::full_cone || g.hairpin;
  std::string out;
  if (learns) out += "  map cone { typeof udp dport : ip daddr . udp dport; flags dynamic,timeout; timeout 5m; }\n";
  out += "  chain pre {\n    type nat hook prerouting priority dstnat;\n";
  for (const Gateway::Port& port : g.ports) {
    out += fmt::format("    iifname \"wan\" {} dport {} dnat to {}\n", port.protocol, port.port, port.to);
    if (g.hairpin)
      out += fmt::format("    iifname \"lan\" ip daddr {} {} dport {} dnat to {}\n", public_text(g), port.protocol,
                         port.port, port.to);
  }
  if (g.nat == Nat::full_cone) out += "    iifname \"wan\" dnat ip to udp dport map @cone\n";
  if (g.hairpin) out += fmt::format("    iifname \"lan\" ip daddr {} dnat ip to udp dport map @cone\n", public_text(g));
  out += "  }\n  chain post {\n    type nat hook postrouting priority srcnat;\n";
  out += fmt::format("    oifname \"wan\" masquerade{}\n", random ? " fully-random" : "");
  if (g.hairpin)
    out += fmt::format("    oifname \"lan\" ct status dnat ip saddr {} masquerade\n", g.inner.network().text());
  out += "  }\n";
  if (learns)
    out +=
        "  chain learn {\n    type filter hook postrouting priority srcnat + 1;\n"
        "    oifname \"wan\" meta l4proto udp update @cone { udp sport : ct original ip saddr . ct original proto-src "
        "}\n  }\n";
  return out;
}

std::string filter(const Gateway& g) {
  std::string out =
      "  chain forward {\n    type filter hook forward priority 0; policy drop;\n"
      "    ct state established,related accept\n    ct status dnat accept\n";
  if (g.nat == Nat::none)
    out += "    accept\n";
  else if (g.nat == Nat::company)
    out += "    iifname \"lan\" tcp dport 443 accept\n";
  else
    out += "    iifname \"lan\" accept\n";
  out +=
      "  }\n  chain input {\n    type filter hook input priority 0; policy accept;\n"
      "    iifname \"wan\" ct state established,related accept\n"
      "    iifname \"wan\" icmp type echo-request accept\n    iifname \"wan\" drop\n  }\n";
  return out;
}

// What passes between two goes through forward; a thing cut off altogether does not even reach the router itself.
std::string drops(const std::vector<Cut>& cuts) {
  std::string forward, in, out;
  for (const Cut& cut : cuts) {
    if (!cut.addresses && cut.b.empty()) {
      in += fmt::format("    iifname \"{}\" drop\n", cut.a);
      out += fmt::format("    oifname \"{}\" drop\n", cut.a);
      continue;
    }
    for (const auto& [from, to] : {std::pair{&cut.a, &cut.b}, std::pair{&cut.b, &cut.a}})
      forward += cut.addresses ? fmt::format("    ip saddr {} ip daddr {} drop\n", *from, *to)
                               : fmt::format("    iifname \"{}\" oifname \"{}\" drop\n", *from, *to);
  }
  return fmt::format(
      "  chain in {{\n    type filter hook prerouting priority -300;\n{}  }}\n"
      "  chain forward {{\n    type filter hook forward priority -5;\n{}  }}\n"
      "  chain out {{\n    type filter hook postrouting priority 300;\n{}  }}\n",
      in, forward, out);
}

}  // namespace

std::vector<Gateway> gateways_of(const Topology& topology, const SiteSpec& site, size_t index,
                                 const Ip& public_address) {
  Gateway inner;
  inner.name = "router-" + site.name;
  inner.nat = site.nat;
  inner.inner = {site.gateway(), site.subnet.length};
  inner.outer = {public_address, 32};
  inner.hairpin = site.hairpin;
  for (const Forward& forward : site.forwards)
    inner.ports.push_back({forward.protocol, forward.port,
                           topology.node(forward.node)->address + ":" + std::to_string(forward.node_port)});
  if (site.nat != Nat::twice && site.nat != Nat::cgnat) return {inner};

  const std::string between = between_range(site, index);
  Gateway outer;
  outer.name = (site.nat == Nat::cgnat ? "carrier-" : "modem-") + site.name;
  outer.nat = site.nat == Nat::cgnat ? Nat::symmetric : Nat::home;
  outer.inner = prefix(between + ".1/24");
  outer.outer = inner.outer;
  inner.nat = Nat::home;
  inner.outer = prefix(between + ".2/24");
  for (const Gateway::Port& port : inner.ports)
    outer.ports.push_back({port.protocol, port.port, inner.outer.ip.text() + ":" + std::to_string(port.port)});
  return {inner, outer};
}

std::string gateway_rules(const Gateway& gateway) {
  return replaced("ip nat", gateway.nat == Nat::none ? "" : translation(gateway)) +
         replaced("ip filter", filter(gateway));
}

std::string cut_rules(const std::vector<Cut>& cuts) { return replaced("inet cut", drops(cuts)); }
std::string bridge_cut_rules(const std::vector<Cut>& cuts) { return replaced("bridge cut", drops(cuts)); }

}  // namespace dure::lab
