// APIServices of what this server serves itself: `kubectl get apiservices` lists them, and installers look there for a
// group before they use it.
#include "apiserver/auth/bootstrap_policy.h"
#include "apiserver/catalog.h"
#include "kinds/views/apiregistration_v1.h"

namespace dure::apiserver {
namespace {

using kinds::apiregistration_v1::APIService, kinds::apiregistration_v1::apiservices;

// Upstream's, within one group.
int version_priority(std::string_view group, std::string_view version) {
  if (group.empty()) return 1;
  if (group == "autoscaling" && version == "v2") return 30;
  if (group == "flowcontrol.apiserver.k8s.io" && version == "v1") return 21;
  return version == "v1" ? 15 : 9;
}

BootstrapObject service_object(const Catalog::Group& group, std::string_view version) {
  schema::Document document(APIService::schema_type());
  const APIService service(document);
  service.set_kind(apiservices.kind);
  service.set_apiVersion(apiservices.api_version());
  service.mutable_metadata().set_name(std::string(version) + "." + std::string(group.name));
  service.mutable_metadata().set_labels("kube-aggregator.kubernetes.io/automanaged", "onstart");
  auto spec = service.mutable_spec();
  if (!group.name.empty()) spec.set_group(group.name);
  spec.set_version(version);
  spec.set_groupPriorityMinimum(group.priority);
  spec.set_versionPriority(version_priority(group.name, version));
  return {&apiservices, "", std::move(document)};
}

}  // namespace

std::vector<BootstrapObject> local_services(const Catalog& catalog) {
  std::vector<BootstrapObject> out;
  // A server of a few kinds only (a test's) has no place for them.
  if (!catalog.find(apiservices)) return out;
  for (const Catalog::Group& group : catalog.groups())
    for (const std::string_view version : group.versions)
      if (group.priority > 0) out.push_back(service_object(group, version));
  return out;
}

}  // namespace dure::apiserver
