// Authenticator: who sends a request. A verified client certificate, a bootstrap token, a service
// account token, or nobody (system:anonymous). Whoever shows a credential that is wrong gets 401,
// never anonymous.
//
// Thread: any. Cost: signatures and certificates are judged once and remembered (bounded; overflow
// act: all is forgotten); what a token is bound to is looked up again after `objects_changed`.
// Times are looked at on every request.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "apiserver/auth/cluster_state.h"
#include "apiserver/auth/user.h"
#include "base/result.h"
#include "pki/service_account_token.h"
#include "wire/http.h"

namespace dure::apiserver {

struct AuthenticatorOptions {
  std::vector<std::string> audiences;  // who the API server is; a token must be meant for one of them
  bool anonymous = true;
  // Asked on every request: the sha256 fingerprint of a certificate, or the id (jti) of a token.
  std::function<bool(std::string_view credential)> revoked = {};
};

class Authenticator {
 public:
  Authenticator(ClusterState cluster, pki::TokenVerifier verifier, AuthenticatorOptions options);

  Result<UserHandle> authenticate(const wire::Request& request);

  struct TokenAnswer {
    UserHandle user;
    std::vector<std::string> audiences;  // of those asked for, the ones the token is meant for
  };
  // The error says why, for the log; callers over the wire are told "Unauthorized" only. Empty
  // audiences: the server's own.
  Result<TokenAnswer> authenticate_token(std::string_view token, const std::vector<std::string>& audiences = {});

  // A service account, secret, pod or node that tokens may be bound to was deleted or marked for
  // it.
  void objects_changed() { generation_.fetch_add(1, std::memory_order_relaxed); }

 private:
  struct KnownCertificate {
    UserHandle user;  // null: it names nobody
    std::string fingerprint;
    WallTime not_before, not_after;
  };
  struct KnownToken {
    pki::ServiceAccountClaims claims;
    UserHandle user;
    // The objects it is bound to were there at this generation; zero: never ask this memory.
    std::atomic<uint64_t> bound_at{0};
  };

  Result<UserHandle> by_certificate(const wire::Peer& peer, WallTime now);
  std::shared_ptr<const KnownCertificate> known_certificate(const std::string& der);
  Result<UserHandle> by_bootstrap_token(std::string_view token, WallTime now) const;
  Result<std::shared_ptr<KnownToken>> known_token(std::string_view token, WallTime now);
  Status check_bound_objects(KnownToken& token, WallTime now) const;
  bool is_revoked(std::string_view credential) const { return options_.revoked && options_.revoked(credential); }

  const ClusterState cluster_;
  const pki::TokenVerifier verifier_;
  const AuthenticatorOptions options_;
  std::atomic<uint64_t> generation_{1};
  std::shared_mutex mutex_;
  std::unordered_map<std::string, std::shared_ptr<const KnownCertificate>> certificates_;  // by DER
  std::unordered_map<std::string, std::shared_ptr<KnownToken>> tokens_;                    // by sha256
};

// The user that `headers` (Impersonate-User, -Group, -Uid, -Extra-*) ask to be, if `authorize` lets
// `user` be all of it; `user` itself without such headers.
Result<UserHandle> impersonate(const wire::Headers& headers, const UserHandle& user, const Authorize& authorize);

}  // namespace dure::apiserver
