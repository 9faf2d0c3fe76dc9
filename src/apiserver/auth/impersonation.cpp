// Impersonation: acting as somebody else, for those who may.
// https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation
#include "apiserver/auth/authenticator.h"
#include "apiserver/auth/decision.h"
#include "base/text.h"

namespace dure::apiserver {
namespace {

constexpr std::string_view extra_prefix = "impersonate-extra-";
constexpr std::string_view authentication_group = "authentication.k8s.io";

struct Wish {
  std::string user, uid;
  std::vector<std::string> groups;
  std::vector<std::pair<std::string, std::vector<std::string>>> extra;
  bool empty() const { return user.empty() && uid.empty() && groups.empty() && extra.empty(); }
};

void add_extra(Wish& wish, const std::string& header, const std::string& value) {
  const std::string key = percent_decode(header.substr(extra_prefix.size()));
  for (auto& [known, values] : wish.extra)
    if (known == key) return values.push_back(value);
  wish.extra.push_back({key, {value}});
}

Wish read_wish(const wire::Headers& headers) {
  Wish wish;
  for (const auto& [name, value] : headers.items) {
    if (name == "impersonate-user")
      wish.user = value;
    else if (name == "impersonate-uid")
      wish.uid = value;
    else if (name == "impersonate-group")
      wish.groups.push_back(value);
    else if (name.starts_with(extra_prefix))
      add_extra(wish, name, value);
  }
  return wish;
}

Status may(const User& user, const Authorize& authorize, Attributes attributes) {
  attributes.verb = "impersonate";
  attributes.version = "v1";
  const Verdict verdict = authorize(user, attributes);
  if (verdict.allowed) return {};
  return fail(refused_request(user, attributes, verdict.reason));
}

Status check_wish(const Wish& wish, const User& user, const Authorize& authorize) {
  std::string_view ns, account;
  if (split_service_account(wish.user, ns, account)) {
    DURE_CHECK(may(user, authorize, {.resource = "serviceaccounts", .namespace_ = ns, .name = account}));
  } else {
    DURE_CHECK(may(user, authorize, {.resource = "users", .name = wish.user}));
  }
  if (!wish.uid.empty())
    DURE_CHECK(may(user, authorize, {.group = authentication_group, .resource = "uids", .name = wish.uid}));
  for (const std::string& group : wish.groups) DURE_CHECK(may(user, authorize, {.resource = "groups", .name = group}));
  for (const auto& [key, values] : wish.extra)
    for (const std::string& value : values)
      DURE_CHECK(may(user, authorize,
                     {.group = authentication_group, .resource = "userextras", .subresource = key, .name = value}));
  return {};
}

}  // namespace

Result<UserHandle> impersonate(const wire::Headers& headers, const UserHandle& user, const Authorize& authorize) {
  Wish wish = read_wish(headers);
  if (wish.empty()) return user;
  if (wish.user.empty()) {
    Error error = bad_request("requested impersonation of groups, a uid or extra fields without impersonating a user");
    return fail(std::move(error));
  }
  DURE_CHECK(check_wish(wish, *user, authorize));
  std::string_view ns, account;
  if (wish.groups.empty() && split_service_account(wish.user, ns, account)) wish.groups = service_account_groups(ns);
  User other{.name = wish.user, .uid = wish.uid, .groups = std::move(wish.groups), .extra = std::move(wish.extra)};
  const std::string_view everyone = wish.user == names::anonymous ? names::unauthenticated : names::authenticated;
  const bool known = other.in_group(names::authenticated) || other.in_group(names::unauthenticated);
  if (!known) other.groups.emplace_back(everyone);
  return std::make_shared<const User>(std::move(other));
}

}  // namespace dure::apiserver
