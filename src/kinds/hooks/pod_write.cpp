// Pods: the status a new pod begins with, binding, what the subresources may change, and how long a pod may take to
// stop.
#include "kinds/hooks/write_rows.h"
#include "kinds/views/core_v1.h"
#include "schema/quantity.h"

namespace dure::kinds::write {

using namespace core_v1;
using schema::Document;
using schema::Node;

namespace {

struct QosTally {
  bool any = false, guaranteed = true;

  void add(const ResourceRequirements& resources) {
    for (const std::string_view name : {"cpu", "memory"}) {
      const auto request = schema::Quantity::read(resources.requests().get(name));
      const auto limit = schema::Quantity::read(resources.limits().get(name));
      if (request.sign() > 0 || limit.sign() > 0) any = true;
      if (limit.sign() <= 0 || (request.sign() > 0 && request != limit)) guaranteed = false;
    }
  }
};

// https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/
std::string_view qos_class(const PodSpec& spec) {
  QosTally tally;
  for (const Container container : spec.containers()) tally.add(container.resources());
  for (const Container container : spec.initContainers()) tally.add(container.resources());
  if (!tally.any) return "BestEffort";
  return tally.guaranteed ? "Guaranteed" : "Burstable";
}

Error pod_conflict(std::string_view what, std::string_view name, std::string why) { return conflict(what, name, why); }

// A scheduling decision: spec.nodeName once, labels and annotations of the Binding come along.
Result<SubresourceAction> bind(WriteWorld& world, Document& object, const Document& body) {
  Pod pod(object);
  const Binding binding(body);
  const std::string name(pod.metadata().name());
  const ObjectReference target = binding.target();
  if (!target.kind().empty() && target.kind() != "Node")
    return fail(invalid_fields(
        {{"FieldValueNotSupported",
          "Unsupported value: \"" + std::string(target.kind()) + "\": supported values: \"Node\", \"<empty>\"",
          "target.kind"}}));
  if (target.name().empty()) return fail(invalid_fields({{"FieldValueRequired", "Required value", "target.name"}}));
  if (!binding.metadata().uid().empty() && binding.metadata().uid() != pod.metadata().uid())
    return fail(pod_conflict("pods/binding", name,
                             "Precondition failed: UID in precondition: " + std::string(binding.metadata().uid()) +
                                 ", UID in object meta: " + std::string(pod.metadata().uid())));
  if (pod.metadata().has_deletionTimestamp())
    return fail(pod_conflict("pods/binding", name, "pod " + name + " is being deleted, cannot be assigned to a host"));
  if (!pod.spec().nodeName().empty())
    return fail(
        pod_conflict("pods/binding", name,
                     "pod " + name + " is already assigned to node \"" + std::string(pod.spec().nodeName()) + "\""));
  if (!pod.spec().schedulingGates().empty())
    return fail(pod_conflict("pods/binding", name, "pod " + name + " has non-empty .spec.schedulingGates"));
  pod.mutable_spec().set_nodeName(target.name());
  for (const auto [key, value] : binding.metadata().annotations()) pod.mutable_metadata().set_annotations(key, value);
  PodStatus status = pod.mutable_status();
  PodCondition scheduled;
  for (PodCondition condition : status.mutable_conditions())
    if (condition.type() == "PodScheduled") scheduled = condition;
  if (scheduled.empty()) scheduled = status.add_conditions();
  scheduled.set_type("PodScheduled");
  scheduled.set_status("True");
  scheduled.clear_reason();
  scheduled.clear_message();
  scheduled.set_lastTransitionTime(format_time(world.now()));
  return SubresourceAction{.kind = SubresourceAction::Kind::update};
}

}  // namespace

Status create_pod(WriteWorld& world, Document& object) {
  Pod pod(object);
  object.erase(object.root(), "status");
  PodStatus status = pod.mutable_status();
  status.set_phase("Pending");
  status.set_qosClass(qos_class(pod.spec()));
  if (pod.spec().schedulingGates().empty()) return {};
  PodCondition waits = status.add_conditions();
  waits.set_type("PodScheduled");
  waits.set_status("False");
  waits.set_reason("SchedulingGated");
  waits.set_message("Scheduling is blocked due to non-empty scheduling gates");
  waits.set_lastTransitionTime(format_time(world.now()));
  return {};
}

// Both are changes of a running pod that the node would have to carry out, and it does not: better no than never.
Status update_pod_subresource(WriteWorld&, std::string_view subresource, Document&, const Document&) {
  if (subresource == "ephemeralcontainers")
    return fail(
        unsupported("ephemeral containers are not run yet; kubectl exec goes into a container that runs, and "
                    "kubectl debug --copy-to=NAME makes a copy of the pod with one more container"));
  if (subresource == "resize")
    return fail(
        unsupported("resources of a running pod cannot be changed yet; change those of its "
                    "Deployment, which replaces it"));
  return fail(unsupported("pods/" + std::string(subresource) + " is not served yet"));
}

Result<SubresourceAction> post_pod_subresource(WriteWorld& world, std::string_view subresource, Document& object,
                                               const Document& body) {
  if (subresource == "binding") return bind(world, object, body);
  if (subresource == "eviction") return evict_pod(world, object, body);
  return fail(unsupported("pods/" + std::string(subresource) + " is not served yet"));
}

int64_t pod_grace_seconds(const Document& object, std::optional<int64_t> asked) {
  const Pod pod(object);
  const std::string_view phase = pod.status().phase();
  // nobody runs it (any more): there is nothing to wait for
  if (pod.spec().nodeName().empty() || phase == "Succeeded" || phase == "Failed") return 0;
  if (asked) return *asked < 0 ? 1 : *asked;
  if (!pod.spec().has_terminationGracePeriodSeconds()) return 30;
  const int64_t own = pod.spec().terminationGracePeriodSeconds();
  return own < 0 ? 1 : own;
}

}  // namespace dure::kinds::write
