// Eviction: a delete that asks the disruption budgets first and spends from the one that covers the pod.
// https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/
#include "kinds/hooks/write_rows.h"
#include "kinds/views/core_v1.h"
#include "kinds/views/meta_v1.h"
#include "kinds/views/policy_v1.h"

namespace dure::kinds::write {

using schema::Document;

namespace {

bool expression_matches(const meta_v1::LabelSelectorRequirement& r,
                        const schema::Map<std::string_view>& labels) {
  const bool there = labels.contains(r.key());
  if (r.operator_() == "Exists") return there;
  if (r.operator_() == "DoesNotExist") return !there;
  const bool listed = there && r.values().contains(labels.get(r.key()));
  if (r.operator_() == "In") return listed;
  if (r.operator_() == "NotIn") return !listed;
  return false;
}

bool selects(const meta_v1::LabelSelector& selector, const schema::Map<std::string_view>& labels) {
  if (selector.empty()) return false;
  for (const auto [key, value] : selector.matchLabels())
    if (!labels.contains(key) || labels.get(key) != value) return false;
  for (const meta_v1::LabelSelectorRequirement r : selector.matchExpressions())
    if (!expression_matches(r, labels)) return false;
  return true;
}

Error too_many(std::string message, std::string cause = {}) {
  Error error{429, "TooManyRequests", std::move(message)};
  if (!cause.empty()) error.causes.push_back({"DisruptionBudget", std::move(cause), ""});
  return error;
}

bool is_ready(const core_v1::Pod& pod) {
  for (const core_v1::PodCondition c : pod.status().conditions())
    if (c.type() == "Ready") return c.status() == "True";
  return false;
}

// A pod that is not ready may go without spending when the budget's pods are healthy enough, or always when it says so.
bool unhealthy_may_go(const policy_v1::PodDisruptionBudget& budget, const core_v1::Pod& pod) {
  if (is_ready(pod)) return false;
  if (budget.spec().unhealthyPodEvictionPolicy() == "AlwaysAllow") return true;
  const auto status = budget.status();
  return status.currentHealthy() >= status.desiredHealthy() && status.desiredHealthy() > 0;
}

Status spend(WriteWorld& world, const schema::Object& object, const core_v1::Pod& pod) {
  const policy_v1::PodDisruptionBudget budget(*object);
  if (unhealthy_may_go(budget, pod)) return {};
  const auto status = budget.status();
  const std::string name(budget.metadata().name());
  if (status.observedGeneration() < budget.metadata().generation())
    return fail(too_many("Cannot evict pod as it would violate the pod's disruption budget.",
                         "The disruption budget " + name + " is still being processed by the server."));
  if (status.disruptionsAllowed() <= 0)
    return fail(too_many("Cannot evict pod as it would violate the pod's disruption budget.",
                         "The disruption budget " + name + " needs " +
                             std::to_string(status.desiredHealthy()) + " healthy pods and has " +
                             std::to_string(status.currentHealthy()) + " currently"));
  Document changed = object->clone();
  policy_v1::PodDisruptionBudget after(changed);
  auto spent = after.mutable_status();
  spent.set_disruptionsAllowed(status.disruptionsAllowed() - 1);
  changed.set(changed.member(changed.member(spent.mutable_node(), "disruptedPods"), pod.metadata().name()),
              std::string_view(format_time(world.now())));
  world.also_update("policy", "poddisruptionbudgets", *object, changed);
  return {};
}

}  // namespace

Result<SubresourceAction> evict_pod(WriteWorld& world, const Document& object, const Document& body) {
  const core_v1::Pod pod(object);
  const policy_v1::Eviction eviction(body);
  if (eviction.metadata().name() != pod.metadata().name())
    return fail(bad_request("name in URL does not match name in Eviction object"));
  SubresourceAction action{.kind = SubresourceAction::Kind::remove};
  if (eviction.deleteOptions().has_gracePeriodSeconds())
    action.grace_period_seconds = eviction.deleteOptions().gracePeriodSeconds();
  action.precondition_uid = eviction.deleteOptions().preconditions().uid();
  const std::string_view phase = pod.status().phase();
  if (phase == "Succeeded" || phase == "Failed" || phase == "Pending" ||
      pod.metadata().has_deletionTimestamp())
    return action;
  std::vector<schema::Object> covering;
  for (schema::Object& budget : world.list("policy", "poddisruptionbudgets", pod.metadata().namespace_()))
    if (selects(policy_v1::PodDisruptionBudget(*budget).spec().selector(), pod.metadata().labels()))
      covering.push_back(std::move(budget));
  if (covering.size() > 1)
    return fail(internal(
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."));
  if (!covering.empty()) DURE_CHECK(spend(world, covering.front(), pod));
  return action;
}

}  // namespace dure::kinds::write
