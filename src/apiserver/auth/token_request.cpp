// Making service account tokens: POST serviceaccounts/<name>/token.
#include "apiserver/auth/reviews.h"
#include "apiserver/auth/user.h"
#include "apiserver/status.h"
#include "kinds/views/authentication_v1.h"
#include "kinds/views/core_v1.h"
#include "pki/service_account_token.h"

namespace dure::apiserver {
namespace {

using namespace kinds;

constexpr int64_t seconds_default = 3600, seconds_min = 600;
constexpr int64_t kubelet_asks = 3607, extended_seconds = 365 * 24 * 3600;

Error not_valid(std::string field, std::string why) {
  return invalid("authentication.k8s.io", "TokenRequest", "",
                 {{"FieldValueInvalid", std::move(why), std::move(field)}});
}

Result<int64_t> lifetime(const authentication_v1::TokenRequestSpec& spec, int64_t seconds_max) {
  const int64_t asked = spec.has_expirationSeconds() ? spec.expirationSeconds() : seconds_default;
  const std::string start = "Invalid value: " + std::to_string(asked) + ": ";
  if (asked < seconds_min)
    return fail(not_valid("spec.expirationSeconds", start + "may not specify a duration less than 10 minutes"));
  if (asked > seconds_max)
    return fail(not_valid("spec.expirationSeconds", start + "may not specify a duration larger than 2^32 seconds"));
  return asked;
}

pki::ObjectIdentity identity(const meta_v1::ObjectMeta& metadata) {
  return {std::string(metadata.name()), std::string(metadata.uid())};
}

Status check_uid(std::string_view kind, const authentication_v1::BoundObjectReference& ref,
                 const meta_v1::ObjectMeta& found) {
  if (ref.uid().empty() || ref.uid() == found.uid()) return {};
  return fail(conflict(kind, ref.name(),
                       "the UID in the bound object reference (" + std::string(ref.uid()) +
                           ") does not match the UID in record. The object might have been deleted "
                           "and then recreated"));
}

// A node may only make tokens for pods that run on it.
Status check_node(const ApiRequest& request, const authentication_v1::BoundObjectReference& ref,
                  const schema::Object& pod) {
  const std::string_view node = request.user ? node_of(*request.user) : std::string_view{};
  if (node.empty()) return {};
  const auto refuse = [&](std::string_view why) {
    return fail(refused_object("", "serviceaccounts", request.name, why));
  };
  if (!ref) return refuse("node requested token not bound to a pod");
  if (!pod) return refuse("node requested token bound to an object that is no pod");
  if (ref.uid().empty()) return refuse("node requested token with a pod binding without a uid");
  if (core_v1::Pod(pod).spec().nodeName() != node)
    return refuse("node requested token bound to a pod scheduled on a different node");
  return {};
}

class TokenMaker {
 public:
  TokenMaker(const TokenIssuer& issuer, const ClusterState& cluster, const ApiRequest& request)
      : issuer_(issuer), cluster_(cluster), request_(request) {}

  Result<schema::Document> make(schema::Document body, os::Random& random) {
    const authentication_v1::TokenRequest token_request(body);
    const auto spec = token_request.spec();
    DURE_TRY(const int64_t seconds, lifetime(spec, issuer_.seconds_max));
    DURE_CHECK(read_account());
    DURE_CHECK(bind(spec.boundObjectRef()));
    fill(spec, seconds, random);
    DURE_TRY(const std::string token, pki::sign_token(issuer_.key, claims_));
    write_answer(token_request, seconds, token);
    return body;
  }

 private:
  Status read_account() {
    const schema::Object object = cluster_.get("", "serviceaccounts", request_.namespace_, request_.name);
    if (!object) return fail(not_found("serviceaccounts", request_.name));
    const auto metadata = core_v1::ServiceAccount(object).metadata();
    claims_.namespace_ = metadata.namespace_();
    claims_.service_account = identity(metadata);
    claims_.subject = pki::service_account_user_name(claims_.namespace_, claims_.service_account.name);
    return {};
  }

