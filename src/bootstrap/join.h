// Join: what `dure join` does to a machine before its agent runs: trust, token and settings. kubeadm's "discovery" with
// a token: cluster-info is read without trust, its CA must hash to the pinned value, everything after is verified with
// that CA.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "bootstrap/settings.h"

namespace dure::os {
class Disk;
}
namespace dure::run {
class Loop;
}

namespace dure::bootstrap {

struct JoinOptions {
  std::string server;  // "host:port" or "https://host:port"
  std::string token;
  std::vector<std::string> ca_hashes;  // --discovery-token-ca-cert-hash; one must match
  bool skip_ca_verification = false;   // --discovery-token-unsafe-skip-ca-verification
  AgentSettings agent;                 // name, address, capacity; ranges and DNS come from the cluster
  bool force = false;
  Duration timeout = 30s;
};

struct JoinReport {
  std::string server_url;
};

// Blocks; `loop` runs the connections and must run on another thread. Writes pki/ca.crt, bootstrap-kubelet.conf and
// agent.conf. Errors: AlreadyJoined, BadToken, ServerUnreachable, CaHashMismatch, TokenRefused; each with its remedy.
Result<JoinReport> prepare_node(run::Loop& loop, os::Disk& disk, const Places& places, JoinOptions options);

}  // namespace dure::bootstrap
