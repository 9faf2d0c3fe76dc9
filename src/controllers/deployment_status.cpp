#include <algorithm>

#include "controllers/deployment_sync.h"

namespace dure::controllers {
namespace {

struct Totals {
  int64_t wanted = 0, actual = 0, ready = 0, available = 0;
};

Totals totals_of(const std::vector<SetSize>& sets) {
  Totals totals;
  for (const SetSize& set : sets) {
    totals.wanted += set.wanted;
    totals.actual += set.actual;
    totals.ready += set.ready;
    totals.available += set.available;
  }
  return totals;
}

apps::DeploymentStatus status_view(const Node* status) { return apps::DeploymentStatus(status); }

}  // namespace

Status DeploymentSync::write_status() {
  Document next = deployment_->clone();
  fill_status(next);
  const Node* status = next.root()->find("status");
  // While paused or scaling the progress stands still; otherwise it is told here.
  const bool in_rollout = !client::is_terminating(deployment_) && !view().spec().paused() && !is_scaling();
  if (in_rollout) {
    fill_progress(next);
    fill_failures(next);
  }
  const Node* before = deployment_->root()->find("status");
  if (before && schema::equal(before, status)) return {};
  return update_status(std::move(next));
}

void DeploymentSync::fill_status(Document& next) const {
  const Totals totals = totals_of(sizes(all()));
  auto status = apps::Deployment(next).mutable_status();
  status.set_observedGeneration(view().metadata().generation());
  status.set_replicas(totals.actual);
  status.set_updatedReplicas(new_set_ ? size_of(new_set_).actual : 0);
  status.set_readyReplicas(totals.ready);
  status.set_availableReplicas(totals.available);
  status.set_unavailableReplicas(std::max<int64_t>(0, totals.wanted - totals.available));
  const bool enough = totals.available >= rollout_.replicas - rollout_.unavailable;
  const Condition available =
      enough ? Condition{"Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability."}
             : Condition{"Available", "False", "MinimumReplicasUnavailable",
                         "Deployment does not have minimum availability."};
  set_condition(next, status.mutable_node(), available, now_, SecondTime::last_update);
}

void DeploymentSync::fill_progress(Document& next) const {
  Node* status = next.member(next.root(), "status");
  if (!has_deadline()) {
    remove_condition(next, status, "Progressing");
    return;
  }
  const auto current = find_condition(deployment_->root()->find("status"), "Progressing");
  const auto told = status_view(status);
  if (told.replicas() == told.updatedReplicas() && current && current->reason == "NewReplicaSetAvailable") return;
  const std::string who = new_set_ ? "ReplicaSet \"" + std::string(client::name_of(new_set_)) + "\""
                                   : "Deployment \"" + std::string(client::name_of(deployment_)) + "\"";
  if (is_complete(status)) {
    set_condition(next, status,
                  {"Progressing", "True", "NewReplicaSetAvailable", who + " has successfully progressed."}, now_,
                  SecondTime::last_update);
  } else if (is_moving(status)) {
    Condition moving{"Progressing", "True", "ReplicaSetUpdated", who + " is progressing."};
    if (current && current->status == "True") moving.last_transition = current->last_transition;
    // Each step renews lastUpdateTime, which the deadline counts from.
    remove_condition(next, status, "Progressing");
    set_condition(next, status, moving, now_, SecondTime::last_update);
  } else if (is_timed_out(status)) {
    set_condition(next, status,
                  {"Progressing", "False", "ProgressDeadlineExceeded", who + " has timed out progressing."}, now_,
                  SecondTime::last_update);
  }
}

// The reason why a ReplicaSet cannot make its pods is the Deployment's too.
void DeploymentSync::fill_failures(Document& next) const {
  Node* status = next.member(next.root(), "status");
  std::vector<Object> sets = old_;
  if (new_set_) sets.insert(sets.begin(), new_set_);
  for (const Object& set : sets) {
    const auto failure = find_condition(set->root()->find("status"), "ReplicaFailure");
    if (!failure) continue;
    set_condition(next, status, {"ReplicaFailure", failure->status, failure->reason, failure->message}, now_,
                  SecondTime::last_update);
    return;
  }
  remove_condition(next, status, "ReplicaFailure");
}

bool DeploymentSync::is_complete(const Node* node) const {
  const auto status = status_view(node);
  return status.updatedReplicas() == rollout_.replicas && status.replicas() == rollout_.replicas &&
         status.availableReplicas() == rollout_.replicas &&
         status.observedGeneration() >= view().metadata().generation();
}

bool DeploymentSync::is_moving(const Node* node) const {
  const auto before = view().status();
  const auto after = status_view(node);
  return after.updatedReplicas() > before.updatedReplicas() ||
         after.replicas() - after.updatedReplicas() < before.replicas() - before.updatedReplicas() ||
         after.readyReplicas() > before.readyReplicas() || after.availableReplicas() > before.availableReplicas();
}

bool DeploymentSync::is_timed_out(const Node* node) const {
  const auto progress = find_condition(node, "Progressing");
  if (!progress || progress->reason == "NewReplicaSetAvailable") return false;
  if (progress->reason == "ProgressDeadlineExceeded") return true;
  const auto from = parse_time(progress->last_update);
  return from && *from + std::chrono::seconds(view().spec().progressDeadlineSeconds()) < now_;
}

Status DeploymentSync::update_status(Document next) {
  DURE_TRY(deployment_, tools_.client.update(apps::deployments, next, "status"));
  return {};
}

// A rollout that is stuck gives no event: look again when its deadline has passed.
Outcome DeploymentSync::until_deadline() const {
  const Node* status = deployment_->root()->find("status");
  const auto progress = find_condition(status, "Progressing");
  if (!has_deadline() || view().spec().paused() || !progress || is_complete(status) ||
      progress->reason == "ProgressDeadlineExceeded" || progress->reason == "NewReplicaSetAvailable")
    return Outcome::done();
  const auto from = parse_time(progress->last_update);
  if (!from) return Outcome::done();
  const WallTime deadline = *from + std::chrono::seconds(view().spec().progressDeadlineSeconds());
  return Outcome::after(std::max<Duration>(deadline - now_, Duration::zero()) + 1s);
}

}  // namespace dure::controllers