  Status bind(const authentication_v1::BoundObjectReference& ref) {
    if (!ref) return check_node(request_, ref, nullptr);
    if (ref.kind() == "Pod" && ref.apiVersion() == "v1") return bind_pod(ref);
    DURE_CHECK(check_node(request_, ref, nullptr));
    if (ref.kind() == "Secret" && ref.apiVersion() == "v1")
      return bind_plain(ref, "secrets", request_.namespace_, claims_.secret);
    if (ref.kind() == "Node" && ref.apiVersion() == "v1") return bind_plain(ref, "nodes", "", claims_.node);
    return fail(bad_request("cannot bind token to object of type " + std::string(ref.apiVersion()) +
                            ", Kind=" + std::string(ref.kind())));
  }

  Status bind_pod(const authentication_v1::BoundObjectReference& ref) {
    const schema::Object object = cluster_.get("", "pods", request_.namespace_, ref.name());
    if (!object) return fail(not_found("pods", ref.name()));
    const core_v1::Pod pod(object);
    DURE_CHECK(check_node(request_, ref, object));
    if (pod.spec().serviceAccountName() != request_.name)
      return fail(bad_request("cannot bind token for serviceaccount " + quoted(request_.name) +
                              " to pod running with different serviceaccount name."));
    DURE_CHECK(check_uid("Pod", ref, pod.metadata()));
    claims_.pod = identity(pod.metadata());
    if (pod.spec().nodeName().empty()) return {};
    claims_.node.name = pod.spec().nodeName();
    if (const schema::Object node = cluster_.get("", "nodes", "", pod.spec().nodeName()))
      claims_.node = identity(core_v1::Node(node).metadata());
    return {};
  }

  Status bind_plain(const authentication_v1::BoundObjectReference& ref, std::string_view resource, std::string_view ns,
                    pki::ObjectIdentity& out) {
    const schema::Object object = cluster_.get("", resource, ns, ref.name());
    if (!object) return fail(not_found(resource, ref.name()));
    const auto metadata = core_v1::Secret(object).metadata();
    DURE_CHECK(check_uid(ref.kind(), ref, metadata));
    out = identity(metadata);
    return {};
  }

  void fill(const authentication_v1::TokenRequestSpec& spec, int64_t seconds, os::Random& random) {
    for (const std::string_view audience : spec.audiences()) claims_.audiences.emplace_back(audience);
    const bool for_us = claims_.audiences.empty() || claims_.audiences == issuer_.audiences;
    if (claims_.audiences.empty()) claims_.audiences = issuer_.audiences;
    now_ = cluster_.now();
    const bool extended = issuer_.extend && for_us && seconds == kubelet_asks && !claims_.pod.empty();
    claims_.issuer = issuer_.issuer;
    claims_.issued_at = claims_.not_before = now_;
    claims_.expires_at = now_ + std::chrono::seconds(extended ? extended_seconds : seconds);
    if (extended) claims_.warn_after_seconds = now_.seconds() + seconds;
    claims_.id = random.uuid();
  }

  void write_answer(const authentication_v1::TokenRequest& out, int64_t seconds, const std::string& token) {
    out.mutable_metadata().set_name(request_.name);
    out.mutable_metadata().set_namespace(request_.namespace_);
    out.mutable_metadata().set_creationTimestamp(format_time(now_));
    const auto spec = out.mutable_spec();
    if (spec.audiences().empty())
      for (const std::string& audience : claims_.audiences) spec.add_audiences(audience);
    if (!spec.has_expirationSeconds()) spec.set_expirationSeconds(seconds);
    out.clear_status();
    out.mutable_status().set_token(token);
    out.mutable_status().set_expirationTimestamp(format_time(now_ + std::chrono::seconds(seconds)));
  }

  const TokenIssuer& issuer_;
  const ClusterState& cluster_;
  const ApiRequest& request_;
  pki::ServiceAccountClaims claims_;
  WallTime now_;
};

}  // namespace

Result<schema::Document> issue_token(const TokenIssuer& issuer, const ClusterState& cluster, os::Random& random,
                                     const ApiRequest& request, schema::Document body) {
  return TokenMaker(issuer, cluster, request).make(std::move(body), random);
}

}  // namespace dure::apiserver
