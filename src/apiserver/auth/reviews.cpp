#include "apiserver/auth/reviews.h"

#include "apiserver/auth/user.h"
#include "apiserver/status.h"
#include "kinds/views/authentication_v1.h"
#include "kinds/views/authorization_v1.h"

namespace dure::apiserver {
namespace {

using namespace kinds;
using authorization_v1::NonResourceAttributes;
using authorization_v1::ResourceAttributes;

Error not_valid(std::string_view kind, std::string field, std::string why) {
  return invalid("authorization.k8s.io", kind, "", {{"FieldValueInvalid", std::move(why), std::move(field)}});
}

Status check_one_question(std::string_view kind, const ResourceAttributes& resource,
                          const NonResourceAttributes& path) {
  if (resource && path)
    return fail(not_valid(kind, "spec.nonResourceAttributes",
                          "Invalid value: cannot be specified in combination with resourceAttributes"));
  if (!resource && !path)
    return fail(not_valid(kind, "spec.resourceAttributes",
                          "Invalid value: exactly one of nonResourceAttributes or "
                          "resourceAttributes must be specified"));
  return {};
}

Attributes attributes_of(const ResourceAttributes& resource, const NonResourceAttributes& path) {
  if (path) return {.verb = path.verb(), .path = path.path()};
  return {.verb = resource.verb(),
          .group = resource.group(),
          .version = resource.version(),
          .resource = resource.resource(),
          .subresource = resource.subresource(),
          .namespace_ = resource.namespace_(),
          .name = resource.name(),
          .field_selector = resource.fieldSelector().rawSelector()};
}

User user_of(const authorization_v1::SubjectAccessReviewSpec& spec) {
  User user{.name = std::string(spec.user()), .uid = std::string(spec.uid()), .groups = {}, .extra = {}};
  for (const std::string_view group : spec.groups()) user.groups.emplace_back(group);
  for (const auto& [key, values] : spec.extra()) {
    auto& row = user.extra.emplace_back(std::string(key), std::vector<std::string>{});
    for (const std::string_view value : values) row.second.emplace_back(value);
  }
  return user;
}

void write_decision(const authorization_v1::SubjectAccessReviewStatus& status, const Decision& decision) {
  // "allowed" is always written, also when it is false.
  status.set_allowed(decision.allowed());
  if (decision.kind == Decision::Kind::deny) status.set_denied(true);
  if (!decision.reason.empty()) status.set_reason(decision.reason);
}

void write_user(const authentication_v1::UserInfo& out, const User& user) {
  if (!user.name.empty()) out.set_username(user.name);
  if (!user.uid.empty()) out.set_uid(user.uid);
  for (const std::string& group : user.groups) out.add_groups(group);
  for (const auto& [key, values] : user.extra)
    for (const std::string& value : values) out.add_extra(key, value);
}

template <class Add>
void add_all(const std::vector<std::string>& texts, Add&& add) {
  for (const std::string& text : texts) add(text);
}

void write_rule(const authorization_v1::SubjectRulesReviewStatus& status, const PolicyRule& rule) {
  if (!rule.non_resource_urls.empty()) {
    const auto out = status.add_nonResourceRules();
    add_all(rule.verbs, [&](const auto& text) { out.add_verbs(text); });
    add_all(rule.non_resource_urls, [&](const auto& text) { out.add_nonResourceURLs(text); });
    return;
  }
  const auto out = status.add_resourceRules();
  add_all(rule.verbs, [&](const auto& text) { out.add_verbs(text); });
  add_all(rule.api_groups, [&](const auto& text) { out.add_apiGroups(text); });
  add_all(rule.resources, [&](const auto& text) { out.add_resources(text); });
  add_all(rule.resource_names, [&](const auto& text) { out.add_resourceNames(text); });
}

}  // namespace

Result<schema::Document> review_subject_access(const Decide& decide, schema::Document body) {
  const authorization_v1::SubjectAccessReview review(body);
  const auto spec = review.spec();
  DURE_CHECK(check_one_question("SubjectAccessReview", spec.resourceAttributes(), spec.nonResourceAttributes()));
  if (spec.user().empty() && spec.groups().empty())
    return fail(not_valid("SubjectAccessReview", "spec.user",
                          "Invalid value: \"\": at least one of user or group must be specified"));
  const User user = user_of(spec);
  const Decision decision = decide(user, attributes_of(spec.resourceAttributes(), spec.nonResourceAttributes()));
  review.clear_status();
  write_decision(review.mutable_status(), decision);
  return body;
}

Result<schema::Document> review_local_subject_access(const Decide& decide, std::string_view namespace_,
                                                     schema::Document body) {
  const authorization_v1::LocalSubjectAccessReview review(body);
  const auto resource = review.spec().resourceAttributes();
  if (review.spec().has_nonResourceAttributes())
    return fail(not_valid("LocalSubjectAccessReview", "spec.nonResourceAttributes",
                          "Invalid value: disallowed on this kind of request"));
  if (resource && resource.namespace_() != namespace_)
    return fail(not_valid("LocalSubjectAccessReview", "spec.resourceAttributes.namespace",
                          "Invalid value: " + quoted(resource.namespace_()) + ": must match metadata.namespace"));
  return review_subject_access(decide, std::move(body));
}

Result<schema::Document> review_self_subject_access(const Decide& decide, const User& user, schema::Document body) {
  const authorization_v1::SelfSubjectAccessReview review(body);
  const auto spec = review.spec();
  DURE_CHECK(check_one_question("SelfSubjectAccessReview", spec.resourceAttributes(), spec.nonResourceAttributes()));
  const Decision decision = decide(user, attributes_of(spec.resourceAttributes(), spec.nonResourceAttributes()));
  review.clear_status();
  write_decision(review.mutable_status(), decision);
  return body;
}

Result<schema::Document> review_self_rules(const Rbac& rbac, const User& user, schema::Document body) {
  const authorization_v1::SelfSubjectRulesReview review(body);
  const std::string namespace_(review.spec().namespace_());
  if (namespace_.empty()) return fail(bad_request("no namespace on request"));
  RulesOfUser held = rbac.rules_of(user, namespace_);
  if (user.in_group(names::masters)) {
    held.rules.insert(held.rules.begin(), {.verbs = {"*"}, .api_groups = {"*"}, .resources = {"*"}});
    held.rules.insert(held.rules.begin(), {.verbs = {"*"}, .non_resource_urls = {"*"}});
  }
  if (user.in_group(names::nodes)) held.errors.emplace_back("node authorizer does not support user rule resolution");
  review.clear_status();
  const auto status = review.mutable_status();
  body.make_list(body.member(status.mutable_node(), "resourceRules"));
  body.make_list(body.member(status.mutable_node(), "nonResourceRules"));
  for (const PolicyRule& rule : held.rules) write_rule(status, rule);
  status.set_incomplete(!held.errors.empty());
  for (const std::string& error : held.errors)
    status.set_evaluationError(std::string(status.evaluationError()) + (status.has_evaluationError() ? ", " : "") +
                               error);
  return body;
}

Result<schema::Document> review_self(const User& user, schema::Document body) {
  const authentication_v1::SelfSubjectReview review(body);
  review.clear_status();
  write_user(review.mutable_status().mutable_userInfo(), user);
  return body;
}

Result<schema::Document> review_token(Authenticator& authenticator, schema::Document body) {
  const authentication_v1::TokenReview review(body);
  if (review.spec().token().empty()) return fail(bad_request("token is required for TokenReview in authentication"));
  std::vector<std::string> audiences;
  for (const std::string_view audience : review.spec().audiences()) audiences.emplace_back(audience);
  const auto answer = authenticator.authenticate_token(review.spec().token(), audiences);
  review.clear_status();
  const auto status = review.mutable_status();
  if (!answer) {
    write_user(status.mutable_user(), User{});
    status.set_error(answer.error().message);
    return body;
  }
  status.set_authenticated(true);
  write_user(status.mutable_user(), *answer->user);
  for (const std::string& audience : answer->audiences) status.add_audiences(audience);
  return body;
}

}  // namespace dure::apiserver
