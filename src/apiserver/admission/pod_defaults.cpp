// Priority and DefaultTolerationSeconds.
#include "apiserver/admission/admission.h"
#include "apiserver/auth/decision.h"
#include "kinds/views/core_v1.h"
#include "kinds/views/scheduling_v1.h"

namespace dure::apiserver::admission {
namespace {

using namespace kinds;

constexpr int64_t toleration_seconds = 300;
constexpr std::string_view scheduling_group = "scheduling.k8s.io";

bool tolerates(const core_v1::PodSpec& spec, std::string_view key) {
  for (const auto& toleration : spec.tolerations())
    if ((toleration.key() == key || toleration.key().empty()) &&
        (toleration.effect() == "NoExecute" || toleration.effect().empty()))
      return true;
  return false;
}

// Of several defaults (a race can make two) the lowest counts, as upstream has it.
schema::Object default_class(const ClusterState& cluster) {
  schema::Object best;
  for (const schema::Object& object : cluster.list(scheduling_group, "priorityclasses", "")) {
    const scheduling_v1::PriorityClass candidate(object);
    if (!candidate.globalDefault()) continue;
    if (!best || candidate.value() < scheduling_v1::PriorityClass(best).value()) best = object;
  }
  return best;
}

Status set_priority(const AdmissionRequest& request, const core_v1::PodSpec& spec, int64_t priority,
                    std::string_view policy) {
  if (spec.has_priority() && spec.priority() != priority)
    return refuse(request, "the integer value of priority (" + std::to_string(spec.priority()) +
                               ") must not be provided in pod spec; priority admission controller computed " +
                               std::to_string(priority) + " from the given PriorityClass name");
  if (spec.has_preemptionPolicy() && spec.preemptionPolicy() != policy)
    return refuse(request, "the string value of PreemptionPolicy (" + std::string(spec.preemptionPolicy()) +
                               ") must not be provided in pod spec; priority admission controller computed " +
                               std::string(policy) + " from the given PriorityClass name");
  spec.set_priority(priority);
  spec.set_preemptionPolicy(policy);
  return {};
}

Status prioritise_new_pod(AdmissionRequest& request, const ClusterState& cluster) {
  const auto spec = core_v1::Pod(*request.object).mutable_spec();
  schema::Object object;
  if (spec.priorityClassName().empty()) {
    object = default_class(cluster);
    if (!object) return set_priority(request, spec, 0, "PreemptLowerPriority");
    spec.set_priorityClassName(scheduling_v1::PriorityClass(object).metadata().name());
  } else {
    object = cluster.get(scheduling_group, "priorityclasses", "", spec.priorityClassName());
    if (!object)
      return refuse(request, "no PriorityClass with name " + std::string(spec.priorityClassName()) + " was found");
  }
  const scheduling_v1::PriorityClass chosen(object);
  const std::string_view policy = chosen.preemptionPolicy();
  return set_priority(request, spec, chosen.value(),
                      policy.empty() ? std::string_view("PreemptLowerPriority") : policy);
}

// A manifest that is put again names no numbers: they stay.
void keep_priority(AdmissionRequest& request) {
  const auto spec = core_v1::Pod(*request.object).mutable_spec();
  const auto old = core_v1::Pod(*request.old).spec();
  if (!spec.has_priority() && old.has_priority()) spec.set_priority(old.priority());
  if (!spec.has_preemptionPolicy() && old.has_preemptionPolicy()) spec.set_preemptionPolicy(old.preemptionPolicy());
}

Status check_single_default(const AdmissionRequest& request, const ClusterState& cluster) {
  if (!scheduling_v1::PriorityClass(*request.object).globalDefault()) return {};
  const schema::Object other = default_class(cluster);
  if (!other) return {};
  const std::string name(scheduling_v1::PriorityClass(other).metadata().name());
  if (name == request.request->name) return {};
  return refuse(request, "PriorityClass " + name + " is already marked as default. Only one default can exist");
}

}  // namespace

Status add_default_tolerations(AdmissionRequest& request) {
  if (!is_write_of(request, "CREATE", "", "pods")) return {};
  const auto spec = core_v1::Pod(*request.object).mutable_spec();
  for (const char* key : {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}) {
    if (tolerates(spec, key)) continue;
    const auto toleration = spec.add_tolerations();
    toleration.set_key(key);
    toleration.set_operator("Exists");
    toleration.set_effect("NoExecute");
    toleration.set_tolerationSeconds(toleration_seconds);
  }
  return {};
}

Status resolve_priority(AdmissionRequest& request, const ClusterState& cluster) {
  if (is_write_of(request, "CREATE", "", "pods")) return prioritise_new_pod(request, cluster);
  if (is_write_of(request, "UPDATE", "", "pods")) keep_priority(request);
  if (is_write_of(request, "CREATE", scheduling_group, "priorityclasses") ||
      is_write_of(request, "UPDATE", scheduling_group, "priorityclasses"))
    return check_single_default(request, cluster);
  return {};
}

}  // namespace dure::apiserver::admission
