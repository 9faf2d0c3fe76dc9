// Admission that asks about rights: certificate requests, and RBAC objects.
#include "apiserver/admission/admission.h"
#include "apiserver/auth/decision.h"
#include "apiserver/auth/rbac_objects.h"
#include "apiserver/auth/user.h"
#include "base/text.h"
#include "kinds/views/certificates_v1.h"
#include "kinds/views/rbac_v1.h"
#include "pki/signing_request.h"

namespace dure::apiserver::admission {
namespace {

using namespace kinds;

constexpr std::string_view certificates_group = "certificates.k8s.io";
constexpr std::string_view requests = "certificatesigningrequests";

// The right to act for one signer, or for all of its domain ("kubernetes.io/*").
bool may_act_for(const User& user, const Authorize& authorize, std::string_view verb, std::string_view signer) {
  Attributes attributes{
      .verb = verb, .group = certificates_group, .version = "v1", .resource = "signers", .name = signer};
  if (authorize(user, attributes).allowed) return true;
  const std::string domain = std::string(signer.substr(0, signer.find('/'))) + "/*";
  attributes.name = domain;
  return authorize(user, attributes).allowed;
}

Status check_signer(const AdmissionRequest& request, const Authorize& authorize, std::string_view verb) {
  const std::string signer(certificates_v1::CertificateSigningRequest(*request.old).spec().signerName());
  if (may_act_for(*request.request->user, authorize, verb, signer)) return {};
  return refuse(request, "user not permitted to " + std::string(verb) + " requests with signerName " + quoted(signer));
}

bool has_failed(const certificates_v1::CertificateSigningRequest& request) {
  for (const auto& condition : request.status().conditions())
    if (condition.type() == "Failed") return true;
  return false;
}

bool is_signing(const AdmissionRequest& request) {
  const certificates_v1::CertificateSigningRequest now(*request.object), before(*request.old);
  return now.status().certificate() != before.status().certificate() || has_failed(now) != has_failed(before);
}

Status check_subject(const AdmissionRequest& request) {
  const auto spec = certificates_v1::CertificateSigningRequest(*request.object).spec();
  if (spec.signerName() != "kubernetes.io/kube-apiserver-client") return {};
  const Result<std::string> pem = base64_decode(spec.request());
  if (!pem) return {};  // validation says so
  const auto asked = pki::SigningRequest::from_pem(*pem);
  if (!asked) return {};
  for (const std::string& group : asked->subject().organizations)
    if (group == names::masters)
      return refuse(request,
                    "use of kubernetes.io/kube-apiserver-client signer with system:masters group "
                    "is not allowed");
  return {};
}

// --- RBAC

const PolicyRules& full_authority() {
  static const PolicyRules rules{{.verbs = {"*"}, .api_groups = {"*"}, .resources = {"*"}},
                                 {.verbs = {"*"}, .non_resource_urls = {"*"}}};
  return rules;
}

Attributes attributes_of(const AdmissionRequest& request, std::string_view verb) {
  const ApiRequest& asked = *request.request;
  return {.verb = verb,
          .group = asked.resource->group,
          .version = asked.resource->version,
          .resource = asked.resource->plural,
          .namespace_ = asked.namespace_,
          .name = asked.name};
}

Status check_role(AdmissionRequest& request, const Rbac& rbac, const Authorize& authorize) {
  const Attributes attributes = attributes_of(request, "escalate");
  const rbac_v1::ClusterRole role(*request.object);
  const Role now = read_role(*request.object);
  if (request.old) {
    const rbac_v1::ClusterRole before(*request.old);
    if (now.rules == read_role(*request.old).rules &&
        schema::equal(role.aggregationRule().node(), before.aggregationRule().node()))
      return {};
  }
  if (authorize(*request.request->user, attributes).allowed) return {};
  DURE_CHECK(check_no_escalation(rbac, *request.request->user, attributes, now.rules));
  if (!now.aggregation) return {};
  // Whatever carries the right label later flows in: only who may do everything may open that door.
  if (check_no_escalation(rbac, *request.request->user, attributes, full_authority())) return {};
  return refuse(request, "must have cluster-admin privileges to use the aggregationRule");
}

Status check_binding(AdmissionRequest& request, const Rbac& rbac, const Authorize& authorize) {
  const Binding now = read_binding(*request.object);
  if (request.old) {
    const rbac_v1::RoleBinding after(*request.object), before(*request.old);
    if (schema::equal(after.subjects().node(), before.subjects().node()) &&
        schema::equal(after.roleRef().node(), before.roleRef().node()))
      return {};
  }
  Attributes bind = attributes_of(request, "bind");
  bind.resource = now.to_cluster_role ? "clusterroles" : "roles";
  bind.name = now.role;
  if (authorize(*request.request->user, bind).allowed) return {};
  const auto rules = rbac.role_rules(now.to_cluster_role ? "" : request.request->namespace_, now.role);
  if (!rules) {
    Error error = not_found(std::string(bind.resource) + ".rbac.authorization.k8s.io", now.role);
    return fail(std::move(error));
  }
  return check_no_escalation(rbac, *request.request->user, attributes_of(request, request.request->verb), *rules);
}

}  // namespace

Status guard_certificates(AdmissionRequest& request, const Authorize& authorize) {
  if (is_write_of(request, "CREATE", certificates_group, requests)) return check_subject(request);
  if (!request.old || !request.object || !request.request->user) return {};
  if (is_write_of(request, "UPDATE", certificates_group, requests, "approval"))
    return check_signer(request, authorize, "approve");
  if (is_write_of(request, "UPDATE", certificates_group, requests, "status") && is_signing(request))
    return check_signer(request, authorize, "sign");
  return {};
}

Status guard_escalation(AdmissionRequest& request, const Rbac& rbac, const Authorize& authorize) {
  const ApiRequest& asked = *request.request;
  if (asked.resource->group != names::rbac_group || !request.object || !asked.user) return {};
  if (asked.user->in_group(names::masters)) return {};
  const std::string_view resource = asked.resource->plural;
  if (resource == "roles" || resource == "clusterroles") return check_role(request, rbac, authorize);
  return check_binding(request, rbac, authorize);
}

}  // namespace dure::apiserver::admission
