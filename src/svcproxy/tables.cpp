#include "svcproxy/tables.h"

#include <algorithm>

namespace dure::svcproxy {

using namespace kernel;

namespace {

constexpr const char* reject_chain = "svcproxy-reject";
constexpr uint32_t inside_bit = 0x80000000;  // numbers of the endpoints for clients on this node
constexpr uint32_t count_shift = 16;

std::string raw(uint32_t ip) { return std::string(Ip::v4(ip).raw()); }
std::string byte(uint8_t value) { return std::string(1, static_cast<char>(value)); }
NftPart zero_address() { return NftPart::constant_of(raw(0)); }

// The first number of a frontend with so many endpoints.
uint32_t first_number(uint32_t count, bool inside) { return count << count_shift | (inside ? inside_bit : 0); }

NftKeyParts packet_key(bool node_port) {
  return {node_port ? zero_address() : NftPart(NftField::ip_destination), NftField::l4_protocol,
          NftField::port_destination};
}

// What the client asked for, once the destination was replaced already.
NftKeyParts original_key(bool node_port) {
  return {node_port ? zero_address() : NftPart(NftField::ct_original_destination), NftField::l4_protocol,
          NftField::ct_original_port_destination};
}

NftKeyParts with_source(NftKeyParts key) {
  key.insert(key.begin(), NftField::ip_source);
  return key;
}

NftKeyParts with(NftKeyParts key, NftPart part) {
  key.push_back(std::move(part));
  return key;
}

NftRule operator+(NftRule first, const NftRule& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

// Node ports answer at the node's own addresses but not at 127.0.0.1, from where no pod can be reached.
NftRule at_node() {
  return {NftMatch{.field = NftField::address_type, .value = nft_u32(nft_address_local)},
          nft_within(NftField::ip_destination, *IpPrefix::parse("127.0.0.0/8"), true)};
}

NftRule known(SetId set, bool node_port, bool negate = false) {
  NftRule rule{NftLookup{packet_key(node_port), set_of(set).name, negate}};
  return node_port && !negate ? at_node() + rule : rule;
}

NftRule go_to(const char* chain) { return {NftVerdict{NftVerdict::Kind::go_to, chain}}; }

const char* forward_chain(bool node_port) { return node_port ? "svcproxy-node-forward" : "svcproxy-forward"; }
const char* inside_chain(bool node_port) { return node_port ? "svcproxy-node-inside" : "svcproxy-inside"; }

std::vector<NftRule> entry_rules(bool from_this_node) {
  std::vector<NftRule> rules;
  for (bool node_port : {false, true}) {
    if (from_this_node) rules.push_back(known(set_keep, node_port) + go_to(inside_chain(node_port)));
    rules.push_back(known(set_frontends, node_port) + go_to(forward_chain(node_port)));
  }
  return rules;
}

void add_choices(std::vector<NftRule>& rules, bool node_port, bool inside, const std::set<uint32_t>& counts) {
  rules.push_back({NftDnatMap{with_source(packet_key(node_port)), affinity_map.name}});
  for (uint32_t count : counts)
    rules.push_back({NftDnatMap{with(packet_key(node_port), NftPart::random(count, first_number(count, inside))),
                                set_of(set_endpoints).name}});
}

std::vector<NftRule> forward_rules(const TableOptions& options, const Shapes& shapes, bool node_port) {
  NftSetMark mark{options.masquerade_mark};
  NftMatch from_pods = nft_within(NftField::ip_source, options.cluster_cidr);
  NftMatch from_elsewhere = nft_within(NftField::ip_source, options.cluster_cidr, true);
  NftLookup keep{packet_key(node_port), set_of(set_keep).name},
      not_keep{packet_key(node_port), set_of(set_keep).name, true};
  std::vector<NftRule> rules{NftRule{from_pods, keep} + go_to(inside_chain(node_port)),
                             {NftLookup{packet_key(node_port), set_of(set_external).name}, mark},
                             {from_elsewhere, not_keep, mark}};
  add_choices(rules, node_port, false, shapes.counts);
  return rules;
}

std::vector<NftRule> inside_rules(const TableOptions& options, const Shapes& shapes, bool node_port) {
  std::vector<NftRule> rules{
      {nft_within(NftField::ip_source, options.cluster_cidr, true), NftSetMark{options.masquerade_mark}}};
  add_choices(rules, node_port, true, shapes.inside_counts);
  return rules;
}

std::vector<NftRule> remember_rules(const Shapes& shapes) {
  NftRule fresh{nft_bits_set(NftField::ct_state, nft_ct_state_new),
                nft_bits_set(NftField::ct_status, nft_ct_status_dnat)};
  std::vector<NftRule> rules;
  for (uint32_t seconds : shapes.sticky_seconds)
    for (bool node_port : {false, true})
      rules.push_back(fresh + NftRule{NftLookup{with(original_key(node_port), NftPart::constant_of(nft_u32(seconds))),
                                                set_of(set_sticky).name},
                                      NftUpdate{affinity_map.name,
                                                with_source(original_key(node_port)),
                                                {NftField::ip_destination, NftField::port_destination},
                                                std::chrono::seconds(seconds)}});
  return rules;
}

std::vector<NftRule> refusing_rules(const TableOptions& options) {
  std::vector<NftRule> rules;
  for (bool node_port : {false, true}) {
    rules.push_back(known(set_drop, node_port) + NftRule{NftVerdict{NftVerdict::Kind::drop}});
    rules.push_back(known(set_refuse, node_port) + go_to(reject_chain));
  }
  if (options.service_cidr)
    rules.push_back(
        NftRule{nft_within(NftField::ip_destination, *options.service_cidr),
                NftMatch{.field = NftField::address_type, .value = nft_u32(nft_address_local), .negate = true}} +
        go_to(reject_chain));
  return rules;
}

std::vector<NftPartType> frontend_types() { return {NftPartType::address, NftPartType::protocol, NftPartType::port}; }
std::vector<NftPartType> numbered_types() {
  return {NftPartType::address, NftPartType::protocol, NftPartType::port, NftPartType::number};
}

}  // namespace

const NftSet& set_of(SetId id) {
  static const std::array<NftSet, set_count> sets{{
      {.name = "svcproxy-endpoints", .key = numbered_types(), .data = {NftPartType::address, NftPartType::port}},
      {.name = "svcproxy-frontends", .key = frontend_types()},
      {.name = "svcproxy-external", .key = frontend_types()},
      {.name = "svcproxy-keep", .key = frontend_types()},
      {.name = "svcproxy-sticky", .key = numbered_types()},
      {.name = "svcproxy-refuse", .key = frontend_types()},
      {.name = "svcproxy-drop", .key = frontend_types()},
  }};
  return sets[id];
}

const NftSet affinity_map{.name = "svcproxy-affinity",
                          .key = {NftPartType::address, NftPartType::address, NftPartType::protocol, NftPartType::port},
                          .data = {NftPartType::address, NftPartType::port},
                          .dynamic = true};
const NftSet hairpin_set{.name = "svcproxy-hairpins", .key = {NftPartType::address, NftPartType::address}};

bool Shapes::contains(const Shapes& other) const {
  return std::ranges::includes(counts, other.counts) && std::ranges::includes(inside_counts, other.inside_counts) &&
         std::ranges::includes(sticky_seconds, other.sticky_seconds);
}

void Shapes::merge(const Shapes& other) {
  counts.insert(other.counts.begin(), other.counts.end());
  inside_counts.insert(other.inside_counts.begin(), other.inside_counts.end());
  sticky_seconds.insert(other.sticky_seconds.begin(), other.sticky_seconds.end());
}

std::vector<NamedChain> chains_of(const TableOptions& options, const Shapes& shapes) {
  using enum NftHook;
  constexpr auto nat = NftChainType::nat;
  constexpr auto filter = NftChainType::filter;
  std::vector<NftRule> post{
      {nft_mark_set(options.masquerade_mark), NftMasquerade{}},
      {nft_bits_set(NftField::ct_status, nft_ct_status_dnat),
       NftLookup{{NftField::ip_source, NftField::ip_destination}, hairpin_set.name}, NftMasquerade{}}};
  std::vector<NamedChain> out{{{.name = reject_chain}, {{nft_protocol(nft_tcp), NftReject{true}}, {NftReject{}}}}};
  for (bool node_port : {false, true}) {
    out.push_back({{.name = inside_chain(node_port)}, inside_rules(options, shapes, node_port)});
    out.push_back({{.name = forward_chain(node_port)}, forward_rules(options, shapes, node_port)});
  }
  out.push_back({{"svcproxy-in", prerouting, nat, -100}, entry_rules(false)});
  out.push_back({{"svcproxy-out", output, nat, -100}, entry_rules(true)});
  out.push_back({{"svcproxy-post", postrouting, nat, 99}, post});
  out.push_back({{"svcproxy-remember-in", prerouting, filter, -99}, remember_rules(shapes)});
  out.push_back({{"svcproxy-remember-out", output, filter, -99}, remember_rules(shapes)});
  // Behind the replacement of destinations: what is still addressed to a Service has nobody to answer it.
  out.push_back({{"svcproxy-refuse-in", prerouting, filter, -90}, refusing_rules(options)});
  out.push_back({{"svcproxy-refuse-out", output, filter, 0}, refusing_rules(options)});
  return out;
}

std::string frontend_key(const Frontend& frontend) {
  return nft_key({raw(frontend.ip), byte(frontend.protocol), nft_port(frontend.port)});
}

namespace {

void add_endpoints(const std::string& key, const std::vector<Endpoint>& list, bool inside, Elements& elements) {
  uint32_t first = first_number(static_cast<uint32_t>(list.size()), inside);
  for (uint32_t i = 0; i < list.size(); ++i) {
    NftElement element{.key = key + nft_u32(first + i), .data = nft_key({raw(list[i].ip), nft_port(list[i].port)})};
    elements.sets[set_endpoints].emplace(element.key, element);
    if (list[i].local) ++elements.hairpins[nft_key({raw(list[i].ip), raw(list[i].ip)})];
  }
}

}  // namespace

void add_rule(const Rule& rule, Elements& elements, Shapes& shapes) {
  const Target& target = rule.target;
  std::string key = frontend_key(rule.frontend);
  auto put = [&](SetId set, const std::string& what) { elements.sets[set].emplace(what, NftElement{.key = what}); };
  bool here = !target.endpoints.empty(), inside = target.has_inside && !target.inside.empty();
  if (here || inside) put(set_frontends, key);
  if (here) shapes.counts.insert(static_cast<uint32_t>(target.endpoints.size()));
  if (inside) shapes.inside_counts.insert(static_cast<uint32_t>(target.inside.size()));
  add_endpoints(key, target.endpoints, false, elements);
  if (inside) add_endpoints(key, target.inside, true, elements);
  if (target.masquerade == Masquerade::always && here) put(set_external, key);
  if (target.masquerade == Masquerade::never && (here || inside)) put(set_keep, key);
  if (!here) put(target.when_empty == WhenEmpty::drop ? set_drop : set_refuse, key);
  if (target.affinity_seconds && (here || inside)) {
    shapes.sticky_seconds.insert(target.affinity_seconds);
    put(set_sticky, key + nft_u32(target.affinity_seconds));
  }
}

}  // namespace dure::svcproxy
