// First start: what `dure init` does to a machine before any process runs: keys, kubeconfigs and settings. kubeadm's
// phases "certs", "kubeconfig" and "kubelet-start". Idempotent: keeps what is there, makes what is missing.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "bootstrap/settings.h"

namespace dure::os {
class Disk;
class Random;
}  // namespace dure::os

namespace dure::bootstrap {

struct InitOptions {
  ServerSettings server;
  AgentSettings agent;  // of the agent on the same machine
  bool force = false;   // replace the settings of an existing cluster ("AlreadyInitialized" otherwise)
};

struct InitReport {
  std::string ca_hash;  // "sha256:...", for --discovery-token-ca-cert-hash
  std::vector<std::string> written;
};

Result<InitReport> prepare_server(os::Disk& disk, os::Random& random, const Places& places, const InitOptions& options,
                                  WallTime now);

// The API server's certificate and kubeconfigs as the settings want them; renews what ends soon. Also called at every
// start.
Result<std::vector<std::string>> ensure_pki(os::Disk& disk, os::Random& random, const Places& places,
                                            const ServerSettings& settings, WallTime now);

// The same, whatever the remaining time: `name` empty: all, else one row of `check-expiration`.
Result<std::vector<std::string>> renew_pki(os::Disk& disk, os::Random& random, const Places& places,
                                           const ServerSettings& settings, std::string_view name, WallTime now);

}  // namespace dure::bootstrap
