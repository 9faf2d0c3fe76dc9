// Workloads: defaults and validation across rows.
#include "kinds/hooks/rules.h"
#include "kinds/views/apps_v1.h"
#include "kinds/views/batch_v1.h"
#include "kinds/views/core_v1.h"
#include "schema/text_rules.h"

namespace dure::kinds {

namespace {

using namespace rules;

// The labels of the template, for an object that has none of its own.
template <class Workload>
void labels_from_template(const Workload& workload) {
  const auto labels = workload.spec().template_().metadata().labels();
  if (labels.empty() || !workload.metadata().labels().empty()) return;
  for (const auto [key, value] : labels) workload.mutable_metadata().set_labels(key, value);
}

void replication_controller_defaults(Document& document, Node* node) {
  const core_v1::ReplicationController controller(&document, node);
  const auto labels = controller.spec().template_().metadata().labels();
  if (!labels.empty() && controller.spec().selector().empty())
    for (const auto [key, value] : labels) controller.mutable_spec().set_selector(key, value);
  labels_from_template(controller);
}

void job_defaults(Document& document, Node* node) { labels_from_template(batch_v1::Job(&document, node)); }

void job_spec_defaults(Document& document, Node* node) {
  const batch_v1::JobSpec spec(&document, node);
  if (!spec.has_backoffLimit() && spec.has_backoffLimitPerIndex()) spec.set_backoffLimit(INT32_MAX);
  if (!spec.has_podReplacementPolicy())
    spec.set_podReplacementPolicy(spec.has_podFailurePolicy() ? "Failed" : "TerminatingOrFailed");
}

void validate_deployment_spec(const Node* object, const Node*, const Path& path, Causes& causes) {
  check_selector(object, "deployment", path, causes);
  check_restart_always(object, path, causes);
  const apps_v1::DeploymentSpec spec(object);
  if (spec.has_progressDeadlineSeconds() && spec.progressDeadlineSeconds() <= spec.minReadySeconds())
    causes.push_back(schema::invalid(path.child("progressDeadlineSeconds"), spec.progressDeadlineSeconds(),
                                     "must be greater than minReadySeconds"));
}

void validate_deployment_strategy(const Node* object, const Node*, const Path& path, Causes& causes) {
  const Node* rolling = object->find("rollingUpdate");
  const Path at = path.child("rollingUpdate");
  if (text(object, "type") == "Recreate" && rolling)
    causes.push_back(schema::forbidden(at, "may not be specified when strategy `type` is 'Recreate'"));
  if (text(object, "type") != "RollingUpdate" || !rolling) return;
  const Node *unavailable = rolling->find("maxUnavailable"), *surge = rolling->find("maxSurge");
  check_count_or_percent(unavailable, at.child("maxUnavailable"), causes);
  check_count_or_percent(surge, at.child("maxSurge"), causes);
  if (count_or_percent(unavailable) == 0 && count_or_percent(surge) == 0)
    causes.push_back(schema::invalid(at.child("maxUnavailable"), unavailable, "may not be 0 when `maxSurge` is 0"));
}

void validate_replica_set_spec(const Node* object, const Node*, const Path& path, Causes& causes) {
  check_selector(object, "replica set", path, causes);
  check_restart_always(object, path, causes);
}

void validate_daemon_set_spec(const Node* object, const Node*, const Path& path, Causes& causes) {
  check_selector(object, "daemon set", path, causes);
  check_restart_always(object, path, causes);
}

void validate_daemon_set_strategy(const Node* object, const Node*, const Path& path, Causes& causes) {
  const Node* rolling = object->find("rollingUpdate");
  if (text(object, "type") != "RollingUpdate" || !rolling) return;
  const Path at = path.child("rollingUpdate");
  const Node *unavailable = rolling->find("maxUnavailable"), *surge = rolling->find("maxSurge");
  check_count_or_percent(unavailable, at.child("maxUnavailable"), causes);
  check_count_or_percent(surge, at.child("maxSurge"), causes);
  const bool moves = count_or_percent(unavailable) != 0, surges = count_or_percent(surge) != 0;
  if (moves && surges)
    causes.push_back(schema::invalid(at.child("maxSurge"), surge, "may not be set when maxUnavailable is non-zero"));
  else if (!moves && !surges)
    causes.push_back(schema::required(at.child("maxUnavailable"), "cannot be 0 when maxSurge is 0"));
}

void validate_stateful_set_spec(const Node* object, const Node*, const Path& path, Causes& causes) {
  check_selector(object, "statefulset", path, causes);
  check_restart_always(object, path, causes);
}

void validate_job_spec(const Node* object, const Node* old, const Path& path, Causes& causes) {
  const Path template_path = path.child("template"), pod = template_path.child("spec");
  const std::string_view policy = text(object->find("template", "spec"), "restartPolicy");
  constexpr std::string_view kEnding[] = {"OnFailure", "Never"};
  if (policy != "OnFailure" && policy != "Never") {
    if (policy.empty())
      causes.push_back(schema::required(pod.child("restartPolicy"), "valid values: \"OnFailure\", \"Never\""));
    else
      causes.push_back(schema::not_supported(pod.child("restartPolicy"), policy, kEnding));
  }
  const batch_v1::JobSpec spec(object);
  if (spec.completionMode() == "Indexed" && !spec.has_completions())
    causes.push_back(schema::required(path.child("completions"), "when completion mode is Indexed"));
  if (!old) return;
  for (const std::string_view name : {"selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex"})
    if (!schema::equal(object->find(name), old->find(name)))
      causes.push_back(schema::invalid(path.child(name), object->find(name), "field is immutable"));
  if (spec.completionMode() != "Indexed" && !schema::equal(object->find("completions"), old->find("completions")))
    causes.push_back(schema::invalid(path.child("completions"), object->find("completions"), "field is immutable"));
  const batch_v1::JobSpec before(old);
  if (!before.suspend() && !schema::equal(object->find("template"), old->find("template")))
    causes.push_back(schema::invalid(path.child("template"), object->find("template"), "field is immutable"));
}

}  // namespace

namespace core_v1::hooks {
extern const schema::Hooks ReplicationController;
constinit const schema::Hooks ReplicationController{.apply_defaults = replication_controller_defaults};
}  // namespace core_v1::hooks

namespace apps_v1::hooks {
extern const schema::Hooks DeploymentSpec, DeploymentStrategy, ReplicaSetSpec, DaemonSetSpec, DaemonSetUpdateStrategy,
    StatefulSetSpec;
constinit const schema::Hooks DeploymentSpec{.validate = validate_deployment_spec};
constinit const schema::Hooks DeploymentStrategy{.validate = validate_deployment_strategy};
constinit const schema::Hooks ReplicaSetSpec{.validate = validate_replica_set_spec};
constinit const schema::Hooks DaemonSetSpec{.validate = validate_daemon_set_spec};
constinit const schema::Hooks DaemonSetUpdateStrategy{.validate = validate_daemon_set_strategy};
constinit const schema::Hooks StatefulSetSpec{.validate = validate_stateful_set_spec};
}  // namespace apps_v1::hooks

namespace batch_v1::hooks {
extern const schema::Hooks Job, JobSpec;
constinit const schema::Hooks Job{.apply_defaults = job_defaults};
constinit const schema::Hooks JobSpec{.apply_defaults = job_spec_defaults, .validate = validate_job_spec};
}  // namespace batch_v1::hooks

}  // namespace dure::kinds
