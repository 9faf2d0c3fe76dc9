// Join: what `dure join` does to a machine before its agent runs: discovery, the verdicts of both sides, and then
// trust, token and settings. Nothing is changed before everything was checked.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "bootstrap/discovery.h"
#include "bootstrap/finding.h"
#include "bootstrap/settings.h"
#include "wire/dial_plan.h"

namespace dure::os {
class Disk;
}
namespace dure::run {
class Loop;
}

namespace dure::bootstrap {

struct JoinOptions {
  std::string token;
  std::vector<std::string> ca_hashes;  // --discovery-token-ca-cert-hash; one must match
  bool skip_ca_verification = false;   // --discovery-token-unsafe-skip-ca-verification
  std::vector<std::string> ignored;    // --ignore-preflight-errors: codes of refusals that only warn; "all"
  AgentSettings agent;                 // name, servers, proxy, capacity; ranges and DNS come from the cluster
  std::string version;                 // of this binary
  bool force = false;
  Duration timeout = 30s;
};

struct JoinPlan {
  Discovery discovery;
  AgentSettings agent;  // complete
  std::vector<Finding> findings;
};

// The ways to the servers that a person wrote, in their order, through the proxy before directly; what was written
// becomes URLs. AddressGarbled, PlainHttp, BadProxy.
Result<wire::DialPlan> plan_dialling(AgentSettings& agent);

// Asks everybody, by the first way that answers and leads to the cluster that was meant. Blocks; `loop` runs the
// connections on another thread. An answer may hold findings that refuse. Errors: those of discovery.h and
// plan_dialling, AlreadyJoined, BadToken; each with its remedy.
Result<JoinPlan> plan_join(run::Loop& loop, os::Disk& disk, const Places& places, JoinOptions options, WallTime now);

// Writes pki/ca.crt, bootstrap-kubelet.conf and agent.conf, and what the cluster told of its server's address.
Status prepare_node(os::Disk& disk, const Places& places, const JoinPlan& plan);

}  // namespace dure::bootstrap
