// How rules and elements look on nfnetlink. Sources of this room only.
#pragma once

#include "kernel/netlink.h"
#include "kernel/nft.h"

namespace dure::kernel {

inline constexpr size_t nft_element_list_bytes_max = 32 * 1024;  // one list must stay below 64 KB

// The expressions of `rule` as NFTA_RULE_EXPRESSIONS, and its hash as the rule's comment.
void nft_encode_rule(netlink::Writer& out, const NftRule& rule);
uint64_t nft_decode_rule_hash(std::string_view rule_attributes);  // 0: not one of ours

void nft_encode_set(netlink::Writer& out, const NftSet& set);
void nft_encode_element(netlink::Writer& out, const NftSet& set, const NftElement& element, bool with_data);
NftElement nft_decode_element(std::string_view attributes, const NftSet& set);

}  // namespace dure::kernel
