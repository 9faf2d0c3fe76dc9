#include <algorithm>

#include "base/text.h"
#include "controllers/claims.h"
#include "controllers/deployment_sync.h"
#include "controllers/pod_control.h"
#include "controllers/pod_template.h"

namespace dure::controllers {
namespace {

constexpr size_t history_text_max = 2000;

// Annotations of the Deployment that are about itself and not about a revision.
bool stays_behind(std::string_view annotation) {
  return annotation == "kubectl.kubernetes.io/last-applied-configuration" || annotation == revision_annotation ||
         annotation == history_annotation || annotation == desired_annotation || annotation == max_annotation ||
         annotation == "deprecated.deployment.rollback.to";
}

const Node* template_of(const Object& object) { return object->root()->find("spec", "template"); }

}  // namespace

int64_t revision_number(const Object& object) {
  return parse_int(client::annotation(object, revision_annotation)).value_or(0);
}

// The oldest ReplicaSet with the Deployment's template is the new one; the rest are old.
void DeploymentSync::split() {
  new_set_ = nullptr;
  old_.clear();
  for (const Object& set : sets_) {
    if (!new_set_ && equal_templates(template_of(set), template_of(deployment_), pod_template_hash))
      new_set_ = set;
    else
      old_.push_back(set);
  }
}

int64_t DeploymentSync::newest_old_revision() const {
  int64_t newest = 0;
  for (const Object& set : old_) newest = std::max(newest, revision_number(set));
  return newest;
}

Status DeploymentSync::find_or_make_new(bool make) {
  if (new_set_) return adopt_revision();
  return make ? make_new() : Status{};
}

Status DeploymentSync::adopt_revision() {
  Document next = new_set_->clone();
  bool changed = annotate(next, newest_old_revision() + 1, true);
  apps::ReplicaSetSpec spec = apps::ReplicaSet(next).mutable_spec();
  if (spec.minReadySeconds() != view().spec().minReadySeconds()) {
    spec.set_minReadySeconds(view().spec().minReadySeconds());
    changed = true;
  }
  if (changed) {
    DURE_TRY(new_set_, tools_.client.update(apps::replicasets, next));
  }
  std::optional<Condition> progress;
  if (has_deadline() && !find_condition(deployment_->root()->find("status"), "Progressing"))
    progress = Condition{"Progressing", "True", "FoundNewReplicaSet",
                         "Found new replica set \"" + std::string(client::name_of(new_set_)) + "\""};
  return publish_revision(revision_number(new_set_), std::move(progress));
}

Status DeploymentSync::make_new() {
  std::optional<int64_t> collisions;
  if (view().status().has_collisionCount()) collisions = view().status().collisionCount();
  const std::string hash = template_hash(template_of(deployment_), collisions);
  const int64_t revision = newest_old_revision() + 1;
  const Document wanted = new_set_document(hash, revision);
  auto made = tools_.client.create(apps::replicasets, wanted, client::namespace_of(deployment_));
  const std::string name = client::key_of(wanted).name;
  if (!made) return creation_failed(made.error(), hash, name);
  new_set_ = *made;
  sets_.push_back(new_set_);
  const int64_t size = apps::ReplicaSet(new_set_).spec().replicas();
  if (size > 0)
    tools_.events.normal(EventAbout::object(deployment_), "ScalingReplicaSet",
                         "Scaled up replica set " + name + " from 0 to " + std::to_string(size));
  std::optional<Condition> progress;
  if (has_deadline())
    progress = Condition{"Progressing", "True", "NewReplicaSetCreated", "Created new replica set \"" + name + "\""};
  return publish_revision(revision, std::move(progress));
}

Document DeploymentSync::new_set_document(const std::string& hash, int64_t revision) const {
  Document set(*apps::replicasets.type);
  set.set(set.member(set.root(), "apiVersion"), "apps/v1");
  set.set(set.member(set.root(), "kind"), "ReplicaSet");
  apps::ReplicaSet made(set);
  auto metadata = made.mutable_metadata();
  metadata.set_name(std::string(client::name_of(deployment_)) + "-" + hash);
  metadata.set_namespace(client::namespace_of(deployment_));
  auto spec = made.mutable_spec();
  spec.set_minReadySeconds(view().spec().minReadySeconds());
  set.copy(spec.mutable_selector().mutable_node(), view().spec().selector().node());
  spec.mutable_selector().set_matchLabels(pod_template_hash, hash);
  set.copy(spec.mutable_template().mutable_node(), template_of(deployment_));
  spec.mutable_template().mutable_metadata().set_labels(pod_template_hash, hash);
  for (const auto& [key, value] : spec.template_().metadata().labels()) metadata.set_labels(key, value);
  spec.set_replicas(next_new_size(rollout_, total_wanted(sizes(old_)), 0));
  set_controller(set, apps::deployments, deployment_);
  annotate(set, revision, false);
  return set;
}

Status DeploymentSync::creation_failed(const Error& error, const std::string& hash, const std::string& name) {
  if (error.is("AlreadyExists")) {
    DURE_TRY(Object other,
             tools_.client.get(apps::replicasets, {std::string(client::namespace_of(deployment_)), name}));
    const bool is_ours = client::controller_of(other).uid == client::uid_of(deployment_) &&
                         equal_templates(template_of(other), template_of(deployment_), pod_template_hash);
    if (is_ours) {
      // Made by an earlier run whose answer was lost.
      new_set_ = other;
      return adopt_revision();
    }
    // Another template with the same hash: the next one is salted.
    Document next = deployment_->clone();
    auto status = apps::Deployment(next).mutable_status();
    status.set_collisionCount(status.collisionCount() + 1);
    DURE_CHECK(update_status(std::move(next)));
    return fail(error);
  }
  if (is_namespace_leaving(error)) return fail(error);
  const std::string message = "Failed to create new replica set \"" + name + "\": " + error.message;
  if (has_deadline()) {
    Document next = deployment_->clone();
    set_condition(next, next.member(next.root(), "status"), {"Progressing", "False", "ReplicaSetCreateError", message},
                  now_, SecondTime::last_update);
    DURE_CHECK(update_status(std::move(next)));
  }
  tools_.events.warning(EventAbout::object(deployment_), "ReplicaSetCreateError", message);
  return fail(error);
}

// The Deployment carries the revision of its new ReplicaSet.
Status DeploymentSync::publish_revision(int64_t revision, std::optional<Condition> progress) {
  if (client::annotation(deployment_, revision_annotation) != std::to_string(revision)) {
    Document next = deployment_->clone();
    apps::Deployment(next).mutable_metadata().set_annotations(revision_annotation, std::to_string(revision));
    DURE_TRY(deployment_, tools_.client.update(apps::deployments, next));
  }
  if (!progress) return {};
  Document next = deployment_->clone();
  set_condition(next, next.member(next.root(), "status"), *progress, now_, SecondTime::last_update);
  return update_status(std::move(next));
}

// Sets the annotations of a new ReplicaSet; answers whether something changed.
bool DeploymentSync::annotate(Document& set, int64_t revision, bool exists) const {
  auto metadata = apps::ReplicaSet(set).mutable_metadata();
  bool changed = false;
  for (const auto& [key, value] : view().metadata().annotations()) {
    if (stays_behind(key) || (metadata.annotations().contains(key) && metadata.annotations().get(key) == value))
      continue;
    metadata.set_annotations(key, value);
    changed = true;
  }
  const std::string old_text(metadata.annotations().get(revision_annotation));
  if (parse_int(old_text).value_or(0) < revision) {
    metadata.set_annotations(revision_annotation, std::to_string(revision));
    changed = true;
    if (exists && !old_text.empty()) {
      std::string history(metadata.annotations().get(history_annotation));
      history += (history.empty() ? "" : ",") + old_text;
      while (history.size() > history_text_max && history.contains(',')) history.erase(0, history.find(',') + 1);
      metadata.set_annotations(history_annotation, history);
    }
  }
  if (!exists) {
    metadata.set_annotations(desired_annotation, std::to_string(rollout_.replicas));
    metadata.set_annotations(max_annotation, std::to_string(rollout_.pods_max()));
    changed = true;
  }
  return changed;
}

}  // namespace dure::controllers
