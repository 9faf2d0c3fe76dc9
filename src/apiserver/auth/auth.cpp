#include "apiserver/auth/auth.h"

#include <algorithm>

#include "apiserver/admission/admission.h"
#include "apiserver/auth/auth_feed.h"
#include "apiserver/auth/node_authorizer.h"
#include "apiserver/auth/rbac_objects.h"
#include "kinds/views/core_v1.h"

namespace dure::apiserver {
namespace {

std::vector<std::string> audiences_of(const AuthOptions& options) {
  return options.audiences.empty() ? std::vector<std::string>{options.issuer} : options.audiences;
}

pki::TokenVerifier verifier_of(const AuthOptions& options) {
  std::vector<pki::PublicKey> keys{options.token_key.public_key()};
  keys.insert(keys.end(), options.older_token_keys.begin(), options.older_token_keys.end());
  return pki::TokenVerifier(std::move(keys), {options.issuer});
}

const User& nobody() { return *anonymous_user(); }
const User& asker(const ApiRequest& request) { return request.user ? *request.user : nobody(); }

// Reasons of authorizers without an opinion, one below the other.
void append_reason(std::string& reasons, const std::string& more) {
  if (more.empty()) return;
  if (!reasons.empty()) reasons += "\n";
  reasons += more;
}

}  // namespace

Auth::Auth(AuthOptions options, ClusterState cluster, os::Random& random)
    : cluster_(std::move(cluster)),
      random_(random),
      issuer_{options.token_key, options.issuer, audiences_of(options)},
      verifier_(verifier_of(options)),
      authenticator_(cluster_, verifier_of(options),
                     {audiences_of(options), options.anonymous, std::move(options.revoked)}),
      authorize_([this](const User& user, const Attributes& attributes) { return authorize(user, attributes); }),
      number_([this] {
        const std::scoped_lock lock(random_mutex_);
        return random_.number();
      }) {}

Result<UserHandle> Auth::authenticate(const wire::Request& request) {
  DURE_TRY(const UserHandle user, authenticator_.authenticate(request));
  return impersonate(request.headers, user, authorize_);
}

Decision Auth::decide(const User& user, const Attributes& attributes, bool explain) const {
  if (user.in_group(names::masters)) return Decision::allow();
  Decision node = authorize_node(graph_, user, attributes);
  if (node.kind != Decision::Kind::no_opinion) return node;
  Decision rbac = rbac_.decide(user, attributes, explain);
  if (rbac.kind != Decision::Kind::no_opinion) return rbac;
  append_reason(node.reason, rbac.reason);
  return node;
}

Verdict Auth::authorize(const User& user, const Attributes& attributes) const {
  Decision decision = decide(user, attributes);
  return {decision.allowed(), std::move(decision.reason)};
}

Status Auth::admit(AdmissionRequest& request) {
  return admission::run(request, {cluster_, rbac_, authorize_, number_});
}

Result<schema::Document> Auth::issue_service_account_token(const ApiRequest& request, schema::Document body) {
  const std::scoped_lock lock(random_mutex_);
  return issue_token(issuer_, cluster_, random_, request, std::move(body));
}

std::map<std::string, Compute> Auth::computed() {
  const Decide decide = [this](const User& user, const Attributes& a) { return this->decide(user, a, true); };
  return {
      {"authorization.k8s.io/subjectaccessreviews",
       [decide](const ApiRequest&, schema::Document body) { return review_subject_access(decide, std::move(body)); }},
      {"authorization.k8s.io/localsubjectaccessreviews",
       [decide](const ApiRequest& r, schema::Document body) {
         return review_local_subject_access(decide, r.namespace_, std::move(body));
       }},
      {"authorization.k8s.io/selfsubjectaccessreviews",
       [decide](const ApiRequest& r, schema::Document body) {
         return review_self_subject_access(decide, asker(r), std::move(body));
       }},
      {"authorization.k8s.io/selfsubjectrulesreviews",
       [this](const ApiRequest& r, schema::Document body) {
         return review_self_rules(rbac_, asker(r), std::move(body));
       }},
      {"authentication.k8s.io/selfsubjectreviews",
       [](const ApiRequest& r, schema::Document body) { return review_self(asker(r), std::move(body)); }},
      {"authentication.k8s.io/tokenreviews",
       [this](const ApiRequest&, schema::Document body) { return review_token(authenticator_, std::move(body)); }},
      {"/serviceaccounts/token",
       [this](const ApiRequest& r, schema::Document body) { return issue_service_account_token(r, std::move(body)); }},
  };
}

ApiGuards Auth::guards() {
  return {.authorize = authorize_,
          .admit = [this](AdmissionRequest& request) { return admit(request); },
          .compute = computed()};
}

// --- following the cluster

const std::vector<Auth::Followed>& Auth::followed() {
  // Roles before bindings, so that no binding is ever seen without its role.
  static const std::vector<Followed> rows = {{names::rbac_group, "clusterroles"},
                                             {names::rbac_group, "roles"},
                                             {names::rbac_group, "clusterrolebindings"},
                                             {names::rbac_group, "rolebindings"},
                                             {"", "pods"},
                                             {"", "persistentvolumes"},
                                             {"storage.k8s.io", "volumeattachments"},
                                             {"", "serviceaccounts", true},
                                             {"", "secrets", true},
                                             {"", "nodes", true}};
  return rows;
}

void Auth::on_change(std::string_view group, std::string_view resource, std::string_view ns, std::string_view name,
                     const schema::Object& object) {
  if (group == names::rbac_group) {
    const bool role = resource == "roles" || resource == "clusterroles";
    if (role && object) return rbac_.put_role(read_role(*object));
    if (role) return rbac_.remove_role(ns, name);
    if (object) return rbac_.put_binding(read_binding(*object));
    return rbac_.remove_binding(ns, name);
  }
  if (resource == "persistentvolumes") return object ? graph_.put_volume(*object) : graph_.remove_volume(name);
  if (resource == "volumeattachments") return object ? graph_.put_attachment(*object) : graph_.remove_attachment(name);
  if (resource == "pods") object ? graph_.put_pod(*object) : graph_.remove_pod(ns, name);
  // Tokens may be bound to these.
  if (!object || kinds::core_v1::Pod(object).metadata().has_deletionTimestamp()) authenticator_.objects_changed();
}

}  // namespace dure::apiserver
