// How rules look in nftables: a few flat sets and chains that do not grow with the number of Services. Pure.
//
// A frontend (address . protocol . port) that is in `svcproxy-frontends` goes to a chain with one rule per number of
// endpoints in use: it draws an index below that number and looks up frontend . (number, index) in
// `svcproxy-endpoints`; a miss means another number. No set holds verdicts: the kernel walks the whole table again
// whenever an element with a jump is added, and such a shape costs 20 ms per Service at 30,000 of them instead of 0.05
// (docs/decisions/0010-nftables-shape.md). Node ports are frontends with address 0.0.0.0.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "kernel/nft.h"
#include "svcproxy/rule_set.h"

namespace dure::svcproxy {

struct TableOptions {
  IpPrefix cluster_cidr = {Ip::v4(0x0af40000), 16};                         // pods
  std::optional<IpPrefix> service_cidr = IpPrefix{Ip::v4(0x0a600000), 12};  // what no Service answers is refused
  uint32_t masquerade_mark = 0x4000;
};

enum SetId : uint8_t {
  set_endpoints,  // frontend . number -> endpoint
  set_frontends,  // all that lead somewhere
  set_external,   // ... whose clients are always masqueraded
  set_keep,       // ... whose clients keep their address, and which are served differently to this node and its pods
  set_sticky,     // frontend . seconds, with session affinity
  set_refuse,     // frontends without endpoints
  set_drop,       // frontends without endpoints for clients outside this node
  set_count,
};
const kernel::NftSet& set_of(SetId id);
extern const kernel::NftSet affinity_map;  // client . frontend -> endpoint; written by rules
extern const kernel::NftSet hairpin_set;   // endpoint . endpoint: pods that reach themselves

using ElementMap = std::map<std::string, kernel::NftElement>;
struct Elements {
  std::array<ElementMap, set_count> sets;
  std::map<std::string, uint32_t> hairpins;  // key -> how many rules want it
};

// What rules exist for: numbers of endpoints and times of affinity. They only grow until everything is read back.
struct Shapes {
  std::set<uint32_t> counts, inside_counts, sticky_seconds;
  bool contains(const Shapes& other) const;
  void merge(const Shapes& other);
};

// What one rule contributes.
void add_rule(const Rule& rule, Elements& elements, Shapes& shapes);

struct NamedChain {
  kernel::NftChain chain;
  std::vector<kernel::NftRule> rules;
};
// All chains, those that others lead into first.
std::vector<NamedChain> chains_of(const TableOptions& options, const Shapes& shapes);

std::string frontend_key(const Frontend& frontend);

}  // namespace dure::svcproxy
