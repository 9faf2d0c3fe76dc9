#include "controllers/claims.h"

#include <optional>

namespace dure::controllers {
namespace {

Status may_adopt(const Claimer& claimer) {
  DURE_TRY(Object live, claimer.client.get(claimer.owner_resource, client::key_of(claimer.owner)));
  if (client::uid_of(live) != client::uid_of(claimer.owner))
    return fail(conflict(claimer.owner_resource.qualified(), client::name_of(live), "the owner was made anew"));
  if (client::is_terminating(live))
    return fail(conflict(claimer.owner_resource.qualified(), client::name_of(live), "the owner is being deleted"));
  return {};
}

// What vanished meanwhile needs no change.
Result<Object> write(const Claimer& claimer, const Document& changed) {
  auto written = claimer.client.update(claimer.resource, changed);
  if (!written && written.error().code == 404) return Object{};
  return written;
}

Status release(const Claimer& claimer, const Object& object) {
  Document changed = object->clone();
  drop_owner(changed, client::uid_of(claimer.owner));
  if (!claimer.finalizer.empty()) drop_finalizer(changed, claimer.finalizer);
  DURE_TRY([[maybe_unused]] Object released, write(claimer, changed));
  return {};
}

Result<Object> adopt(const Claimer& claimer, const Object& object) {
  Document changed = object->clone();
  set_controller(changed, claimer.owner_resource, claimer.owner);
  if (!claimer.finalizer.empty()) add_finalizer(changed, claimer.finalizer);
  return write(claimer, changed);
}

}  // namespace

Result<std::vector<Object>> claim(const Claimer& claimer, const std::vector<Object>& candidates) {
  std::vector<Object> claimed;
  std::optional<Error> problem;
  bool adoption_checked = false;
  const bool owner_leaves = client::is_terminating(claimer.owner);
  for (const Object& object : candidates) {
    const client::OwnerReference owner = client::controller_of(object);
    const bool selected = claimer.selector.matches(object);
    if (!owner.uid.empty()) {
      if (owner.uid != client::uid_of(claimer.owner)) continue;
      if (selected) {
        claimed.push_back(object);
      } else if (!owner_leaves) {
        if (Status released = release(claimer, object); !released) problem = std::move(released).error();
      }
      continue;
    }
    if (!selected || owner_leaves || client::is_terminating(object)) continue;
    if (!adoption_checked) DURE_CHECK(may_adopt(claimer));
    adoption_checked = true;
    auto adopted = adopt(claimer, object);
    if (!adopted)
      problem = std::move(adopted).error();
    else if (*adopted)
      claimed.push_back(*adopted);
  }
  if (problem) return fail(std::move(*problem));
  return claimed;
}

void set_controller(Document& object, const Resource& owner_resource, const Object& owner) {
  Node* list = object.member(object.member(object.root(), "metadata"), "ownerReferences");
  Node* item = object.append(list);
  object.make_object(item);
  object.set(object.member(item, "apiVersion"), std::string_view(owner_resource.api_version()));
  object.set(object.member(item, "kind"), owner_resource.kind);
  object.set(object.member(item, "name"), client::name_of(owner));
  object.set(object.member(item, "uid"), client::uid_of(owner));
  object.set(object.member(item, "controller"), true);
  object.set(object.member(item, "blockOwnerDeletion"), true);
}

bool drop_owner(Document& object, std::string_view uid) {
  Node* metadata = object.root()->find("metadata");
  Node* list = metadata ? metadata->find("ownerReferences") : nullptr;
  bool dropped = false;
  for (Node* item = list ? list->first() : nullptr; item != nullptr;) {
    Node* next = item->next();
    const Node* item_uid = item->find("uid");
    if (item_uid && item_uid->string() == uid) {
      object.erase(list, item);
      dropped = true;
    }
    item = next;
  }
  if (list && list->size() == 0) object.erase(metadata, "ownerReferences");
  return dropped;
}

void enqueue_owners(const Object& child, std::string_view kind, const Cache& owners,
                    const std::function<Selector(const Object& owner)>& selector_of, const Enqueue& enqueue) {
  const client::OwnerReference owner = client::controller_of(child);
  if (!owner.uid.empty()) {
    if (owner.kind == kind) enqueue({std::string(client::namespace_of(child)), std::string(owner.name)});
    return;
  }
  for (const Object& candidate : owners.list(client::namespace_of(child)))
    if (selector_of(candidate).matches(child)) enqueue(client::key_of(candidate));
}

bool drop_finalizer(Document& object, std::string_view finalizer) {
  Node* metadata = object.root()->find("metadata");
  Node* list = metadata ? metadata->find("finalizers") : nullptr;
  for (Node* item = list ? list->first() : nullptr; item; item = item->next()) {
    if (item->string() != finalizer) continue;
    object.erase(list, item);
    if (list->size() == 0) object.erase(metadata, "finalizers");
    return true;
  }
  return false;
}

void add_finalizer(Document& object, std::string_view finalizer) {
  Node* list = object.member(object.member(object.root(), "metadata"), "finalizers");
  for (const Node* item = list->first(); item; item = item->next())
    if (item->string() == finalizer) return;
  object.set(object.append(list), finalizer);
}

}  // namespace dure::controllers
