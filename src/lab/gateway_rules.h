// The nftables rules of a lab's routers, as text for `nft -f`: what a site's NAT does, and what is cut.
//
// Pure: topology in, text out. Each text replaces what an earlier one of the same function made, in one transaction,
// and touches nothing else. The kinds were measured with probes against two addresses and two ports
// (docs/decisions/0042).
#pragma once

#include <string>
#include <vector>

#include "lab/topology.h"

namespace dure::lab {

// One router: its inner device is "lan", its outer one "wan".
struct Gateway {
  Nat nat = Nat::home;  // none, home, full_cone, symmetric or company; `gateways_of` takes double and cgnat apart
  std::string name;     // "router-home", "carrier-mobile"
  IpPrefix inner;       // the range behind it, with its own address: 192.168.0.1/24
  IpPrefix outer;       // its address in front and the range there
  bool hairpin = false;
  struct Port {
    std::string protocol;
    uint16_t port = 0;
    std::string to;  // "192.168.0.10:6443"
  };
  std::vector<Port> ports;
};

// The routers of a site from the inside out: one, or two for double and cgnat. `public_address` is the outermost one's;
// `index` is the site's place in the topology.
std::vector<Gateway> gateways_of(const Topology& topology, const SiteSpec& site, size_t index,
                                 const Ip& public_address);

// Tables `ip nat` and `ip filter`. Every router drops what comes unasked from outside: an unsolicited UDP packet that
// reached its own stack would hold the port that the later outgoing flow needs.
std::string gateway_rules(const Gateway& gateway);

// Table `inet cut`: packets between these pairs are dropped, both ways. Names of devices, or addresses.
struct Cut {
  std::string a, b;        // "w1"; or with `addresses` "192.168.0.10" and "203.0.113.11"
  bool addresses = false;  // else names of devices; b may be empty: everything through a
  friend bool operator==(const Cut&, const Cut&) = default;
};
std::string cut_rules(const std::vector<Cut>& cuts);
// Table `bridge cut`: the same between ports of the LAN's bridge.
std::string bridge_cut_rules(const std::vector<Cut>& cuts);

}  // namespace dure::lab
