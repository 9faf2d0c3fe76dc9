// Discovery: from the address, token and hash in a join line to a cluster that is proven to be the one that was meant.
// kubeadm's "discovery with a token": kube-public/cluster-info is read without trust; the CA in it must hash to the
// pinned value, and the text must carry a signature made with the token (JWS, detached). Everything after is verified
// with that CA.
//
// Blocks; the connections run on a loop's thread. Changes nothing on the machine. By one way to the server, which has
// answered the first question: join.h goes by all of them (wire/dial_race.h).
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "bootstrap/finding.h"
#include "bootstrap/join_verdicts.h"
#include "client/connect.h"
#include "pki/bootstrap_token.h"
#include "wire/dial_race.h"

namespace dure::run {
class Loop;
}

namespace dure::bootstrap {

// The name that every API server's certificate carries. Members hold the server against it and the cluster's own CA
// rather than against an address, which may change and may be one that the server itself does not know.
inline constexpr std::string_view api_server_name = "kubernetes";

// Where a newcomer presents itself: POST newcomer_json, with the token as bearer; the answer is findings_json. Anybody
// may GET hello_path: {"version": ..., "time": RFC 3339}.
inline constexpr std::string_view join_path = "/dure/v1/join", hello_path = "/dure/v1/hello";

// The first question to whoever answers, before anything is trusted.
wire::Request hello_question();

struct DiscoveryRequest {
  pki::BootstrapToken token;
  std::vector<std::string> ca_hashes;  // "sha256:<64 hex digits>"; one must match
  bool skip_ca_verification = false;
  Duration timeout = 30s;
};

struct Discovery {
  wire::Way way;
  std::string ca_pem, ca_pin, server_version;
  std::string told_server;          // "https://host:port" in cluster-info; may be empty
  client::Credentials credentials;  // of the token
};

// `hello`: the answer to hello_question; its connection is used. Errors: ServerUnreachable (it stopped answering),
// NotDure, NoClusterInfo, ClockOff, BadCaHash, CaHashMismatch, TokenRefused. `now`: of this machine.
Result<Discovery> discover(const wire::DialRace::Answer& hello, const DiscoveryRequest& request, WallTime now);

// Why a way led nowhere, for people: NameUnknown, ServerUnreachable (each address and what it said), ProxyRefused,
// NotTls. Blocks: it may ask once more, in plain HTTP.
Error not_reached(run::Loop& loop, const wire::Way& way, const Error& error);
// Whether an error says only that nobody was reached: what another way answers says more.
bool nobody_there(const Error& error);

// What the server thinks of this machine. Errors: TlsTerminated, TokenExpired, TokenRefused, ServerUnreachable,
// NotDure.
Result<std::vector<Finding>> present(run::Loop& loop, const Discovery& discovery, const Newcomer& newcomer,
                                     Duration timeout);

}  // namespace dure::bootstrap
