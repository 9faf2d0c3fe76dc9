// Auth: the judges of the API server in one object: who asks, may they, what is added to a write,
// and the reviews that tell.
//
//   Auth auth({.token_key = ..., .issuer = ...}, cluster_state_of(api), random);
//   auth.attach(api, executor);      // feeds itself from the store, creates nothing
//   api.set_guards(auth.guards());
//   ensure_bootstrap_objects(api);   // bootstrap_policy.h, once the store can be written
//
// Owner: the wiring; the Api and the executor outlive it, and it outlives the last request. Thread:
// any.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "apiserver/api.h"
#include "apiserver/auth/authenticator.h"
#include "apiserver/auth/decision.h"
#include "apiserver/auth/node_graph.h"
#include "apiserver/auth/rbac.h"
#include "apiserver/auth/reviews.h"
#include "os/clock.h"

namespace dure::apiserver {

struct AuthOptions {
  pki::PrivateKey token_key;                          // signs service account tokens
  std::vector<pki::PublicKey> older_token_keys = {};  // still good for verifying
  std::string issuer;                                 // pki::default_issuer("cluster.local")
  std::vector<std::string> audiences = {};            // of the API server; empty: the issuer
  bool anonymous = true;
  std::function<bool(std::string_view credential)> revoked = {};
};

class Auth {
 public:
  Auth(AuthOptions options, ClusterState cluster, os::Random& random);
  ~Auth();
  Auth(const Auth&) = delete;

  // Reads all RBAC objects, pods and volumes that are there, and follows their changes on
  // `executor` from then on.
  Status attach(Api& api, run::Executor& executor);
  // What `attach` does with every object; for tests and other sources. `object` null: deleted.
  void on_change(std::string_view group, std::string_view resource, std::string_view namespace_, std::string_view name,
                 const schema::Object& object);
  struct Followed {
    std::string_view group, resource;
    // Only the end of an object matters (tokens may be bound to it): `on_change` is not called for
    // anything else.
    bool only_its_end = false;
  };
  static const std::vector<Followed>& followed();

  // From certificate or token to user, impersonation included.
  Result<UserHandle> authenticate(const wire::Request& request);
  Verdict authorize(const User& user, const Attributes& attributes) const;
  // The chain: system:masters, nodes, RBAC. `explain`: allowing decisions say why.
  Decision decide(const User& user, const Attributes& attributes, bool explain = false) const;
  Status admit(AdmissionRequest& request);
  Result<schema::Document> issue_service_account_token(const ApiRequest& request, schema::Document body);

  // All of it as the resource path wants it.
  ApiGuards guards();

  const Rbac& rbac() const { return rbac_; }
  Authenticator& authenticator() { return authenticator_; }
  // /openid/v1/jwks and /.well-known/openid-configuration
  std::string key_set() const { return verifier_.key_set(); }
  std::string discovery_document() const {
    return pki::discovery_document(issuer_.issuer, issuer_.issuer + "/openid/v1/jwks");
  }

 private:
  class Feed;  // auth_feed.h
  std::map<std::string, Compute> computed();

  const ClusterState cluster_;
  os::Random& random_;
  std::mutex random_mutex_;  // a seeded Random is one thread's
  const TokenIssuer issuer_;
  const pki::TokenVerifier verifier_;
  Authenticator authenticator_;
  const Authorize authorize_;
  const std::function<uint64_t()> number_;
  Rbac rbac_;
  NodeGraph graph_;
  std::vector<std::unique_ptr<Feed>> feeds_;
};

// ClusterState over an Api and its executor's clock; the Api outlives it.
ClusterState cluster_state_of(Api& api);

}  // namespace dure::apiserver
