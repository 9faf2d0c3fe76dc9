#include "apiserver/auth/authenticator.h"

#include <algorithm>
#include <mutex>

#include "base/text.h"
#include "kinds/views/core_v1.h"
#include "pki/bootstrap_token.h"
#include "pki/certificate.h"
#include "pki/key.h"

namespace dure::apiserver {
namespace {

using namespace kinds;

constexpr size_t remembered_max = 4096;
// A pod that is being deleted may go on speaking this long after its time.
constexpr Duration deletion_leeway = 60s;

Error refused(std::string_view why) {
  Error error = unauthorized();
  error.message = why;
  return error;
}

std::string bearer_token(const wire::Headers& headers) {
  const std::string_view value = trim(headers.get("authorization"));
  const size_t space = value.find(' ');
  if (space != std::string_view::npos && equal_ignore_case(value.substr(0, space), "bearer"))
    return std::string(trim(value.substr(space + 1)));
  // Browsers cannot set headers on a WebSocket: the token may come as a subprotocol.
  constexpr std::string_view prefix = "base64url.bearer.authorization.k8s.io.";
  for (const std::string_view offer : headers.all("sec-websocket-protocol"))
    for (const std::string_view protocol : split(offer, ','))
      if (trim(protocol).starts_with(prefix))
        return base64url_decode(trim(protocol).substr(prefix.size())).value_or(std::string());
  return {};
}

UserHandle authenticated(User user) {
  if (!user.in_group(names::authenticated)) user.groups.emplace_back(names::authenticated);
  return std::make_shared<const User>(std::move(user));
}

std::string secret_value(const core_v1::Secret& secret, std::string_view key) {
  return base64_decode(secret.data().get(key)).value_or(std::string());
}

// Has it been marked for deletion longer than tokens may outlive that?
template <class View>
bool is_gone(const View& object, WallTime now) {
  const auto deleted = parse_time(object.metadata().deletionTimestamp());
  return deleted && *deleted + deletion_leeway < now;
}

UserHandle user_of(const pki::ServiceAccountClaims& claims) {
  User user{.name = claims.subject,
            .uid = claims.service_account.uid,
            .groups = service_account_groups(claims.namespace_),
            .extra = {}};
  const auto add = [&](std::string_view key, const std::string& value) {
    if (!value.empty()) user.extra.push_back({"authentication.kubernetes.io/" + std::string(key), {value}});
  };
  add("credential-id", claims.id.empty() ? "" : "JTI=" + claims.id);
  add("node-name", claims.node.name);
  add("node-uid", claims.node.uid);
  add("pod-name", claims.pod.name);
  add("pod-uid", claims.pod.uid);
  return authenticated(std::move(user));
}

Status check_bootstrap_secret(const core_v1::Secret& secret, const pki::BootstrapToken& token, WallTime now) {
  if (secret.empty()) return fail(refused("bootstrap token " + token.id + " is unknown"));
  if (secret.type() != pki::bootstrap_token_secret_type) return fail(refused("the secret is no bootstrap token"));
  if (secret.metadata().has_deletionTimestamp())
    return fail(refused("bootstrap token " + token.id + " is being deleted"));
  if (!pki::equal_in_constant_time(secret_value(secret, "token-secret"), token.secret) ||
      secret_value(secret, "token-id") != token.id)
    return fail(refused("bootstrap token " + token.id + " has another secret"));
  const std::string expiration = secret_value(secret, "expiration");
  const auto end = parse_time(expiration);
  if (!expiration.empty() && (!end || *end <= now))
    return fail(refused("bootstrap token " + token.id + " expired at " + expiration));
  if (secret_value(secret, "usage-bootstrap-authentication") != "true")
    return fail(refused("bootstrap token " + token.id + " is not for authentication"));
  return {};
}

}  // namespace

Authenticator::Authenticator(ClusterState cluster, pki::TokenVerifier verifier, AuthenticatorOptions options)
    : cluster_(std::move(cluster)), verifier_(std::move(verifier)), options_(std::move(options)) {}

Result<UserHandle> Authenticator::authenticate(const wire::Request& request) {
  const WallTime now = cluster_.now();
  if (request.peer && !request.peer->certificate_der.empty()) {
    DURE_TRY(UserHandle user, by_certificate(*request.peer, now));
    if (user) return user;
  }
  const std::string token = bearer_token(request.headers);
  if (!token.empty()) {
    DURE_TRY(TokenAnswer answer, authenticate_token(token));
    return std::move(answer.user);
  }
  if (!options_.anonymous) return fail(refused("no credential"));
  return anonymous_user();
}

// --- certificates

std::shared_ptr<const Authenticator::KnownCertificate> Authenticator::known_certificate(const std::string& der) {
  {
    const std::shared_lock lock(mutex_);
    const auto found = certificates_.find(der);
    if (found != certificates_.end()) return found->second;
  }
  const Result<pki::Certificate> certificate = pki::Certificate::from_der(der);
  if (!certificate) return nullptr;
  auto known = std::make_shared<KnownCertificate>();
  known->fingerprint = certificate->fingerprint();
  known->not_before = certificate->not_before();
  known->not_after = certificate->not_after();
  const pki::Subject subject = certificate->subject();
  if (!subject.common_name.empty() && certificate->usages().client_auth)
    known->user = authenticated(
        User{.name = subject.common_name,
             .uid = {},
             .groups = subject.organizations,
             .extra = {{"authentication.kubernetes.io/credential-id", {"X509SHA256=" + known->fingerprint}}}});
  const std::unique_lock lock(mutex_);
  if (certificates_.size() >= remembered_max) certificates_.clear();
  certificates_[der] = known;
  return known;
}

Result<UserHandle> Authenticator::by_certificate(const wire::Peer& peer, WallTime now) {
  if (!peer.certificate_verified)
    return fail(refused("the client certificate is not signed by the cluster's authority"));
  const auto known = known_certificate(peer.certificate_der);
  if (!known) return fail(refused("the client certificate cannot be read"));
  // The handshake may be long ago.
  if (now < known->not_before || now >= known->not_after)
    return fail(refused("the client certificate is valid from " + format_time(known->not_before) + " to " +
                        format_time(known->not_after)));
  if (is_revoked(known->fingerprint)) return fail(refused("the client certificate was revoked"));
  if (!known->user) return fail(refused("the client certificate is not for client authentication"));
  return known->user;
}

// --- tokens

Result<UserHandle> Authenticator::by_bootstrap_token(std::string_view text, WallTime now) const {
  const Result<pki::BootstrapToken> parsed = pki::parse_bootstrap_token(text);
  if (!parsed) return fail(refused("neither a service account token nor a bootstrap token"));
  const pki::BootstrapToken& token = *parsed;
  const schema::Object object = cluster_.get("", "secrets", pki::bootstrap_token_namespace, token.secret_name());
  if (!object) return fail(refused("bootstrap token " + token.id + " is unknown"));
  const core_v1::Secret secret(object);
  DURE_CHECK(check_bootstrap_secret(secret, token, now));
  User user{.name = std::string(names::bootstrap_prefix) + token.id,
            .uid = {},
            .groups = {std::string(names::bootstrappers)},
            .extra = {}};
  const std::string extra = secret_value(secret, "auth-extra-groups");
  for (const std::string_view group : split(extra, ',')) {
    if (trim(group).empty()) continue;
    if (!pki::is_bootstrap_group(trim(group)))
      return fail(refused("bootstrap token " + token.id + " asks for the group " + std::string(trim(group))));
    user.groups.emplace_back(trim(group));
  }
  return authenticated(std::move(user));
}

Result<std::shared_ptr<Authenticator::KnownToken>> Authenticator::known_token(std::string_view token, WallTime now) {
  const std::string key = pki::sha256(token);
  {
    const std::shared_lock lock(mutex_);
    const auto found = tokens_.find(key);
    if (found != tokens_.end()) {
      if (now < found->second->claims.expires_at) return found->second;
      return fail(refused("token expired at " + format_time(found->second->claims.expires_at)));
    }
  }
  DURE_TRY(pki::ServiceAccountClaims claims, verifier_.verify(token, now));
  auto known = std::make_shared<KnownToken>();
  known->user = user_of(claims);
  known->claims = std::move(claims);
  const std::unique_lock lock(mutex_);
  if (tokens_.size() >= remembered_max) tokens_.clear();
  tokens_[key] = known;
  return known;
}

Status Authenticator::check_bound_objects(KnownToken& token, WallTime now) const {
  const uint64_t generation = generation_.load(std::memory_order_relaxed);
  if (token.bound_at.load(std::memory_order_relaxed) == generation) return {};
  bool lasting = true;
  const auto check = [&](std::string_view resource, std::string_view ns, const pki::ObjectIdentity& wanted) -> Status {
    const schema::Object object = cluster_.get("", resource, ns, wanted.name);
    const core_v1::Pod view = object ? core_v1::Pod(object) : core_v1::Pod();
    if (!object || view.metadata().uid() != wanted.uid || is_gone(view, now))
      return fail(refused("what the token is bound to is gone: " + std::string(resource) + " " + wanted.name));
    if (view.metadata().has_deletionTimestamp()) lasting = false;
    return {};
  };
  const pki::ServiceAccountClaims& claims = token.claims;
  DURE_CHECK(check("serviceaccounts", claims.namespace_, claims.service_account));
  if (!claims.secret.empty()) DURE_CHECK(check("secrets", claims.namespace_, claims.secret));
  if (!claims.pod.empty()) DURE_CHECK(check("pods", claims.namespace_, claims.pod));
  if (!claims.node.empty() && claims.pod.empty()) DURE_CHECK(check("nodes", "", claims.node));
  token.bound_at.store(lasting ? generation : 0, std::memory_order_relaxed);
  return {};
}

Result<Authenticator::TokenAnswer> Authenticator::authenticate_token(std::string_view token,
                                                                     const std::vector<std::string>& audiences) {
  const WallTime now = cluster_.now();
  const std::vector<std::string>& wanted = audiences.empty() ? options_.audiences : audiences;
  if (!pki::looks_like_jwt(token)) {
    DURE_TRY(UserHandle user, by_bootstrap_token(token, now));
    // Bootstrap tokens carry no audience: they are for the API server.
    return TokenAnswer{std::move(user), options_.audiences};
  }
  DURE_TRY(const std::shared_ptr<KnownToken> known, known_token(token, now));
  TokenAnswer answer{known->user, {}};
  for (const std::string& audience : wanted) {
    const auto& meant = known->claims.audiences;
    if (std::find(meant.begin(), meant.end(), audience) != meant.end()) answer.audiences.push_back(audience);
  }
  if (answer.audiences.empty()) return fail(refused("token is meant for other audiences"));
  if (!known->claims.id.empty() && is_revoked(known->claims.id)) return fail(refused("token was revoked"));
  DURE_CHECK(check_bound_objects(*known, now));
  return answer;
}

}  // namespace dure::apiserver
