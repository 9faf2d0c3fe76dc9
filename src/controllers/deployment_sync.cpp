#include "controllers/deployment_sync.h"

#include <algorithm>

#include "controllers/pod_facts.h"

namespace dure::controllers {
namespace {


int64_t wanted(const Object& set) { return apps::ReplicaSet(set).spec().replicas(); }

}  // namespace

DeploymentSync::DeploymentSync(const Tools& tools, Object deployment, std::vector<Object> sets)
    : tools_(tools),
      deployment_(std::move(deployment)),
      sets_(std::move(sets)),
      rollout_(rollout_of(apps::Deployment(deployment_))),
      now_(tools.executor.wall_now()) {
  std::sort(sets_.begin(), sets_.end(), is_older);
}

Result<Outcome> DeploymentSync::run() {
  split();
  if (client::is_terminating(deployment_)) {
    DURE_CHECK(write_status());
    return Outcome::done();
  }
  DURE_CHECK(note_pause());
  if (view().spec().paused() || is_scaling()) {
    DURE_CHECK(scale_only());
  } else if (rollout_.rolling) {
    DURE_CHECK(roll());
  } else {
    DURE_CHECK(recreate());
  }
  return until_deadline();
}

// A pause stops the clock of the progress deadline, visibly.
Status DeploymentSync::note_pause() {
  if (!has_deadline()) return {};
  const Node* status = deployment_->root()->find("status");
  const auto progress = find_condition(status, "Progressing");
  if (progress && progress->reason == "ProgressDeadlineExceeded") return {};
  const bool noted = progress && progress->reason == "DeploymentPaused";
  const bool paused = view().spec().paused();
  if (paused == noted) return {};
  Document next = deployment_->clone();
  const Condition condition = paused
                                  ? Condition{"Progressing", "Unknown", "DeploymentPaused", "Deployment is paused"}
                                  : Condition{"Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed"};
  set_condition(next, next.member(next.root(), "status"), condition, now_, SecondTime::last_update);
  return update_status(std::move(next));
}

bool DeploymentSync::is_scaling() const {
  for (const Object& set : sets_) {
    const SetSize size = size_of(set);
    if (size.wanted > 0 && size.desired_before >= 0 && size.desired_before != rollout_.replicas) return true;
  }
  return false;
}

Status DeploymentSync::scale_only() {
  DURE_CHECK(find_or_make_new(false));
  DURE_CHECK(scale());
  if (view().spec().paused()) DURE_CHECK(clean_up());
  return write_status();
}

// Afterwards no active set remembers another number of replicas: that is what ends scaling and lets the rollout go on.
Status DeploymentSync::scale() {
  std::vector<Object*> active;
  for (Object& set : old_)
    if (wanted(set) > 0) active.push_back(&set);
  if (new_set_ && wanted(new_set_) > 0) active.push_back(&new_set_);

  if (active.size() <= 1) {
    Object* only = !active.empty() ? active.front() : new_set_ ? &new_set_ : !old_.empty() ? &old_.back() : nullptr;
    return only ? resize(*only, rollout_.replicas) : Status{};
  }
  const SetSize newest = new_set_ ? size_of(new_set_) : SetSize{};
  const bool saturated = new_set_ && newest.wanted == rollout_.replicas && newest.desired_before == rollout_.replicas &&
                         newest.available == rollout_.replicas;
  if (saturated) {
    for (Object& set : old_)
      if (wanted(set) > 0) DURE_CHECK(resize(set, 0));
    return {};
  }
  if (!rollout_.rolling) {
    // Several are active only when the strategy changed in mid-roll: recreate() ends the old ones, whatever their size.
    for (Object* set : active) DURE_CHECK(resize(*set, wanted(*set)));
    return {};
  }

  int64_t total = 0;
  for (const Object* set : active) total += wanted(*set);
  const int64_t allowed = rollout_.replicas > 0 ? rollout_.pods_max() : 0;
  // The biggest takes the remainder; among equals the newer when growing, the older when shrinking.
  std::stable_sort(active.begin(), active.end(), [&](const Object* a, const Object* b) {
    if (wanted(*a) != wanted(*b)) return wanted(*a) > wanted(*b);
    return allowed > total ? is_older(*b, *a) : is_older(*a, *b);
  });
  std::vector<SetSize> active_sizes;
  for (const Object* set : active) active_sizes.push_back(size_of(*set));
  const auto next = proportional_sizes(rollout_, active_sizes, view().status().replicas());
  for (size_t i = 0; i < active.size(); ++i) DURE_CHECK(resize(*active[i], next[i]));
  return {};
}

Status DeploymentSync::roll() {
  DURE_CHECK(find_or_make_new(true));
  const int64_t before = wanted(new_set_);
  const int64_t next_new = next_new_size(rollout_, total_wanted(sizes(all())), before);
  if (next_new != before) {
    DURE_CHECK(resize(new_set_, next_new));
    return write_status();
  }
  const auto next_old = next_old_sizes(rollout_, sizes(old_), size_of(new_set_));
  bool moved = false;
  for (size_t i = 0; i < old_.size(); ++i) {
    if (wanted(old_[i]) == next_old[i]) continue;
    DURE_CHECK(resize(old_[i], next_old[i]));
    moved = true;
  }
  if (!moved && is_complete(deployment_->root()->find("status"))) DURE_CHECK(clean_up());
  return write_status();
}

Status DeploymentSync::recreate() {
  DURE_CHECK(find_or_make_new(false));
  bool moved = false;
  for (Object& set : old_) {
    if (wanted(set) == 0) continue;
    DURE_CHECK(resize(set, 0));
    moved = true;
  }
  if (moved || old_pods_run()) return write_status();
  if (!new_set_) DURE_CHECK(find_or_make_new(true));
  DURE_CHECK(resize(new_set_, rollout_.replicas));
  if (is_complete(deployment_->root()->find("status"))) DURE_CHECK(clean_up());
  return write_status();
}

bool DeploymentSync::old_pods_run() const {
  for (const Object& set : old_) {
    if (apps::ReplicaSet(set).status().replicas() > 0) return true;
    for (const Object& pod : tools_.pods.by_index("controller", client::uid_of(set)))
      if (!is_finished(core::Pod(pod))) return true;
  }
  return false;
}

Status DeploymentSync::clean_up() {
  const apps::DeploymentSpec spec = view().spec();
  if (!spec.has_revisionHistoryLimit() || spec.revisionHistoryLimit() == INT32_MAX) return {};
  std::vector<Object> old = old_;
  std::erase_if(old, [](const Object& set) { return client::is_terminating(set); });
  const int64_t surplus = static_cast<int64_t>(old.size()) - spec.revisionHistoryLimit();
  if (surplus <= 0) return {};
  std::stable_sort(old.begin(), old.end(),
                   [](const Object& a, const Object& b) { return revision_number(a) < revision_number(b); });
  for (int64_t i = 0; i < surplus; ++i) {
    const apps::ReplicaSet set(old[static_cast<size_t>(i)]);
    if (set.spec().replicas() != 0 || set.status().replicas() != 0 ||
        set.metadata().generation() > set.status().observedGeneration())
      continue;
    Status removed = tools_.client.remove(apps::replicasets, client::key_of(old[static_cast<size_t>(i)]));
    if (!removed && removed.error().code != 404) return removed;
  }
  return {};
}

Status DeploymentSync::resize(Object& set, int64_t size) {
  const SetSize now = size_of(set);
  const bool same_size = now.wanted == size;
  if (same_size && now.desired_before == rollout_.replicas && now.pods_max_before == rollout_.pods_max()) return {};
  Document next = set->clone();
  apps::ReplicaSet(next).mutable_spec().set_replicas(size);
  auto metadata = apps::ReplicaSet(next).mutable_metadata();
  metadata.set_annotations(desired_annotation, std::to_string(rollout_.replicas));
  metadata.set_annotations(max_annotation, std::to_string(rollout_.pods_max()));
  DURE_TRY(set, tools_.client.update(apps::replicasets, next));
  if (same_size) return {};
  tools_.events.normal(EventAbout::object(deployment_), "ScalingReplicaSet",
                       std::string("Scaled ") + (now.wanted < size ? "up" : "down") + " replica set " +
                           std::string(client::name_of(set)) + " from " + std::to_string(now.wanted) + " to " +
                           std::to_string(size));
  return {};
}

std::vector<SetSize> DeploymentSync::sizes(const std::vector<Object>& sets) const {
  std::vector<SetSize> found;
  for (const Object& set : sets) found.push_back(size_of(set));
  return found;
}

std::vector<Object> DeploymentSync::all() const {
  std::vector<Object> sets = old_;
  if (new_set_) sets.push_back(new_set_);
  return sets;
}

bool DeploymentSync::has_deadline() const {
  return view().spec().has_progressDeadlineSeconds() && view().spec().progressDeadlineSeconds() != INT32_MAX;
}

}  // namespace dure::controllers
