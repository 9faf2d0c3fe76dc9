#include "kinds/hooks/write.h"

#include <algorithm>
#include <array>

#include "kinds/hooks/write_rows.h"

namespace dure::kinds {

namespace write {

Error invalid_fields(std::vector<Cause> causes) {
  Error error{422, "Invalid", ""};
  error.causes = std::move(causes);
  return error;
}

}  // namespace write

namespace {

constexpr std::string_view rbac = "rbac.authorization.k8s.io", storage = "storage.k8s.io",
                           network = "networking.k8s.io", admission = "admissionregistration.k8s.io";

std::vector<WriteHooks> make_table() {
  return {
      {.group = "",
       .resource = "pods",
       .prepare_create = write::create_pod,
       .prepare_update = write::update_pod,
       .update_subresource = write::update_pod_subresource,
       .create_subresource = write::post_pod_subresource,
       .node_call = write::pod_node_call,
       .grace_seconds = write::pod_grace_seconds},
      {.group = "",
       .resource = "services",
       .storage_path = "services/specs",
       .names = NameRule::label_1035,
       .generation = false,
       .prepare_create = write::create_service,
       .prepare_update = write::update_service,
       .released = write::release_service},
      {.group = "", .resource = "endpoints", .storage_path = "services/endpoints", .create_on_update = true},
      {.group = "",
       .resource = "namespaces",
       .names = NameRule::label,
       .generation = false,
       .is_namespace = true,
       .prepare_create = write::create_namespace,
       .prepare_update = write::update_namespace,
       .update_subresource = write::finalize_namespace,
       .mark_deleted = write::mark_namespace_deleted,
       .may_vanish = write::namespace_may_vanish},
      {.group = "",
       .resource = "nodes",
       .storage_path = "minions",
       .generation = false,
       .keep_status_on_create = true,
       .node_call = write::node_node_call},
      {.group = "",
       .resource = "secrets",
       .prepare_create = write::create_secret,
       .prepare_update = write::update_secret},
      {.group = "",
       .resource = "events",
       .volatile_ = true,
       .ttl_seconds = 3600,
       .ttl_from = {"series.lastObservedTime", "lastTimestamp", "eventTime", "metadata.creationTimestamp"},
       .create_on_update = true},
      {.group = "",
       .resource = "replicationcontrollers",
       .storage_path = "controllers",
       .idle = "dure runs no ReplicationControllers: no pod is made; a Deployment does the same"},
      {.group = "",
       .resource = "persistentvolumes",
       .generation = false,
       .prepare_create = write::create_volume},
      {.group = "",
       .resource = "persistentvolumeclaims",
       .generation = false,
       .idle = "dure binds no claims to volumes yet: pods that use this one wait; hostPath and emptyDir volumes work",
       .prepare_create = write::create_claim},
      {.group = "",
       .resource = "resourcequotas",
       .generation = false,
       .idle = "dure does not hold anybody to a ResourceQuota yet: nothing is counted or refused"},
      {.group = "", .resource = "podtemplates", .generation = true},
      {.group = "batch", .resource = "jobs", .prepare_create = write::create_job},
      {.group = "batch",
       .resource = "cronjobs",
       .idle = "dure runs no CronJobs yet: no Job is made by itself; kubectl create job --from=cronjob/NAME makes one"},
      {.group = "apps",
       .resource = "statefulsets",
       .idle = "dure runs no StatefulSets yet: no pod is made; a Deployment of one replica is the nearest that works"},
      {.group = "autoscaling",
       .resource = "horizontalpodautoscalers",
       .generation = false,
       .idle = "dure measures and scales nothing by itself yet; kubectl scale does it by hand",
       .prepare_create = write::create_autoscaler,
       .prepare_update = write::update_autoscaler},
      {.group = "coordination.k8s.io", .resource = "leases", .volatile_ = true, .create_on_update = true},
      {.group = "discovery.k8s.io", .resource = "endpointslices", .generation = true},
      {.group = "certificates.k8s.io",
       .resource = "certificatesigningrequests",
       .generation = false,
       .prepare_create = write::create_signing_request,
       .prepare_update = write::update_signing_request,
       .prepare_status = write::update_signing_request_status,
       .update_subresource = write::approve_signing_request},
      {.group = network,
       .resource = "ingresses",
       .storage_path = "ingress",
       .idle = "dure brings no Ingress controller: nothing listens until you install one; a NodePort Service works"},
      {.group = network,
       .resource = "networkpolicies",
       .generation = true,
       .idle = "dure does not enforce NetworkPolicies yet: all traffic goes on as before"},
      {.group = network, .resource = "ingressclasses", .generation = true},
      {.group = network, .resource = "servicecidrs", .generation = false},
      {.group = rbac, .resource = "roles", .names = NameRule::path_segment},
      {.group = rbac, .resource = "rolebindings", .names = NameRule::path_segment},
      {.group = rbac, .resource = "clusterroles", .names = NameRule::path_segment},
      {.group = rbac, .resource = "clusterrolebindings", .names = NameRule::path_segment},
      {.group = storage, .resource = "volumeattachments", .generation = false},
      {.group = storage, .resource = "csidrivers", .generation = true},
      {.group = admission,
       .resource = "mutatingwebhookconfigurations",
       .generation = true,
       .idle = "dure calls no admission webhooks yet: nothing is refused or changed by this one"},
      {.group = admission,
       .resource = "validatingwebhookconfigurations",
       .generation = true,
       .idle = "dure calls no admission webhooks yet: nothing is refused or changed by this one"},
      {.group = admission,
       .resource = "validatingadmissionpolicybindings",
       .generation = true,
       .idle = "dure evaluates no admission policies yet: nothing is refused or changed by this one"},
      {.group = "apiextensions.k8s.io",
       .resource = "customresourcedefinitions",
       .storage_path = "apiextensions.k8s.io/customresourcedefinitions",
       .idle = "dure serves no custom resources yet: objects of this kind cannot be made"},
      {.group = "apiregistration.k8s.io",
       .resource = "apiservices",
       .storage_path = "apiregistration.k8s.io/apiservices",
       .names = NameRule::path_segment,
       .generation = false,
       .prepare_create = write::create_api_service},
  };
}

}  // namespace

const WriteHooks* write_hooks(std::string_view group, std::string_view resource) {
  static const std::vector<WriteHooks> table = make_table();
  static const WriteHooks nothing{};
  for (const WriteHooks& hooks : table)
    if (hooks.group == group && hooks.resource == resource) return &hooks;
  return &nothing;
}

const Conversion* conversion(std::string_view group, std::string_view version, std::string_view resource) {
  static constexpr std::array table{
      Conversion{"events.k8s.io", "v1", "events", "", "v1", "events", write::event_to_core,
                 write::event_from_core},
      Conversion{"autoscaling", "v1", "horizontalpodautoscalers", "autoscaling", "v2",
                 "horizontalpodautoscalers", write::autoscaler_to_v2, write::autoscaler_from_v2},
  };
  for (const Conversion& c : table)
    if (c.group == group && c.version == version && c.resource == resource) return &c;
  return nullptr;
}

}  // namespace dure::kinds
