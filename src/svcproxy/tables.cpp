#include "svcproxy/tables.h"

#include <fmt/format.h>

namespace dure::svcproxy {

using namespace kernel;

namespace {

constexpr uint32_t inside_offset = 0x80000000;  // indexes of the endpoints for clients on this node
constexpr const char* reject_chain = "svcproxy-reject";

std::vector<NftPartType> frontend_types() { return {NftPartType::address, NftPartType::protocol, NftPartType::port}; }

std::string raw(uint32_t ip) { return std::string(Ip::v4(ip).raw()); }
std::string byte(uint8_t value) { return std::string(1, static_cast<char>(value)); }
NftPart zero_address() { return NftPart::constant_of(raw(0)); }

NftKeyParts packet_key(bool node_port) {
  return {node_port ? zero_address() : NftPart(NftField::ip_destination), NftField::l4_protocol, NftField::port_destination};
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

// Node ports answer at the node's own addresses but not at 127.0.0.1, from where no pod can be reached.
std::vector<NftExpression> at_node() {
  return {NftMatch{.field = NftField::address_type, .value = nft_u32(nft_address_local)},
          nft_within(NftField::ip_destination, *IpPrefix::parse("127.0.0.0/8"), true)};
}

NftRule joined(std::vector<NftExpression> first, NftExpression last) {
  first.push_back(std::move(last));
  return first;
}

std::vector<NftRule> nat_rules(const TableOptions& options, bool from_this_node) {
  std::vector<NftExpression> inside;
  if (!from_this_node) inside.push_back(nft_within(NftField::ip_source, options.cluster_cidr));
  std::vector<NftExpression> inside_node = inside;
  for (NftExpression& e : at_node()) inside_node.push_back(e);
  return {joined(inside, NftVerdictMap{packet_key(false), inside_map.name}),
          joined(inside_node, NftVerdictMap{packet_key(true), inside_map.name}),
          {NftVerdictMap{packet_key(false), services_map.name}},
          joined(at_node(), NftVerdictMap{packet_key(true), services_map.name})};
}

std::vector<NftRule> refusing_rules(const TableOptions& options) {
  std::vector<NftRule> rules{{NftVerdictMap{packet_key(false), empty_map.name}},
                             joined(at_node(), NftVerdictMap{packet_key(true), empty_map.name})};
  if (options.service_cidr)
    rules.push_back({nft_within(NftField::ip_destination, *options.service_cidr),
                     NftMatch{.field = NftField::address_type, .value = nft_u32(nft_address_local), .negate = true},
                     NftVerdict{NftVerdict::Kind::go_to, reject_chain}});
  return rules;
}

std::vector<NftRule> remembering_rules() {
  std::vector<NftExpression> fresh{nft_bits_set(NftField::ct_state, nft_ct_state_new),
                                   nft_bits_set(NftField::ct_status, nft_ct_status_dnat)};
  return {joined(fresh, NftVerdictMap{original_key(false), sticky_map.name}),
          joined(fresh, NftVerdictMap{original_key(true), sticky_map.name})};
}

}  // namespace

const NftSet services_map{.name = "svcproxy-services", .key = frontend_types(), .verdicts = true};
const NftSet inside_map{.name = "svcproxy-inside", .key = frontend_types(), .verdicts = true};
const NftSet endpoints_map{.name = "svcproxy-endpoints",
                           .key = {NftPartType::address, NftPartType::protocol, NftPartType::port, NftPartType::number},
                           .data = {NftPartType::address, NftPartType::port}};
const NftSet empty_map{.name = "svcproxy-empty", .key = frontend_types(), .verdicts = true};
const NftSet sticky_map{.name = "svcproxy-sticky", .key = frontend_types(), .verdicts = true};
const NftSet affinity_map{.name = "svcproxy-affinity",
                          .key = {NftPartType::address, NftPartType::address, NftPartType::protocol, NftPartType::port},
                          .data = {NftPartType::address, NftPartType::port},
                          .dynamic = true};
const NftSet hairpin_set{.name = "svcproxy-hairpins", .key = {NftPartType::address, NftPartType::address}};

std::string ForwardChain::name() const {
  const char* how = masquerade == Masquerade::outside ? "cluster" : masquerade == Masquerade::always ? "masq" : "keep";
  std::string out = fmt::format("svcproxy-{}{}{}-{}", node_port ? "node-" : "", how, inside ? "-inside" : "", count);
  return affinity_seconds ? fmt::format("{}-sticky-{}", out, affinity_seconds) : out;
}

std::vector<NftRule> forward_rules(const ForwardChain& chain, const TableOptions& options) {
  std::vector<NftRule> rules;
  if (chain.masquerade == Masquerade::outside)
    rules.push_back({nft_within(NftField::ip_source, options.cluster_cidr, true), NftSetMark{options.masquerade_mark}});
  if (chain.masquerade == Masquerade::always) rules.push_back({NftSetMark{options.masquerade_mark}});
  if (chain.affinity_seconds) rules.push_back({NftDnatMap{with_source(packet_key(chain.node_port)), affinity_map.name}});
  NftKeyParts key = packet_key(chain.node_port);
  key.push_back(NftPart::random(chain.count, chain.inside ? inside_offset : 0));
  rules.push_back({NftDnatMap{key, endpoints_map.name}});
  return rules;
}

std::string RememberChain::name() const {
  return fmt::format("svcproxy-{}remember-{}", node_port ? "node-" : "", seconds);
}

std::vector<NftRule> remember_rules(const RememberChain& chain) {
  return {{NftUpdate{affinity_map.name, with_source(original_key(chain.node_port)),
                     {NftField::ip_destination, NftField::port_destination}, std::chrono::seconds(chain.seconds)}}};
}

std::vector<NamedChain> fixed_chains(const TableOptions& options) {
  using enum NftHook;
  constexpr auto nat = NftChainType::nat;
  constexpr auto filter = NftChainType::filter;
  std::vector<NftRule> post{{nft_mark_set(options.masquerade_mark), NftMasquerade{}},
                            {nft_bits_set(NftField::ct_status, nft_ct_status_dnat),
                             NftLookup{{NftField::ip_source, NftField::ip_destination}, hairpin_set.name}, NftMasquerade{}}};
  return {
      {{.name = reject_chain}, {{nft_protocol(nft_tcp), NftReject{true}}, {NftReject{}}}},
      {{"svcproxy-in", prerouting, nat, -100}, nat_rules(options, false)},
      {{"svcproxy-out", output, nat, -100}, nat_rules(options, true)},
      {{"svcproxy-post", postrouting, nat, 99}, post},
      // Behind the replacement of destinations: what is still addressed to a Service has nobody to answer it.
      {{"svcproxy-remember-in", prerouting, filter, -99}, remembering_rules()},
      {{"svcproxy-remember-out", output, filter, -99}, remembering_rules()},
      {{"svcproxy-refuse-in", prerouting, filter, -90}, refusing_rules(options)},
      {{"svcproxy-refuse-out", output, filter, 0}, refusing_rules(options)},
  };
}

std::string frontend_key(const Frontend& frontend) {
  return nft_key({raw(frontend.ip), byte(frontend.protocol), nft_port(frontend.port)});
}

NftElement hairpin_element(uint32_t ip) { return {.key = nft_key({raw(ip), raw(ip)})}; }

namespace {

void add_endpoints(const std::string& key, const std::vector<Endpoint>& list, uint32_t offset, Elements& elements) {
  for (uint32_t i = 0; i < list.size(); ++i) {
    NftElement element{.key = key + nft_u32(offset + i), .data = nft_key({raw(list[i].ip), nft_port(list[i].port)})};
    elements.endpoints.emplace(element.key, element);
    if (list[i].local) ++elements.hairpins[hairpin_element(list[i].ip).key];
  }
}

void add_forward(const std::string& key, const ForwardChain& chain, std::map<std::string, NftElement>& map, Chains& chains) {
  chains.forward.insert(chain);
  map.emplace(key, NftElement{.key = key, .verdict = NftVerdict{NftVerdict::Kind::go_to, chain.name()}});
}

}  // namespace

void add_rule(const Rule& rule, Elements& elements, Chains& chains) {
  const Target& target = rule.target;
  bool node_port = rule.frontend.is_node_port();
  std::string key = frontend_key(rule.frontend);
  auto count = static_cast<uint32_t>(target.endpoints.size());
  if (count)
    add_forward(key, {target.masquerade, node_port, false, count, target.affinity_seconds}, elements.services, chains);
  add_endpoints(key, target.endpoints, 0, elements);
  if (target.has_inside && !target.inside.empty()) {
    auto inside = static_cast<uint32_t>(target.inside.size());
    add_forward(key, {Masquerade::outside, node_port, true, inside, target.affinity_seconds}, elements.inside, chains);
    add_endpoints(key, target.inside, inside_offset, elements);
  }
  if (!count) {
    NftVerdict verdict{NftVerdict::Kind::go_to, reject_chain};
    if (target.when_empty == WhenEmpty::drop) verdict = {NftVerdict::Kind::drop};
    elements.empty.emplace(key, NftElement{.key = key, .verdict = verdict});
  }
  if (target.affinity_seconds && (count || !target.inside.empty())) {
    RememberChain chain{node_port, target.affinity_seconds};
    chains.remember.insert(chain);
    elements.sticky.emplace(key, NftElement{.key = key, .verdict = NftVerdict{NftVerdict::Kind::go_to, chain.name()}});
  }
}

}  // namespace dure::svcproxy
