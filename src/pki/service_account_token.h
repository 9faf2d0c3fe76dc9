// Service account tokens: JWTs signed with ES256 (RFC 7519, 7518), with the claims of upstream's
// bound tokens.
//
// `verify` judges the signature, the issuer and the times; whether the account, pod, secret or node
// still exists with that uid and whether the audience fits is for the API server to say. Thread:
// any.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "pki/key.h"

namespace dure::pki {

struct ObjectIdentity {
  std::string name, uid;
  bool empty() const { return name.empty(); }
  friend bool operator==(const ObjectIdentity&, const ObjectIdentity&) = default;
};

struct ServiceAccountClaims {
  std::string issuer, subject;  // subject: system:serviceaccount:<namespace>:<name>
  std::vector<std::string> audiences;
  WallTime issued_at, not_before, expires_at;  // whole seconds
  std::string id;                              // jti, a UUID
  std::string namespace_;
  ObjectIdentity service_account, pod = {}, node = {}, secret = {};
  // For tokens of the automatic volume: after this moment the holder should have fetched a new one.
  int64_t warn_after_seconds = 0;
};

std::string service_account_user_name(std::string_view namespace_, std::string_view name);

// "https://kubernetes.default.svc.cluster.local": issuer and default audience.
std::string default_issuer(std::string_view cluster_domain);

Result<std::string> sign_token(const PrivateKey& key, const ServiceAccountClaims& claims);

// True when the text has the shape of a JWT (three parts), so that a bearer token can be told from
// a bootstrap token.
bool looks_like_jwt(std::string_view text);

class TokenVerifier {
 public:
  // Tokens of any of `keys` and any of `issuers` are good: both change while old tokens live on.
  TokenVerifier(std::vector<PublicKey> keys, std::vector<std::string> issuers);
  // Errors have code 401 and say why: for the log, not for the caller.
  Result<ServiceAccountClaims> verify(std::string_view token, WallTime now) const;
  // The JSON Web Key Set of the keys, as /openid/v1/jwks serves it.
  std::string key_set() const;

 private:
  std::vector<PublicKey> keys_;
  std::vector<std::string> key_ids_, issuers_;
};

// /.well-known/openid-configuration
std::string discovery_document(std::string_view issuer, std::string_view key_set_url);

}  // namespace dure::pki
