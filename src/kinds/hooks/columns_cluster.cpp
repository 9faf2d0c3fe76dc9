#include <algorithm>

#include "base/text.h"
#include "kinds/hooks/columns.h"

namespace dure::kinds::columns {
namespace {

using schema::Cell;
using schema::find_path;
using schema::Node;

int64_t count_at(const Node* o, std::string_view path) {
  const Node* node = find_path(o, path);
  return node ? node->size() : 0;
}

std::string or_none(std::string text, const char* none = "<none>") { return text.empty() ? none : std::move(text); }

// --- Node
Cell node_status(const Node* o, WallTime) {
  const Node* ready = condition(o, "Ready");
  std::string out = !ready ? "Unknown" : text_at(ready, "status") == "True" ? "Ready" : "NotReady";
  const Node* cordoned = find_path(o, ".spec.unschedulable");
  return out + (cordoned && cordoned->boolean() ? ",SchedulingDisabled" : "");
}

Cell node_roles(const Node* o, WallTime) {
  constexpr std::string_view prefix = "node-role.kubernetes.io/";
  std::vector<std::string> roles;
  const Node* labels = find_path(o, ".metadata.labels");
  for (const Node* label = labels ? labels->first() : nullptr; label; label = label->next()) {
    if (label->key().starts_with(prefix) && label->key().size() > prefix.size())
      roles.emplace_back(label->key().substr(prefix.size()));
    if (label->key() == "kubernetes.io/role" && !label->string().empty()) roles.emplace_back(label->string());
  }
  std::sort(roles.begin(), roles.end());
  return or_none(joined(roles));
}

std::string node_address(const Node* o, std::string_view type) {
  const Node* list = find_path(o, ".status.addresses");
  for (const Node* one = list ? list->first() : nullptr; one; one = one->next())
    if (text_at(one, "type") == type) return text_at(one, "address");
  return "<none>";
}
Cell node_internal(const Node* o, WallTime) { return node_address(o, "InternalIP"); }
Cell node_external(const Node* o, WallTime) { return node_address(o, "ExternalIP"); }

// --- Event (core/v1 and events.k8s.io/v1 say the same with other names)
std::string first_of(const Node* o, std::initializer_list<std::string_view> paths) {
  for (std::string_view path : paths)
    if (std::string text = text_at(o, path); !text.empty()) return text;
  return {};
}
std::string first_seen(const Node* o) {
  return first_of(o, {".firstTimestamp", ".deprecatedFirstTimestamp", ".eventTime"});
}
Cell event_first(const Node* o, WallTime now) { return schema::age(first_seen(o), now); }
Cell event_last(const Node* o, WallTime now) {
  const std::string last = first_of(o, {".series.lastObservedTime", ".lastTimestamp", ".deprecatedLastTimestamp"});
  return schema::age(last.empty() ? first_seen(o) : last, now);
}
Cell event_object(const Node* o, WallTime) {
  const Node* about = o->find("involvedObject") ? o->find("involvedObject") : o->find("regarding");
  const std::string name = text_at(about, "name");
  return lower(text_at(about, "kind")) + (name.empty() ? "" : "/" + name);
}
Cell event_subobject(const Node* o, WallTime) {
  return first_of(o, {".involvedObject.fieldPath", ".regarding.fieldPath"});
}
Cell event_source(const Node* o, WallTime) {
  const std::string component =
      first_of(o, {".source.component", ".deprecatedSource.component", ".reportingComponent", ".reportingController"});
  const std::string host = first_of(o, {".source.host", ".deprecatedSource.host", ".reportingInstance"});
  return component + (host.empty() ? "" : ", " + host);
}
Cell event_message(const Node* o, WallTime) { return std::string(trim(first_of(o, {".message", ".note"}))); }
Cell event_count(const Node* o, WallTime) {
  const std::string count = first_of(o, {".series.count", ".count", ".deprecatedCount"});
  return count.empty() || count == "0" ? "1" : count;
}

// --- small ones
Cell config_data(const Node* o, WallTime) { return std::to_string(count_at(o, ".data") + count_at(o, ".binaryData")); }
Cell secret_data(const Node* o, WallTime) { return std::to_string(count_at(o, ".data")); }
Cell account_secrets(const Node* o, WallTime) { return std::to_string(count_at(o, ".secrets")); }
Cell webhooks(const Node* o, WallTime) { return count_at(o, ".webhooks"); }
Cell validations(const Node* o, WallTime) { return count_at(o, ".spec.validations"); }
Cell drivers(const Node* o, WallTime) { return count_at(o, ".spec.drivers"); }
Cell param_kind(const Node* o, WallTime) {
  if (!find_path(o, ".spec.paramKind")) return std::string("<unset>");
  return text_at(o, ".spec.paramKind.apiVersion") + "/" + text_at(o, ".spec.paramKind.kind");
}
Cell param_ref(const Node* o, WallTime) {
  const Node* reference = find_path(o, ".spec.paramRef");
  if (!reference) return std::string("<unset>");
  const std::string name = text_at(reference, "name"), ns = text_at(reference, "namespace");
  if (name.empty()) return selector_text(reference->find("selector"));
  return (ns.empty() ? "*" : ns) + "/" + name;
}
Cell component_status(const Node* o, WallTime) {
  const Node* list = o->find("conditions");
  for (const Node* one = list ? list->first() : nullptr; one; one = one->next())
    if (text_at(one, "type") == "Healthy")
      return std::string(text_at(one, "status") == "True" ? "Healthy" : "Unhealthy");
  return std::string("Unknown");
}
Cell component_text(const Node* o, std::string_view member) {
  const Node* list = o->find("conditions");
  for (const Node* one = list ? list->first() : nullptr; one; one = one->next())
    if (text_at(one, "type") == "Healthy") return text_at(one, member);
  return std::string();
}
Cell component_message(const Node* o, WallTime) { return component_text(o, "message"); }
Cell component_error(const Node* o, WallTime) { return component_text(o, "error"); }
Cell missing_level(const Node* o, WallTime) {
  const Node* dangling = condition(o, "Dangling");
  return dangling ? text_at(dangling, "status") : std::string("?");
}
Cell hand_size(const Node* o, WallTime) { return or_none(text_at(o, ".spec.limited.limitResponse.queuing.handSize")); }
Cell queue_limit(const Node* o, WallTime) {
  return or_none(text_at(o, ".spec.limited.limitResponse.queuing.queueLengthLimit"));
}
Cell api_service(const Node* o, WallTime) {
  if (!find_path(o, ".spec.service")) return std::string("Local");
  return text_at(o, ".spec.service.namespace") + "/" + text_at(o, ".spec.service.name");
}
Cell api_available(const Node* o, WallTime) {
  const Node* available = condition(o, "Available");
  if (!available) return std::string("Unknown");
  const std::string status = text_at(available, "status");
  return status == "True" ? status : status + " (" + text_at(available, "reason") + ")";
}

// --- quota
std::string quota(const Node* o, bool limits) {
  std::vector<std::string> parts;
  const Node* hard = find_path(o, ".status.hard");
  const Node* used = find_path(o, ".status.used");
  for (const Node* one = hard ? hard->first() : nullptr; one; one = one->next())
    if (one->key().starts_with("limits.") == limits) {
      const Node* now = used ? used->find(one->key()) : nullptr;
      parts.push_back(std::string(one->key()) + ": " + std::string(now ? now->string() : "0") + "/" +
                      std::string(one->string()));
    }
  return joined(parts, ", ");
}
Cell quota_request(const Node* o, WallTime) { return quota(o, false); }
Cell quota_limit(const Node* o, WallTime) { return quota(o, true); }

// --- volumes
std::string access_modes(const Node* list) {
  static constexpr std::pair<std::string_view, const char*> names[] = {
      {"ReadWriteOnce", "RWO"}, {"ReadOnlyMany", "ROX"}, {"ReadWriteMany", "RWX"}, {"ReadWriteOncePod", "RWOP"}};
  std::vector<std::string> parts;
  for (const auto& [mode, brief] : names)
    for (const Node* one = list ? list->first() : nullptr; one; one = one->next())
      if (one->string() == mode) {
        parts.push_back(brief);
        break;
      }
  return joined(parts);
}
Cell phase_or_terminating(const Node* o, WallTime) {
  return find_path(o, ".metadata.deletionTimestamp") ? std::string("Terminating") : text_at(o, ".status.phase");
}
Cell storage_class(const Node* o, WallTime) {
  const Node* annotations = find_path(o, ".metadata.annotations");
  const Node* beta = annotations ? annotations->find("volume.beta.kubernetes.io/storage-class") : nullptr;
  return beta ? std::string(beta->string()) : text_at(o, ".spec.storageClassName");
}
Cell volume_capacity(const Node* o, WallTime) { return text_at(o, ".spec.capacity.storage"); }
Cell volume_modes(const Node* o, WallTime) { return access_modes(find_path(o, ".spec.accessModes")); }
Cell volume_claim(const Node* o, WallTime) {
  if (!find_path(o, ".spec.claimRef")) return std::string();
  return text_at(o, ".spec.claimRef.namespace") + "/" + text_at(o, ".spec.claimRef.name");
}
Cell claim_capacity(const Node* o, WallTime) {
  return text_at(o, ".spec.volumeName").empty() ? std::string() : text_at(o, ".status.capacity.storage");
}
Cell claim_modes(const Node* o, WallTime) {
  return text_at(o, ".spec.volumeName").empty() ? std::string() : access_modes(find_path(o, ".status.accessModes"));
}
Cell class_name(const Node* o, WallTime) {
  const Node* annotations = find_path(o, ".metadata.annotations");
  for (const char* key :
       {"storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"})
    if (const Node* is = annotations ? annotations->find(key) : nullptr; is && is->string() == "true")
      return text_at(o, ".metadata.name") + " (default)";
  return text_at(o, ".metadata.name");
}
Cell class_reclaim(const Node* o, WallTime) { return or_none(text_at(o, ".reclaimPolicy"), "Delete"); }
Cell class_binding(const Node* o, WallTime) { return or_none(text_at(o, ".volumeBindingMode"), "Immediate"); }
bool flag_at(const Node* o, std::string_view path, bool otherwise) {
  const Node* node = find_path(o, path);
  return node ? node->boolean() : otherwise;
}
Cell class_expansion(const Node* o, WallTime) {
  return std::string(flag_at(o, ".allowVolumeExpansion", false) ? "true" : "false");
}
Cell driver_attach(const Node* o, WallTime) { return flag_at(o, ".spec.attachRequired", true); }
Cell driver_info(const Node* o, WallTime) { return flag_at(o, ".spec.podInfoOnMount", false); }
Cell driver_capacity(const Node* o, WallTime) { return flag_at(o, ".spec.storageCapacity", false); }

// --- roles and signing
Cell binding_role(const Node* o, WallTime) { return text_at(o, ".roleRef.kind") + "/" + text_at(o, ".roleRef.name"); }
std::string subjects(const Node* o, std::string_view kind) {
  std::vector<std::string> parts;
  const Node* list = o->find("subjects");
  for (const Node* one = list ? list->first() : nullptr; one; one = one->next())
    if (text_at(one, "kind") == kind)
      parts.push_back(kind == "ServiceAccount" ? text_at(one, "namespace") + "/" + text_at(one, "name")
                                               : text_at(one, "name"));
  return joined(parts, ", ");
}
Cell binding_users(const Node* o, WallTime) { return subjects(o, "User"); }
Cell binding_groups(const Node* o, WallTime) { return subjects(o, "Group"); }
Cell binding_accounts(const Node* o, WallTime) { return subjects(o, "ServiceAccount"); }

Cell request_duration(const Node* o, WallTime) {
  const Node* seconds = find_path(o, ".spec.expirationSeconds");
  return seconds ? human_duration(std::chrono::seconds(seconds->integer())) : std::string("<none>");
}
Cell request_condition(const Node* o, WallTime) {
  std::string out = condition(o, "Denied") ? "Denied" : condition(o, "Approved") ? "Approved" : "Pending";
  if (condition(o, "Failed")) out += ",Failed";
  if (!text_at(o, ".status.certificate").empty()) out += ",Issued";
  return out;
}

}  // namespace

std::vector<Row> cluster_rows() {
  return {{"Node", "Status", node_status},
          {"Node", "Roles", node_roles},
          {"Node", "Internal-IP", node_internal},
          {"Node", "External-IP", node_external},
          {"Event", "Last Seen", event_last},
          {"Event", "First Seen", event_first},
          {"Event", "Object", event_object},
          {"Event", "Subobject", event_subobject},
          {"Event", "Source", event_source},
          {"Event", "Message", event_message},
          {"Event", "Count", event_count},
          {"ConfigMap", "Data", config_data},
          {"Secret", "Data", secret_data},
          {"ServiceAccount", "Secrets", account_secrets},
          {"MutatingWebhookConfiguration", "Webhooks", webhooks},
          {"ValidatingWebhookConfiguration", "Webhooks", webhooks},
          {"ValidatingAdmissionPolicy", "Validations", validations},
          {"ValidatingAdmissionPolicy", "ParamKind", param_kind},
          {"ValidatingAdmissionPolicyBinding", "ParamRef", param_ref},
          {"CSINode", "Drivers", drivers},
          {"ComponentStatus", "Status", component_status},
          {"ComponentStatus", "Message", component_message},
          {"ComponentStatus", "Error", component_error},
          {"FlowSchema", "MissingPL", missing_level},
          {"PriorityLevelConfiguration", "HandSize", hand_size},
          {"PriorityLevelConfiguration", "QueueLengthLimit", queue_limit},
          {"APIService", "Service", api_service},
          {"APIService", "Available", api_available},
          {"ResourceQuota", "Request", quota_request},
          {"ResourceQuota", "Limit", quota_limit},
          {"PersistentVolume", "Capacity", volume_capacity},
          {"PersistentVolume", "Access Modes", volume_modes},
          {"PersistentVolume", "Status", phase_or_terminating},
          {"PersistentVolume", "Claim", volume_claim},
          {"PersistentVolume", "StorageClass", storage_class},
          {"PersistentVolumeClaim", "Status", phase_or_terminating},
          {"PersistentVolumeClaim", "Capacity", claim_capacity},
          {"PersistentVolumeClaim", "Access Modes", claim_modes},
          {"PersistentVolumeClaim", "StorageClass", storage_class},
          {"StorageClass", "Name", class_name},
          {"StorageClass", "ReclaimPolicy", class_reclaim},
          {"StorageClass", "VolumeBindingMode", class_binding},
          {"StorageClass", "AllowVolumeExpansion", class_expansion},
          {"CSIDriver", "AttachRequired", driver_attach},
          {"CSIDriver", "PodInfoOnMount", driver_info},
          {"CSIDriver", "StorageCapacity", driver_capacity},
          {"RoleBinding", "Role", binding_role},
          {"RoleBinding", "Users", binding_users},
          {"RoleBinding", "Groups", binding_groups},
          {"RoleBinding", "ServiceAccounts", binding_accounts},
          {"ClusterRoleBinding", "Role", binding_role},
          {"ClusterRoleBinding", "Users", binding_users},
          {"ClusterRoleBinding", "Groups", binding_groups},
          {"ClusterRoleBinding", "ServiceAccounts", binding_accounts},
          {"CertificateSigningRequest", "RequestedDuration", request_duration},
          {"CertificateSigningRequest", "Condition", request_condition}};
}

}  // namespace dure::kinds::columns
