// Reviews: questions about users and rights that the API answers and never stores:
// SubjectAccessReview and its kin, TokenReview, SelfSubjectReview, and the making of service
// account tokens (TokenRequest). Each takes the decoded body and answers the object with its
// status. Thread: any.
#pragma once

#include <string>
#include <vector>

#include "apiserver/auth/authenticator.h"
#include "apiserver/auth/cluster_state.h"
#include "apiserver/auth/decision.h"
#include "apiserver/auth/rbac.h"
#include "apiserver/request.h"
#include "base/result.h"
#include "os/clock.h"
#include "pki/key.h"

namespace dure::apiserver {

// An authorizer that also tells allow, deny and no opinion apart and explains itself.
using Decide = std::function<Decision(const User&, const Attributes&)>;

Result<schema::Document> review_subject_access(const Decide& decide, schema::Document body);
Result<schema::Document> review_local_subject_access(const Decide& decide, std::string_view namespace_,
                                                     schema::Document body);
Result<schema::Document> review_self_subject_access(const Decide& decide, const User& user, schema::Document body);
Result<schema::Document> review_self_rules(const Rbac& rbac, const User& user, schema::Document body);
Result<schema::Document> review_self(const User& user, schema::Document body);
Result<schema::Document> review_token(Authenticator& authenticator, schema::Document body);

// POST serviceaccounts/<name>/token.
struct TokenIssuer {
  pki::PrivateKey key;
  std::string issuer;
  std::vector<std::string> audiences;  // when the request names none
  int64_t seconds_max = int64_t{1} << 32;
  // The kubelet asks for 3607 seconds for the automatic volume and upstream makes such tokens last
  // a year, for clients that never read the file again; they die with their pod.
  bool extend = true;
};
Result<schema::Document> issue_token(const TokenIssuer& issuer, const ClusterState& cluster, os::Random& random,
                                     const ApiRequest& request, schema::Document body);

}  // namespace dure::apiserver
