// Nft: our one nftables table (`table ip dure`) as transactions and read-back.
//
// Rules are written as lists of small expressions (this header), which the Linux implementation turns into the
// kernel's; they say no more than a toy network could interpret packet by packet. Rooms share the table: each owns the
// chains and sets whose names begin with its own name, and nobody touches the others'.
//
// Implementation: `open_nft` (nfnetlink); there is none in memory yet. Suite: nft_test.cpp.
// Thread: any; calls take turns. A transaction is atomic: all of it or an error and nothing.
// Cost: a transaction that changes a few elements is one system call of some tens of microseconds, whatever the size of
// the sets.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "base/time.h"

namespace dure::kernel {

class NetNamespace;

// ---- What a rule can look at. Values are bytes as the kernel keeps them: addresses and ports in network order,
// numbers of the host (marks, states, random numbers) in host order.
enum class NftField : uint8_t {
  ip_source,                     // 4
  ip_destination,                // 4
  l4_protocol,                   // 1
  port_source,                   // 2
  port_destination,              // 2
  input_link,                    // 16: the name, padded with NUL
  output_link,                   // 16
  mark,                          // 4, host order
  ct_status,                     // 4, host order; nft_ct_status_dnat
  ct_state,                      // 4, host order
  ct_original_destination,       // 4: before any NAT
  ct_original_port_destination,  // 2
  address_type,                  // 4, host order: what the destination is to this machine; nft_address_local
};
inline constexpr uint32_t nft_ct_status_dnat = 1u << 5;
inline constexpr uint32_t nft_ct_status_snat = 1u << 4;
inline constexpr uint32_t nft_ct_state_invalid = 1u;
inline constexpr uint32_t nft_ct_state_established = 1u << 1;
inline constexpr uint32_t nft_ct_state_related = 1u << 2;
inline constexpr uint32_t nft_ct_state_new = 1u << 3;
inline constexpr uint32_t nft_address_local = 2;
inline constexpr uint8_t nft_tcp = 6, nft_udp = 17, nft_sctp = 132;

size_t nft_field_bytes(NftField field);

// One part of a key: a field, a constant, or a random index: `offset` plus a number below `modulus` (4
// bytes, host order).
struct NftPart {
  enum class Kind : uint8_t { field, constant, random };
  Kind kind = Kind::field;
  NftField field = NftField::ip_source;
  std::string constant;
  uint32_t modulus = 0, offset = 0;

