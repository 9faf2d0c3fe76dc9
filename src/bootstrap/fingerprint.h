// Fingerprint: by what one machine is told from another, in a form that may be shown: keyed hashes of its machine-id,
// hardware UUID, MAC addresses and host name. Members publish theirs as the Node's annotation dure.dev/machine, and a
// newcomer whose fingerprint agrees with a member's is a clone of it. The key is the cluster's pinned CA hash, so that
// fingerprints of two clusters cannot be compared.
//
// `proof` is the preimage of `id`: only the machine itself can tell it. A signing request that carries it may take over
// the node's name again (controllers/certificates.h).
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "base/result.h"

namespace dure::os {
class Disk;
}
namespace dure::kernel {
class Links;
}

namespace dure::bootstrap {

inline constexpr std::string_view machine_annotation = "dure.dev/machine";
inline constexpr std::string_view machine_proof_annotation = "dure.dev/machine-proof";  // of a signing request

struct MachineIdentity {  // as it is; what cannot be read stays empty
  std::string machine_id, product_uuid, host_name;
  std::vector<Mac> macs;  // of real devices and of the one that the default route leaves by
  bool is_container = false;
};

struct Fingerprint {
  std::string id, uuid, host;     // 32 hex digits each, or empty
  std::vector<std::string> macs;  // at most 16
  friend bool operator==(const Fingerprint&, const Fingerprint&) = default;
};

MachineIdentity read_machine_identity(kernel::Links& links, os::Disk& disk, const std::set<std::string>& own_links);

// `ca_pin`: "sha256:...". Hardware UUIDs that vendors leave the same on all their boards, and those of containers
// (which are their host's), are left out.
Fingerprint fingerprint_of(const MachineIdentity& machine, std::string_view ca_pin);
std::string machine_proof(const MachineIdentity& machine, std::string_view ca_pin);  // empty without a machine-id
std::string id_of_proof(std::string_view proof);                                     // Fingerprint::id

// Both for the agent: what the Node is annotated with, and the proof for its signing request. Reads the machine.
struct Places;
struct MachineClaim {
  std::string annotation, proof;
};
Result<MachineClaim> read_machine_claim(os::Disk& disk, const Places& places, std::string_view ca_pem);

// "id=... uuid=... host=... mac=..."; unknown words are skipped. Errors: more than 2 KB, or a value that is no hash.
std::string fingerprint_text(const Fingerprint& fingerprint);
Result<Fingerprint> parse_fingerprint(std::string_view text);

}  // namespace dure::bootstrap
