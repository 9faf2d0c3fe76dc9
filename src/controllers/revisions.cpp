#include "controllers/revisions.h"

#include <algorithm>

#include "controllers/claims.h"
#include "controllers/daemon_plan.h"
#include "controllers/pod_template.h"

namespace dure::controllers {
namespace {

int64_t number_of(const Object& revision) { return apps::ControllerRevision(revision).revision(); }

// {"spec":{"template":{...,"$patch":"replace"}}}
void fill_data(Document& revision, const Node* pod_template) {
  Node* data = apps::ControllerRevision(revision).mutable_data();
  Node* place = revision.member(revision.member(data, "spec"), "template");
  revision.set(revision.member(place, "$patch"), "replace");
  for (const Node* part = pod_template->first(); part; part = part->next())
    revision.copy(revision.member(place, part->key()), part);
}

bool holds(const Object& revision, const Node* pod_template) {
  const Node* kept = revision->root()->find("data", "spec", "template");
  return kept && equal_templates(kept, pod_template, {});
}

Document make(const Resource& owner_resource, const Object& owner, const Node* pod_template, const std::string& hash,
              int64_t number) {
  Document revision(*apps::controllerrevisions.type);
  revision.set(revision.member(revision.root(), "apiVersion"), "apps/v1");
  revision.set(revision.member(revision.root(), "kind"), "ControllerRevision");
  apps::ControllerRevision view(revision);
  auto metadata = view.mutable_metadata();
  metadata.set_name(std::string(client::name_of(owner)) + "-" + hash);
  metadata.set_namespace(client::namespace_of(owner));
  for (const auto& [key, value] : core::PodTemplateSpec(pod_template).metadata().labels())
    metadata.set_labels(key, value);
  metadata.set_labels(revision_hash_label, hash);
  for (const auto& [key, value] : meta::ObjectMeta(client::metadata_of(*owner)).annotations())
    if (key != "kubectl.kubernetes.io/last-applied-configuration") metadata.set_annotations(key, value);
  set_controller(revision, owner_resource, owner);
  fill_data(revision, pod_template);
  view.set_revision(number);
  return revision;
}

Result<Object> renumber(Client& client, const Object& revision, int64_t number) {
  Document next = revision->clone();
  apps::ControllerRevision(next).set_revision(number);
  return client.update(apps::controllerrevisions, next);
}

Result<Object> create(Client& client, const Resource& owner_resource, const Object& owner, const Node* pod_template,
                      int64_t number, int64_t& collisions) {
  const std::string hash = template_hash(pod_template, collisions);
  const Document wanted = make(owner_resource, owner, pod_template, hash, number);
  auto made = client.create(apps::controllerrevisions, wanted, client::namespace_of(owner));
  if (made || !made.error().is("AlreadyExists")) return made;
  DURE_TRY(Object other, client.get(apps::controllerrevisions, client::key_of(wanted)));
  if (client::controller_of(other).uid == client::uid_of(owner) && holds(other, pod_template)) return other;
  ++collisions;
  return made;
}

}  // namespace

Result<Revisions> sync_revisions(Client& client, const Resource& owner_resource, const Object& owner,
                                 std::vector<Object> known, int64_t& collisions) {
  const Node* pod_template = owner->root()->find("spec", "template");
  std::stable_sort(known.begin(), known.end(),
                   [](const Object& a, const Object& b) { return number_of(a) < number_of(b); });
  Revisions revisions;
  int64_t newest = 0;
  for (const Object& revision : known) {
    if (holds(revision, pod_template)) {
      revisions.current = revision;
    } else {
      newest = std::max(newest, number_of(revision));
      revisions.old.push_back(revision);
    }
  }
  if (!revisions.current) {
    DURE_TRY(revisions.current, create(client, owner_resource, owner, pod_template, newest + 1, collisions));
  } else if (number_of(revisions.current) <= newest) {
    DURE_TRY(revisions.current, renumber(client, revisions.current, newest + 1));
  }
  return revisions;
}

}  // namespace dure::controllers
