// Join verdicts: may this machine become a member of that cluster, and will it be happy there? Pure: what the newcomer
// says of itself and what the server knows go in, findings come out. The server asks it when a newcomer presents itself
// (plane/join_desk.h); `dure join` prints the answer and stops at a refusal before it changed anything.
//
// Codes. Refusals: NodeNameTaken, SameMachineId, SameProductUuid, SameMac, SameWireguardKey, RangeCollides, ClockOff,
// KernelLacks, VersionSkew. Warnings: SameHostName, RangeShadows, NoMachineId.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "bootstrap/finding.h"
#include "bootstrap/fingerprint.h"
#include "bootstrap/ranges.h"

namespace dure::bootstrap {

struct Newcomer {
  std::string node_name, version;  // "v1.34.0+dure0.1.0"
  Fingerprint machine;
  std::string wireguard_key = {};           // public; empty: this machine has none yet
  std::vector<MachineNetwork> networks;     // at most 512
  std::vector<std::string> kernel_missing;  // what a node needs and this kernel does not have
  WallTime now{};
  friend bool operator==(const Newcomer&, const Newcomer&) = default;
};

struct Member {
  std::string node;
  Fingerprint machine;  // empty: it never published one
  Duration silent_for{};
  std::string wireguard_key = {};  // public, of its Node
};

struct ClusterView {
  std::string version;
  WallTime now{};
  std::string pod_cidr, service_cidr, node_cidr;  // node_cidr empty: nodes have no range of their own
  std::vector<Member> members;
};

// A member that was heard within this time is alive: its name is not to be had.
inline constexpr Duration member_alive_for = 60s;
inline constexpr Duration clock_off_max = 60s;

std::vector<Finding> join_verdicts(const Newcomer& newcomer, const ClusterView& cluster);

// Also asked alone, before anything encrypted is possible: a clock that is far off makes certificates invalid.
std::optional<Finding> clock_verdict(WallTime own, WallTime server);

// On the wire: JSON. The readers take what strangers send: bounded, unknown members are skipped.
std::string newcomer_json(const Newcomer& newcomer);
Result<Newcomer> parse_newcomer(std::string_view json);
Result<std::vector<Finding>> parse_findings(std::string_view json);  // of findings_json (checks/checks.h)

}  // namespace dure::bootstrap
