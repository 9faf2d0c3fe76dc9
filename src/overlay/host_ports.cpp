#include "overlay/host_ports.h"

#include <algorithm>

namespace dure::overlay {

using namespace kernel;

namespace {

const NftSet& map() {
  static const NftSet set{.name = "overlay-hostports",
                          .key = {NftPartType::address, NftPartType::protocol, NftPartType::port},
                          .data = {NftPartType::address, NftPartType::port}};
  return set;
}

// Pods that reach themselves through their own host port must see another source than themselves.
const NftSet& hairpins() {
  static const NftSet set{.name = "overlay-hairpins", .key = {NftPartType::address, NftPartType::address}};
  return set;
}

NftElement element(const Ip& pod, const PortMapping& port) {
  return {.key = nft_key({port.host_ip.value_or(Ip{}).raw(), std::string(1, static_cast<char>(port.protocol)),
                          nft_port(port.host_port)}),
          .data = nft_key({pod.raw(), nft_port(port.container_port)})};
}

uint16_t port_of(std::string_view bytes) {
  return static_cast<uint16_t>(static_cast<uint8_t>(bytes[0]) << 8 | static_cast<uint8_t>(bytes[1]));
}

PortMapping mapping(const NftElement& element) {
  auto key = nft_split(element.key, map().key);
  auto data = nft_split(element.data, map().data);
  PortMapping out{static_cast<uint8_t>(key[1][0]), Ip::from_raw(key[0]), port_of(key[2]), port_of(data[1])};
  if (out.host_ip->is_unspecified()) out.host_ip.reset();
  return out;
}

bool leads_to(const NftElement& element, const Ip& pod) {
  return Ip::from_raw(nft_split(element.data, map().data)[0]) == pod;
}

NftElement hairpin(const Ip& pod) { return {.key = nft_key({pod.raw(), pod.raw()})}; }

void put_rules(NftBatch& batch, const std::vector<NftChainState>& now) {
  batch.put_set(map()).put_set(hairpins());
  NftMatch local{.field = NftField::address_type, .value = nft_u32(nft_address_local)};
  NftKeyParts exact{NftField::ip_destination, NftField::l4_protocol, NftField::port_destination};
  NftKeyParts any{NftPart::constant_of(std::string(Ip{}.raw())), NftField::l4_protocol, NftField::port_destination};
  std::vector<NftRule> to_pods{{local, NftDnatMap{exact, map().name}}, {local, NftDnatMap{any, map().name}}};
  // Before the services' chains: a port of a pod is the pod's.
  NftChain pre{.name = "overlay-hostport-in", .hook = NftHook::prerouting, .type = NftChainType::nat, .priority = -105};
  NftChain out{.name = "overlay-hostport-out", .hook = NftHook::output, .type = NftChainType::nat, .priority = -105};
  NftChain post{
      .name = "overlay-hostport-post", .hook = NftHook::postrouting, .type = NftChainType::nat, .priority = 95};
  nft_sync_chain(batch, now, pre, to_pods);
  nft_sync_chain(batch, now, out, to_pods);
  nft_sync_chain(batch, now, post,
                 {{nft_bits_set(NftField::ct_status, nft_ct_status_dnat),
                   NftLookup{{NftField::ip_source, NftField::ip_destination}, hairpins().name}, NftMasquerade{}}});
}

}  // namespace

Status HostPorts::put(const Ip& pod, const std::vector<PortMapping>& ports) {
  DURE_CHECK(remove(pod));
  if (ports.empty()) return {};
  DURE_TRY(auto now, nft_.chains());
  NftBatch batch;
  put_rules(batch, now);
  std::vector<NftElement> elements;
  for (const PortMapping& port : ports) elements.push_back(element(pod, port));
  batch.add_elements(map(), elements);
  batch.add_elements(hairpins(), {hairpin(pod)});
  Status done = nft_.apply(batch);
  if (!done && done.error().is("AlreadyExists"))
    return fail(Error{409, "HostPortInUse", "a host port of this pod belongs to another pod on this node"});
  return done;
}

Status HostPorts::remove(const Ip& pod) {
  auto all = nft_.elements(map());
  if (!all && all.error().is("NotFound")) return {};
  if (!all) return fail(all.error());
  std::erase_if(*all, [&](const NftElement& e) { return !leads_to(e, pod); });
  if (all->empty()) return {};
  DURE_TRY(auto pairs, nft_.elements(hairpins()));
  std::erase_if(pairs, [&](const NftElement& e) { return e.key != hairpin(pod).key; });
  return nft_.apply(NftBatch().remove_elements(map(), *all).remove_elements(hairpins(), pairs));
}

Result<std::vector<PortMapping>> HostPorts::of(const Ip& pod) {
  auto all = nft_.elements(map());
  if (!all && all.error().is("NotFound")) return std::vector<PortMapping>{};
  if (!all) return fail(all.error());
  std::vector<PortMapping> out;
  for (const NftElement& e : *all)
    if (leads_to(e, pod)) out.push_back(mapping(e));
  std::ranges::sort(out);
  return out;
}

}  // namespace dure::overlay
