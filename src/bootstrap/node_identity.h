// Node identity: the agent's own key and certificate. A node that has none asks for one with its bootstrap token
// through a CertificateSigningRequest (signer kubernetes.io/kube-apiserver-client-kubelet, KEP-266 "TLS bootstrap");
// one whose certificate is in the last fifth of its life asks with the old one.
#pragma once

#include <string>

#include "base/result.h"
#include "bootstrap/settings.h"
#include "client/connect.h"
#include "pki/x25519.h"

namespace dure::os {
class Disk;
}

namespace dure::bootstrap {

// kubelet.conf as credentials; "NotFound" when the node has no identity yet.
Result<client::Credentials> read_identity(os::Disk& disk, const Places& places);

// For reset, once the agent has stopped: takes this node's Lease back, so that the machine may join again at once under
// its name. Blocks for two seconds per known address at most; the server need not answer.
Status take_leave(run::Loop& loop, os::Disk& disk, const Places& places, const AgentSettings& settings);

// True when the certificate has less than a fifth of its life left (or does not parse).
bool renewal_due(const client::Credentials& credentials, WallTime now);

// Blocks until signed (at most `timeout`), then writes kubelet.conf. `credentials` of the asking: bootstrap token or
// old identity. Errors: TokenRefused, NotSigned (nobody approved in time), Denied.
struct IdentityRequest {
  std::string node_name, server_url;
  client::Credentials credentials;
  std::string machine_proof = {};  // see fingerprint.h; empty: none
  Duration timeout = 60s;
};
Result<client::Credentials> request_identity(run::Loop& loop, os::Disk& disk, const Places& places,
                                             const IdentityRequest& request);

// The key of this node's WireGuard device: made once, 0600, at Places::wireguard_key. "WireguardKeyBroken" when the
// file is there and holds no key: it is never replaced by itself, for peers know the node by it.
Result<pki::X25519Key> ensure_wireguard_key(os::Disk& disk, const Places& places);
// 51820 to 52819, from the machine's id and the node's name: two machines behind one NAT that keeps ports must not want
// the same one.
int default_wireguard_port(os::Disk& disk, std::string_view node_name);

}  // namespace dure::bootstrap
