// How rules look in nftables: a few flat maps and one chain per number of endpoints. Pure.
//
// `svcproxy-services` leads from address . protocol . port to a chain that knows only how many endpoints there are; the chain draws an
// index and `svcproxy-endpoints` answers who that is. A Service's change is therefore a change of elements, whose cost does not
// grow with the number of Services (docs/decisions/0010-nftables-shape.md). Node ports are elements with address 0.0.0.0.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "kernel/nft.h"
#include "svcproxy/rule_set.h"

namespace dure::svcproxy {

struct TableOptions {
  IpPrefix cluster_cidr = {Ip::v4(0x0af40000), 16};                 // pods
  std::optional<IpPrefix> service_cidr = IpPrefix{Ip::v4(0x0a600000), 12};  // what no Service answers is refused
  uint32_t masquerade_mark = 0x4000;
};

// The sets, by what they hold.
extern const kernel::NftSet services_map;   // frontend -> goto the chain of so many endpoints
extern const kernel::NftSet inside_map;     // the same for clients on this node, where they are served differently
extern const kernel::NftSet endpoints_map;  // frontend . index -> endpoint
extern const kernel::NftSet empty_map;      // frontend without endpoints -> refuse or drop
extern const kernel::NftSet sticky_map;     // frontend with affinity -> the chain that remembers
extern const kernel::NftSet affinity_map;   // client . frontend -> endpoint; written by rules
extern const kernel::NftSet hairpin_set;    // endpoint . endpoint: pods that reach themselves

// A chain that sends a connection to one of `count` endpoints.
struct ForwardChain {
  Masquerade masquerade = Masquerade::outside;
  bool node_port = false, inside = false;
  uint32_t count = 0, affinity_seconds = 0;
  friend auto operator<=>(const ForwardChain&, const ForwardChain&) = default;
  std::string name() const;
};
std::vector<kernel::NftRule> forward_rules(const ForwardChain& chain, const TableOptions& options);

// A chain that remembers which endpoint a client got.
struct RememberChain {
  bool node_port = false;
  uint32_t seconds = 0;
  friend auto operator<=>(const RememberChain&, const RememberChain&) = default;
  std::string name() const;
};
std::vector<kernel::NftRule> remember_rules(const RememberChain& chain);

struct NamedChain {
  kernel::NftChain chain;
  std::vector<kernel::NftRule> rules;
};
// The chains at the hooks, and those they always need.
std::vector<NamedChain> fixed_chains(const TableOptions& options);

// What one rule contributes to each set.
struct Elements {
  std::map<std::string, kernel::NftElement> services, inside, endpoints, empty, sticky;
  std::map<std::string, uint32_t> hairpins;  // key -> how many rules want it
};
struct Chains {
  std::set<ForwardChain> forward;
  std::set<RememberChain> remember;
};
void add_rule(const Rule& rule, Elements& elements, Chains& chains);

std::string frontend_key(const Frontend& frontend);
kernel::NftElement hairpin_element(uint32_t ip);

}  // namespace dure::svcproxy
