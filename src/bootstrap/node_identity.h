// Node identity: the agent's own key and certificate. A node that has none asks for one with its bootstrap token
// through a CertificateSigningRequest (signer kubernetes.io/kube-apiserver-client-kubelet, KEP-266 "TLS bootstrap");
// one whose certificate is in the last fifth of its life asks with the old one.
#pragma once

#include <string>

#include "base/result.h"
#include "bootstrap/settings.h"
#include "client/connect.h"
#include "pki/x25519.h"
#include "wire/dial_plan.h"

namespace dure::os {
class Disk;
}

namespace dure::bootstrap {

// Addresses of the server that the cluster told, as Places::servers keeps them.
std::vector<std::string> told_servers(os::Disk& disk, const Places& places);
// All ways to the server that this machine knows: those that join was given, then what the cluster told it since.
wire::DialPlan known_ways(os::Disk& disk, const Places& places, const AgentSettings& settings);

// kubelet.conf as credentials; "NotFound" when the node has no identity yet.
Result<client::Credentials> read_identity(os::Disk& disk, const Places& places);

// For reset, once the agent has stopped: takes this node's Lease back, so that the machine may join again at once under
// its name. Blocks for a few seconds at most; the server need not answer.
Status take_leave(run::Loop& loop, os::Disk& disk, const Places& places, const AgentSettings& settings);

// True when the certificate has less than a fifth of its life left (or does not parse).
bool renewal_due(const client::Credentials& credentials, WallTime now);

// Blocks until signed (at most `timeout`), then writes kubelet.conf. `credentials` of the asking: bootstrap token or
// old identity. Errors: TokenRefused, NotSigned (nobody approved in time), Denied, ServerUnreachable (each way and what
// came of it).
struct IdentityRequest {
  std::string node_name;
  std::vector<wire::Way> ways;  // to the server; the first that answers is taken (wire/dial_race.h)
  client::Credentials credentials;
  std::string machine_proof = {};  // see fingerprint.h; empty: none
  Duration timeout = 60s;
};
Result<client::Credentials> request_identity(run::Loop& loop, os::Disk& disk, const Places& places,
                                             const IdentityRequest& request);

inline constexpr std::string_view wireguard_key_annotation = "dure.dev/wireguard-key";  // of the Node: the public one

// The key of this node's WireGuard device: made once, 0600, at Places::wireguard_key. "WireguardKeyBroken" when the
// file is there and holds no key: it is never replaced by itself, for peers know the node by it.
Result<pki::X25519Key> ensure_wireguard_key(os::Disk& disk, const Places& places);
// The public key that stands on this machine; empty: none, or a broken one.
std::string public_wireguard_key(os::Disk& disk, const Places& places);
// 51820 to 52819, from the machine's id and the node's name: two machines behind one NAT that keeps ports must not want
// the same one. Asked by init and join, and kept in the settings.
int default_wireguard_port(os::Disk& disk, std::string_view node_name);

}  // namespace dure::bootstrap
