#include "kernel/nft_encode.h"

#include <netinet/in.h>  // before the kernel's own headers, which then step aside
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include <algorithm>

#include <fmt/format.h>

#include "base/text.h"

namespace dure::kernel {

using netlink::Writer;

namespace {

// The registers are sixteen words of four bytes; a rule's expression uses a few of them and leaves nothing behind.
constexpr uint32_t first_register = NFT_REG32_00;
constexpr std::string_view comment_prefix = "dure:";

size_t padded(size_t size) { return (size + 3) & ~size_t{3}; }

// One expression: its name and its attributes.
template <class Body>
void expression(Writer& out, std::string_view name, Body body) {
  size_t element = out.nest(NFTA_LIST_ELEM);
  out.put_text(NFTA_EXPR_NAME, name);
  size_t data = out.nest(NFTA_EXPR_DATA);
  body();
  out.close(data);
  out.close(element);
}

void data_value(Writer& out, uint16_t attribute, std::string_view bytes) {
  size_t nest = out.nest(attribute);
  out.put(NFTA_DATA_VALUE, bytes);
  out.close(nest);
}

int32_t verdict_code(NftVerdict::Kind kind) {
  switch (kind) {
    case NftVerdict::Kind::accept:
      return NF_ACCEPT;
    case NftVerdict::Kind::drop:
      return NF_DROP;
    case NftVerdict::Kind::jump:
      return NFT_JUMP;
    case NftVerdict::Kind::go_to:
      return NFT_GOTO;
    case NftVerdict::Kind::return_:
      return NFT_RETURN;
  }
  return NF_DROP;
}

void data_verdict(Writer& out, uint16_t attribute, const NftVerdict& verdict) {
  size_t nest = out.nest(attribute);
  size_t inner = out.nest(NFTA_DATA_VERDICT);
  out.put_be32(NFTA_VERDICT_CODE, static_cast<uint32_t>(verdict_code(verdict.kind)));
  if (!verdict.chain.empty()) out.put_text(NFTA_VERDICT_CHAIN, verdict.chain);
  out.close(inner);
  out.close(nest);
}

void payload(Writer& out, uint32_t to, uint32_t base, uint32_t offset, uint32_t length) {
  expression(out, "payload", [&] {
    out.put_be32(NFTA_PAYLOAD_DREG, to);
    out.put_be32(NFTA_PAYLOAD_BASE, base);
    out.put_be32(NFTA_PAYLOAD_OFFSET, offset);
    out.put_be32(NFTA_PAYLOAD_LEN, length);
  });
}

void meta(Writer& out, uint32_t to, uint32_t key) {
  expression(out, "meta", [&] {
    out.put_be32(NFTA_META_DREG, to);
    out.put_be32(NFTA_META_KEY, key);
  });
}

void conntrack(Writer& out, uint32_t to, uint32_t key, bool original = false) {
  expression(out, "ct", [&] {
    out.put_be32(NFTA_CT_DREG, to);
    out.put_be32(NFTA_CT_KEY, key);
    if (original) out.put_u8(NFTA_CT_DIRECTION, 0);
  });
}

void load_field(Writer& out, NftField field, uint32_t to) {
  switch (field) {
    case NftField::ip_source:
      return payload(out, to, NFT_PAYLOAD_NETWORK_HEADER, 12, 4);
    case NftField::ip_destination:
      return payload(out, to, NFT_PAYLOAD_NETWORK_HEADER, 16, 4);
    case NftField::l4_protocol:
      return meta(out, to, NFT_META_L4PROTO);
    case NftField::port_source:
      return payload(out, to, NFT_PAYLOAD_TRANSPORT_HEADER, 0, 2);
    case NftField::port_destination:
      return payload(out, to, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2);
    case NftField::input_link:
      return meta(out, to, NFT_META_IIFNAME);
    case NftField::output_link:
      return meta(out, to, NFT_META_OIFNAME);
    case NftField::mark:
      return meta(out, to, NFT_META_MARK);
    case NftField::ct_status:
      return conntrack(out, to, NFT_CT_STATUS);
    case NftField::ct_state:
      return conntrack(out, to, NFT_CT_STATE);
    case NftField::ct_original_destination:
      return conntrack(out, to, NFT_CT_DST_IP, true);
    case NftField::ct_original_port_destination:
      return conntrack(out, to, NFT_CT_PROTO_DST, true);
    case NftField::address_type:
      return expression(out, "fib", [&] {
        out.put_be32(NFTA_FIB_DREG, to);
        out.put_be32(NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
        out.put_be32(NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR);
      });
  }
}

// Loads one part; answers the first register behind it.
uint32_t load_part(Writer& out, const NftPart& part, uint32_t to) {
  switch (part.kind) {
    case NftPart::Kind::field:
      load_field(out, part.field, to);
      return to + static_cast<uint32_t>(padded(nft_field_bytes(part.field)) / 4);
    case NftPart::Kind::constant:
      expression(out, "immediate", [&] {
        out.put_be32(NFTA_IMMEDIATE_DREG, to);
        data_value(out, NFTA_IMMEDIATE_DATA, part.constant);
      });
      return to + static_cast<uint32_t>(padded(part.constant.size()) / 4);
    case NftPart::Kind::random:
      expression(out, "numgen", [&] {
        out.put_be32(NFTA_NG_DREG, to);
        out.put_be32(NFTA_NG_MODULUS, part.modulus);
        out.put_be32(NFTA_NG_TYPE, NFT_NG_RANDOM);
        out.put_be32(NFTA_NG_OFFSET, part.offset);
      });
      return to + 1;
  }
  return to;
}

uint32_t load_key(Writer& out, const NftKeyParts& key, uint32_t to) {
  for (const NftPart& part : key) to = load_part(out, part, to);
  return to;
}

void lookup(Writer& out, std::string_view set, uint32_t from, std::optional<uint32_t> to, bool negate = false) {
  expression(out, "lookup", [&] {
    out.put_text(NFTA_LOOKUP_SET, set);
    out.put_be32(NFTA_LOOKUP_SREG, from);
    if (to) out.put_be32(NFTA_LOOKUP_DREG, *to);
    if (negate) out.put_be32(NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
  });
}

void bitwise(Writer& out, uint32_t at, std::string_view mask, std::string_view flip) {
  expression(out, "bitwise", [&] {
    out.put_be32(NFTA_BITWISE_SREG, at);
    out.put_be32(NFTA_BITWISE_DREG, at);
    out.put_be32(NFTA_BITWISE_LEN, static_cast<uint32_t>(mask.size()));
    data_value(out, NFTA_BITWISE_MASK, mask);
    data_value(out, NFTA_BITWISE_XOR, flip);
  });
}

struct Encode {
  Writer& out;

  void operator()(const NftMatch& e) const {
    load_field(out, e.field, first_register);
    if (!e.mask.empty()) bitwise(out, first_register, e.mask, std::string(e.mask.size(), '\0'));
    expression(out, "cmp", [&] {
      out.put_be32(NFTA_CMP_SREG, first_register);
      out.put_be32(NFTA_CMP_OP, e.negate ? NFT_CMP_NEQ : NFT_CMP_EQ);
      data_value(out, NFTA_CMP_DATA, e.value);
    });
  }

  void operator()(const NftLookup& e) const {
    load_key(out, e.key, first_register);
    lookup(out, e.set, first_register, std::nullopt, e.negate);
  }

  void operator()(const NftVerdictMap& e) const {
    load_key(out, e.key, first_register);
    lookup(out, e.map, first_register, NFT_REG_VERDICT);
  }

  void operator()(const NftDnatMap& e) const {
    uint32_t found = load_key(out, e.key, first_register);
    lookup(out, e.map, first_register, found);
    expression(out, "nat", [&] {
      out.put_be32(NFTA_NAT_TYPE, NFT_NAT_DNAT);
      out.put_be32(NFTA_NAT_FAMILY, NFPROTO_IPV4);
      out.put_be32(NFTA_NAT_REG_ADDR_MIN, found);
      out.put_be32(NFTA_NAT_REG_PROTO_MIN, found + 1);
    });
  }

  void operator()(const NftUpdate& e) const {
    uint32_t data = load_key(out, e.key, first_register);
    load_key(out, e.data, data);
    expression(out, "dynset", [&] {
      out.put_text(NFTA_DYNSET_SET_NAME, e.set);
      out.put_be32(NFTA_DYNSET_OP, NFT_DYNSET_OP_UPDATE);
      out.put_be32(NFTA_DYNSET_SREG_KEY, first_register);
      if (!e.data.empty()) out.put_be32(NFTA_DYNSET_SREG_DATA, data);
      out.put_be64(NFTA_DYNSET_TIMEOUT, static_cast<uint64_t>(e.timeout / 1ms));
    });
  }

  void operator()(const NftSetMark& e) const {
    load_field(out, NftField::mark, first_register);
    bitwise(out, first_register, nft_u32(~e.bits), nft_u32(e.bits));
    expression(out, "meta", [&] {
      out.put_be32(NFTA_META_KEY, NFT_META_MARK);
      out.put_be32(NFTA_META_SREG, first_register);
    });
  }

  void operator()(const NftMasquerade&) const {
    expression(out, "masq", [] {});
  }

  void operator()(const NftReject& e) const {
    expression(out, "reject", [&] {
      out.put_be32(NFTA_REJECT_TYPE, e.tcp_reset ? NFT_REJECT_TCP_RST : NFT_REJECT_ICMP_UNREACH);
      if (!e.tcp_reset) out.put_u8(NFTA_REJECT_ICMP_CODE, 3);  // port unreachable
    });
  }

  void operator()(const NftNotrack&) const {
    expression(out, "notrack", [] {});
  }

  void operator()(const NftCounter&) const {
    expression(out, "counter", [] {});
  }

  void operator()(const NftVerdict& e) const {
    expression(out, "immediate", [&] {
      out.put_be32(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
      data_verdict(out, NFTA_IMMEDIATE_DATA, e);
    });
  }
};

// nft(8)'s numbers for types, so that it prints our sets in words.
uint32_t type_number(NftPartType type) {
  switch (type) {
    case NftPartType::address:
      return 7;
    case NftPartType::protocol:
      return 12;
    case NftPartType::port:
      return 13;
    case NftPartType::number:
      return 19;  // "mark": a plain number prints badly in a concatenation
  }
  return 0;
}

uint32_t type_number(const std::vector<NftPartType>& types) {
  uint32_t out = 0;
  for (NftPartType type : types) out = out << 6 | type_number(type);
  return out;
}

uint32_t type_bytes(const std::vector<NftPartType>& types) {
  if (types.size() == 1) return types[0] == NftPartType::protocol ? 1 : types[0] == NftPartType::port ? 2 : 4;
  return static_cast<uint32_t>(4 * types.size());
}

}  // namespace

void nft_encode_rule(Writer& out, const NftRule& rule) {
  size_t list = out.nest(NFTA_RULE_EXPRESSIONS);
  for (const NftExpression& e : rule) std::visit(Encode{out}, e);
  out.close(list);
  // A comment as nft(8) keeps it: type 0, length, text with its NUL.
  std::string comment = fmt::format("{}{:016x}", comment_prefix, fnv1a_64(nft_text(rule)));
  std::string user_data{'\0', static_cast<char>(comment.size() + 1)};
  user_data += comment;
  user_data += '\0';
  out.put(NFTA_RULE_USERDATA, user_data);
}

uint64_t nft_decode_rule_hash(std::string_view rule_attributes) {
  std::string_view data = netlink::find(rule_attributes, NFTA_RULE_USERDATA).data;
  while (data.size() >= 2) {
    size_t size = static_cast<uint8_t>(data[1]);
    if (data.size() < 2 + size) return 0;
    std::string_view value = data.substr(2, size);
    if (data[0] == 0 && value.starts_with(comment_prefix) && size == comment_prefix.size() + 17)
      return std::strtoull(std::string(value.substr(comment_prefix.size(), 16)).c_str(), nullptr, 16);
    data.remove_prefix(2 + size);
  }
  return 0;
}

void nft_encode_set(Writer& out, const NftSet& set) {
  bool is_map = set.verdicts || !set.data.empty();
  uint32_t flags = (is_map ? NFT_SET_MAP : 0) | (set.dynamic ? NFT_SET_EVAL | NFT_SET_TIMEOUT : 0);
  out.put_text(NFTA_SET_NAME, set.name);
  out.put_be32(NFTA_SET_FLAGS, flags);
  out.put_be32(NFTA_SET_KEY_TYPE, type_number(set.key));
  out.put_be32(NFTA_SET_KEY_LEN, type_bytes(set.key));
  if (set.verdicts) {
    out.put_be32(NFTA_SET_DATA_TYPE, NFT_DATA_VERDICT);
  } else if (is_map) {
    out.put_be32(NFTA_SET_DATA_TYPE, type_number(set.data));
    out.put_be32(NFTA_SET_DATA_LEN, type_bytes(set.data));
  }
  out.put_be32(NFTA_SET_ID, 1);
}

void nft_encode_element(Writer& out, const NftSet& set, const NftElement& element, bool with_data) {
  size_t item = out.nest(NFTA_LIST_ELEM);
  data_value(out, NFTA_SET_ELEM_KEY, std::string_view(element.key).substr(0, type_bytes(set.key)));
  if (with_data && element.verdict) {
    data_verdict(out, NFTA_SET_ELEM_DATA, *element.verdict);
  } else if (with_data && !set.data.empty()) {
    data_value(out, NFTA_SET_ELEM_DATA, std::string_view(element.data).substr(0, type_bytes(set.data)));
  }
  if (with_data && element.timeout > Duration::zero())
    out.put_be64(NFTA_SET_ELEM_TIMEOUT, static_cast<uint64_t>(element.timeout / 1ms));
  out.close(item);
}

namespace {

NftVerdict decode_verdict(std::string_view attributes) {
  NftVerdict out;
  out.chain = netlink::find(attributes, NFTA_VERDICT_CHAIN).text();
  auto code = static_cast<int32_t>(netlink::find(attributes, NFTA_VERDICT_CODE).be32());
  for (auto kind : {NftVerdict::Kind::accept, NftVerdict::Kind::drop, NftVerdict::Kind::jump, NftVerdict::Kind::go_to,
                    NftVerdict::Kind::return_})
    if (verdict_code(kind) == code) out.kind = kind;
  return out;
}

}  // namespace

NftElement nft_decode_element(std::string_view attributes, const NftSet& set) {
  NftElement out;
  for (const netlink::Attribute& a : netlink::attributes(attributes)) switch (a.type) {
      case NFTA_SET_ELEM_KEY:
        out.key = netlink::find(a.data, NFTA_DATA_VALUE).data;
        out.key.resize(padded(out.key.size()));
        break;
      case NFTA_SET_ELEM_DATA:
        if (set.verdicts) {
          out.verdict = decode_verdict(netlink::find(a.data, NFTA_DATA_VERDICT).data);
        } else {
          out.data = netlink::find(a.data, NFTA_DATA_VALUE).data;
          out.data.resize(padded(out.data.size()));
        }
        break;
      case NFTA_SET_ELEM_TIMEOUT:
        out.timeout = Duration(a.be64() * 1'000'000);
        break;
      default:
        break;
    }
  return out;
}

}  // namespace dure::kernel
