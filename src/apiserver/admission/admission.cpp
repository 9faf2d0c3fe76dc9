#include "apiserver/admission/admission.h"

#include "apiserver/auth/decision.h"
#include "apiserver/auth/user.h"

namespace dure::apiserver::admission {

bool is_write_of(const AdmissionRequest& request, std::string_view operation, std::string_view group,
                 std::string_view resource, std::string_view subresource) {
  const ApiRequest& asked = *request.request;
  return request.operation == operation && asked.resource->group == group && asked.resource->plural == resource &&
         asked.subresource == subresource;
}

std::unexpected<Error> refuse(const AdmissionRequest& request, std::string_view why) {
  const ApiRequest& asked = *request.request;
  return fail(refused_object(asked.resource->group, asked.resource->plural, asked.name, why));
}

Status keep_system_namespaces(AdmissionRequest& request) {
  if (!is_write_of(request, "DELETE", "", "namespaces")) return {};
  const std::string& name = request.request->name;
  if (name == "default" || name == "kube-system" || name == "kube-public")
    return refuse(request, "this namespace may not be deleted");
  return {};
}

Status run(AdmissionRequest& request, const Context& context) {
  DURE_CHECK(keep_system_namespaces(request));
  DURE_CHECK(apply_limit_ranges(request, context.cluster));
  DURE_CHECK(add_service_account(request, context.cluster, context.random));
  DURE_CHECK(restrict_node(request, context.cluster));
  DURE_CHECK(resolve_priority(request, context.cluster));
  DURE_CHECK(add_default_tolerations(request));
  DURE_CHECK(fill_class_defaults(request, context.cluster));
  DURE_CHECK(guard_certificates(request, context.authorize));
  return guard_escalation(request, context.rbac, context.authorize);
}

}  // namespace dure::apiserver::admission
