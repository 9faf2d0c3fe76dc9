#include "kernel/nft.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "base/text.h"

namespace dure::kernel {

namespace {

size_t padded(size_t size) { return (size + 3) & ~size_t{3}; }

std::string_view field_text(NftField field) {
  switch (field) {
    case NftField::ip_source:
      return "ip saddr";
    case NftField::ip_destination:
      return "ip daddr";
    case NftField::l4_protocol:
      return "meta l4proto";
    case NftField::port_source:
      return "th sport";
    case NftField::port_destination:
      return "th dport";
    case NftField::input_link:
      return "iifname";
    case NftField::output_link:
      return "oifname";
    case NftField::mark:
      return "meta mark";
    case NftField::ct_status:
      return "ct status";
    case NftField::ct_state:
      return "ct state";
    case NftField::ct_original_destination:
      return "ct original ip daddr";
    case NftField::ct_original_port_destination:
      return "ct original proto-dst";
    case NftField::address_type:
      return "fib daddr type";
  }
  return "?";
}

std::string value_text(NftField field, std::string_view value) {
  switch (field) {
    case NftField::ip_source:
    case NftField::ip_destination:
    case NftField::ct_original_destination:
      return Ip::from_raw(value).text();
    case NftField::input_link:
    case NftField::output_link:
      return std::string(value.substr(0, value.find('\0')));
    default:
      return "0x" + hex_encode(value);
  }
}

std::string part_text(const NftPart& part) {
  switch (part.kind) {
    case NftPart::Kind::field:
      return std::string(field_text(part.field));
    case NftPart::Kind::constant:
      return "0x" + hex_encode(part.constant);
    case NftPart::Kind::random:
      return part.offset ? fmt::format("numgen random mod {} offset {}", part.modulus, part.offset)
                         : fmt::format("numgen random mod {}", part.modulus);
  }
  return "?";
}

std::string key_text(const NftKeyParts& key) {
  std::vector<std::string> parts;
  for (const NftPart& part : key) parts.push_back(part_text(part));
  return join(parts, " . ");
}

std::string verdict_text(const NftVerdict& verdict) {
  switch (verdict.kind) {
    case NftVerdict::Kind::accept:
      return "accept";
    case NftVerdict::Kind::drop:
      return "drop";
    case NftVerdict::Kind::jump:
      return "jump " + verdict.chain;
    case NftVerdict::Kind::go_to:
      return "goto " + verdict.chain;
    case NftVerdict::Kind::return_:
      return "return";
  }
  return "?";
}

struct ExpressionText {
  std::string operator()(const NftMatch& e) const {
    std::string mask = e.mask.empty() ? "" : " & " + value_text(e.field, e.mask);
    return fmt::format("{}{} {} {}", field_text(e.field), mask, e.negate ? "!=" : "==", value_text(e.field, e.value));
  }
  std::string operator()(const NftLookup& e) const {
    return fmt::format("{} {}@{}", key_text(e.key), e.negate ? "!= " : "", e.set);
  }
  std::string operator()(const NftVerdictMap& e) const { return fmt::format("{} vmap @{}", key_text(e.key), e.map); }
  std::string operator()(const NftDnatMap& e) const {
    return fmt::format("dnat to {} map @{}", key_text(e.key), e.map);
  }
  std::string operator()(const NftUpdate& e) const {
    std::string data = e.data.empty() ? "" : " : " + key_text(e.data);
    return fmt::format("update @{} {{ {} timeout {}{} }}", e.set, key_text(e.key), format_duration(e.timeout), data);
  }
  std::string operator()(const NftSetMark& e) const { return fmt::format("meta mark set mark | {:#x}", e.bits); }
  std::string operator()(const NftMasquerade&) const { return "masquerade"; }
  std::string operator()(const NftReject& e) const {
    return e.tcp_reset ? "reject with tcp reset" : "reject with icmp port-unreachable";
  }
  std::string operator()(const NftNotrack&) const { return "notrack"; }
  std::string operator()(const NftCounter&) const { return "counter"; }
  std::string operator()(const NftVerdict& e) const { return verdict_text(e); }
};

}  // namespace

size_t nft_field_bytes(NftField field) {
  switch (field) {
    case NftField::l4_protocol:
      return 1;
    case NftField::port_source:
    case NftField::port_destination:
    case NftField::ct_original_port_destination:
      return 2;
    case NftField::input_link:
    case NftField::output_link:
      return 16;
    default:
      return 4;
  }
}

std::string nft_text(const NftRule& rule) {
  std::vector<std::string> parts;
  for (const NftExpression& expression : rule) parts.push_back(std::visit(ExpressionText{}, expression));
  return join(parts, " ");
}

std::string nft_u32(uint32_t value) { return {reinterpret_cast<const char*>(&value), sizeof value}; }

std::string nft_port(uint16_t port) { return {static_cast<char>(port >> 8), static_cast<char>(port & 0xff)}; }

std::string nft_name(std::string_view link) {
  std::string out(link.substr(0, 15));
  out.resize(16);
  return out;
}

NftMatch nft_protocol(uint8_t protocol) {
  return {.field = NftField::l4_protocol, .value = std::string(1, static_cast<char>(protocol))};
}

NftMatch nft_link(NftField field, std::string_view name) { return {.field = field, .value = nft_name(name)}; }

NftMatch nft_within(NftField field, const IpPrefix& prefix, bool negate) {
  uint32_t mask = prefix.length == 0 ? 0 : ~uint32_t{0} << (32 - prefix.length);
  return {.field = field,
          .value = std::string(prefix.network().ip.raw()),
          .mask = std::string(Ip::v4(mask).raw()),
          .negate = negate};
}

NftMatch nft_mark_set(uint32_t bits) {
  return {.field = NftField::mark, .value = nft_u32(bits), .mask = nft_u32(bits)};
}

NftMatch nft_bits_set(NftField field, uint32_t bits) {
  return {.field = field, .value = nft_u32(0), .mask = nft_u32(bits), .negate = true};
}

std::string nft_key(std::initializer_list<std::string_view> parts) {
  std::string out;
  for (std::string_view part : parts) {
    out += part;
    out.resize(padded(out.size()));
  }
  return out;
}

std::vector<std::string> nft_split(std::string_view key, const std::vector<NftPartType>& types) {
  std::vector<std::string> out;
  for (NftPartType type : types) {
    size_t size = type == NftPartType::protocol ? 1 : type == NftPartType::port ? 2 : 4;
    out.emplace_back(key.substr(0, size));
    key.remove_prefix(std::min(padded(size), key.size()));
  }
  return out;
}

NftBatch& NftBatch::put_chain(NftChain chain) {
  commands_.push_back(PutChain{std::move(chain)});
  return *this;
}
NftBatch& NftBatch::put_set(NftSet set) {
  commands_.push_back(PutSet{std::move(set)});
  return *this;
}
NftBatch& NftBatch::remove_chain(std::string name) {
  commands_.push_back(RemoveChain{std::move(name)});
  return *this;
}
NftBatch& NftBatch::remove_set(std::string name) {
  commands_.push_back(RemoveSet{std::move(name)});
  return *this;
}
NftBatch& NftBatch::flush_chain(std::string name) {
  commands_.push_back(FlushChain{std::move(name)});
  return *this;
}
NftBatch& NftBatch::flush_set(std::string name) {
  commands_.push_back(FlushSet{std::move(name)});
  return *this;
}
NftBatch& NftBatch::add_rule(std::string chain, NftRule rule) {
  commands_.push_back(AddRule{std::move(chain), std::move(rule)});
  return *this;
}
NftBatch& NftBatch::add_elements(const NftSet& set, std::vector<NftElement> elements) {
  if (!elements.empty()) commands_.push_back(AddElements{set, std::move(elements)});
  return *this;
}
NftBatch& NftBatch::remove_elements(const NftSet& set, std::vector<NftElement> elements) {
  if (!elements.empty()) commands_.push_back(RemoveElements{set, std::move(elements)});
  return *this;
}

void nft_sync_chain(NftBatch& batch, const std::vector<NftChainState>& now, const NftChain& chain,
                    const std::vector<NftRule>& rules) {
  std::vector<uint64_t> wanted;
  for (const NftRule& rule : rules) wanted.push_back(fnv1a_64(nft_text(rule)));
  auto found = std::ranges::find_if(now, [&](const NftChainState& s) { return s.chain.name == chain.name; });
  if (found != now.end() && found->chain == chain && found->rules == wanted) return;
  if (found != now.end() && !(found->chain == chain)) {
    batch.flush_chain(chain.name).remove_chain(chain.name);
    batch.put_chain(chain);
  } else if (found != now.end()) {
    batch.flush_chain(chain.name);
  } else {
    batch.put_chain(chain);
  }
  for (const NftRule& rule : rules) batch.add_rule(chain.name, rule);
}

}  // namespace dure::kernel