  NftPart(NftField f) : field(f) {}  // NOLINT: a field is a part
  static NftPart constant_of(std::string bytes) {
    NftPart part(NftField::mark);
    part.kind = Kind::constant;
    part.constant = std::move(bytes);
    return part;
  }
  static NftPart random(uint32_t modulus, uint32_t offset = 0) {
    NftPart part(NftField::mark);
    part.kind = Kind::random;
    part.modulus = modulus;
    part.offset = offset;
    return part;
  }
  friend bool operator==(const NftPart&, const NftPart&) = default;
};
using NftKeyParts = std::vector<NftPart>;

// ---- Expressions, in the order they are evaluated; one that does not match ends its rule.
struct NftMatch {  // (field & mask) == value, or != when `negate`; an empty mask: all bits
  NftField field = NftField::ip_source;
  std::string value, mask = {};
  bool negate = false;
  friend bool operator==(const NftMatch&, const NftMatch&) = default;
};
struct NftLookup {  // the key is (not) in the set
  NftKeyParts key;
  std::string set;
  bool negate = false;
  friend bool operator==(const NftLookup&, const NftLookup&) = default;
};
struct NftVerdictMap {  // the verdict of the key; no match when it is not there
  NftKeyParts key;
  std::string map;
  friend bool operator==(const NftVerdictMap&, const NftVerdictMap&) = default;
};
struct NftDnatMap {  // destination NAT to the (address . port) of the key; no match when it is not there
  NftKeyParts key;
  std::string map;
  friend bool operator==(const NftDnatMap&, const NftDnatMap&) = default;
};
// Writes an element to a dynamic set or map, or begins its time anew. The parts are fields and constants: nft(8) 1.0.6
// aborts when it prints a rule whose data came out of another map.
struct NftUpdate {
  std::string set;
  NftKeyParts key;
  NftKeyParts data = {};
  Duration timeout = Duration::zero();
  friend bool operator==(const NftUpdate&, const NftUpdate&) = default;
};
struct NftSetMark {  // mark = mark | bits
  uint32_t bits = 0;
  friend bool operator==(const NftSetMark&, const NftSetMark&) = default;
};
struct NftMasquerade {
  friend bool operator==(const NftMasquerade&, const NftMasquerade&) = default;
};
struct NftReject {
  bool tcp_reset = false;  // otherwise ICMP port unreachable
  friend bool operator==(const NftReject&, const NftReject&) = default;
};
struct NftNotrack {
  friend bool operator==(const NftNotrack&, const NftNotrack&) = default;
};
struct NftCounter {
  friend bool operator==(const NftCounter&, const NftCounter&) = default;
};
struct NftVerdict {
  enum class Kind : uint8_t { accept, drop, jump, go_to, return_ };
  Kind kind = Kind::accept;
  std::string chain = {};  // of jump and go_to
  friend bool operator==(const NftVerdict&, const NftVerdict&) = default;
};
using NftExpression = std::variant<NftMatch, NftLookup, NftVerdictMap, NftDnatMap, NftUpdate, NftSetMark, NftMasquerade,
                                   NftReject, NftNotrack, NftCounter, NftVerdict>;
using NftRule = std::vector<NftExpression>;

// The rule as nft(8) would write it, nearly; rules with equal text are equal. It is kept beside the rule in the kernel
// (as a hash) so that a restart can tell whether a chain is as it should be.
std::string nft_text(const NftRule& rule);

// Short forms for the builders of rules.
std::string nft_u32(uint32_t value);          // host order
std::string nft_port(uint16_t port);          // network order
std::string nft_name(std::string_view link);  // 16 bytes
NftMatch nft_protocol(uint8_t protocol);
NftMatch nft_link(NftField field, std::string_view name);  // input_link, output_link
NftMatch nft_within(NftField field, const IpPrefix& prefix, bool negate = false);
NftMatch nft_mark_set(uint32_t bits);                  // (mark & bits) == bits
NftMatch nft_bits_set(NftField field, uint32_t bits);  // (field & bits) != 0

// ---- Chains and sets.
enum class NftHook : uint8_t { none, prerouting, input, forward, output, postrouting };
enum class NftChainType : uint8_t { filter, nat };

struct NftChain {
  std::string name;
  NftHook hook = NftHook::none;  // none: only reached by jump and goto
  NftChainType type = NftChainType::filter;
  int priority = 0;  // dstnat -100, srcnat 100, raw -300, filter 0
  friend bool operator==(const NftChain&, const NftChain&) = default;
};

enum class NftPartType : uint8_t { address, protocol, port, number };  // of a set's key or data

struct NftSet {
  std::string name;
  std::vector<NftPartType> key;
  std::vector<NftPartType> data = {};  // empty and not `verdicts`: a plain set
  bool verdicts = false;               // data are verdicts
  bool dynamic = false;                // rules add to it; its elements may time out
  friend bool operator==(const NftSet&, const NftSet&) = default;
};

struct NftElement {
  std::string key;   // parts joined by nft_key
  std::string data;  // likewise; empty for sets and verdict maps
  std::optional<NftVerdict> verdict = {};
  Duration timeout = Duration::zero();  // dynamic sets; zero: stays
  friend bool operator==(const NftElement&, const NftElement&) = default;
};

// Joins parts into the bytes of a key or of data: each part is padded to four bytes.
std::string nft_key(std::initializer_list<std::string_view> parts);
// The parts of a key again, each as long as its type says.
std::vector<std::string> nft_split(std::string_view key, const std::vector<NftPartType>& types);

// ---- Transactions.
struct NftChainState {
  NftChain chain;
  std::vector<uint64_t> rules;  // fnv1a_64 of nft_text, in order; 0 for a rule that is not ours
};

class NftBatch {
 public:
  // put_...: made when it is not there; an existing one with another shape is an error.
  NftBatch& put_chain(NftChain chain);
  NftBatch& put_set(NftSet set);
  NftBatch& remove_chain(std::string name);  // must be there and not be used
  NftBatch& remove_set(std::string name);
  NftBatch& flush_chain(std::string name);  // removes its rules
  NftBatch& flush_set(std::string name);
  NftBatch& add_rule(std::string chain, NftRule rule);
  // An element that is there with other data is an error: remove it first in the same batch.
  NftBatch& add_elements(const NftSet& set, std::vector<NftElement> elements);
  NftBatch& remove_elements(const NftSet& set, std::vector<NftElement> elements);  // must be there

  struct PutChain {
    NftChain chain;
  };
  struct PutSet {
    NftSet set;
  };
  struct RemoveChain {
    std::string name;
  };
  struct RemoveSet {
    std::string name;
  };
  struct FlushChain {
    std::string name;
  };
  struct FlushSet {
    std::string name;
  };
  struct AddRule {
    std::string chain;
    NftRule rule;
  };
  struct AddElements {
    NftSet set;
    std::vector<NftElement> elements;
  };
  struct RemoveElements {
    NftSet set;
    std::vector<NftElement> elements;
  };
  using Command = std::variant<PutChain, PutSet, RemoveChain, RemoveSet, FlushChain, FlushSet, AddRule, AddElements,
                               RemoveElements>;
  const std::vector<Command>& commands() const { return commands_; }
  bool empty() const { return commands_.empty(); }

 private:
  std::vector<Command> commands_;
};

class Nft {
 public:
  virtual ~Nft() = default;
  virtual Status apply(const NftBatch& batch) = 0;  // makes the table when it is not there
  // Read back. An absent table has no chains and no sets.
  virtual Result<std::vector<NftChainState>> chains() = 0;
  virtual Result<std::vector<std::string>> sets() = 0;
  virtual Result<std::vector<NftElement>> elements(const NftSet& set) = 0;  // NotFound
  virtual Status remove_table() = 0;                                        // idempotent
};

// `table ip <name>` in `ns`, or in the calling thread's namespace.
Result<std::unique_ptr<Nft>> open_nft(std::string name = "dure", const NetNamespace* ns = nullptr);

// The commands that bring `chain` to exactly `rules`; nothing when it is so already. `now` is what chains() answered.
void nft_sync_chain(NftBatch& batch, const std::vector<NftChainState>& now, const NftChain& chain,
                    const std::vector<NftRule>& rules);

}  // namespace dure::kernel
