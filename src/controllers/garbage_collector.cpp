#include "controllers/garbage_collector.h"

#include <map>
#include <memory>
#include <set>

#include "base/text.h"
#include "controllers/claims.h"
#include "kinds/kinds.h"

namespace dure::controllers {
namespace {

constexpr std::string_view foreground = "foregroundDeletion";
constexpr std::string_view orphan = "orphan";

std::vector<std::string> owner_uids(const Object& object) {
  std::vector<std::string> uids;
  for (const client::OwnerReference& owner : client::owners_of(object)) uids.emplace_back(owner.uid);
  return uids;
}

// A key says which object of which resource: name is "<resource>/<name>/<uid>".
struct Which {
  std::string resource, name, uid;
};

Which which(const Key& key) {
  const auto parts = split(key.name, '/');
  DURE_ASSERT(parts.size() == 3);
  return {std::string(parts[0]), std::string(parts[1]), std::string(parts[2])};
}

class Collector {
 public:
  struct Kept {
    const Resource* resource;
    Cache* cache;
  };
  struct Dependent {
    const Kept* kept;
    Object object;
  };

  Collector(Client& client, Caches& caches, const std::vector<const Resource*>& resources)
      : client_(client), events_(EventRecorder::create(client, caches.executor(), "garbage-collector-controller")) {
    for (const Resource* resource : resources) {
      if (!resource->has_verb("list") || !resource->has_verb("watch") || !resource->has_verb("delete")) continue;
      if (resource->kind == "Event") continue;              // never an owner, never owned, and many
      if (kept_.contains(resource->qualified())) continue;  // another version of the same
      Cache& cache = caches.of(*resource);
      cache.add_index("owner", owner_uids);
      kept_.emplace(resource->qualified(), Kept{resource, &cache});
    }
  }

  std::vector<const Resource*> resources() const {
    std::vector<const Resource*> all;
    for (const auto& [name, kept] : kept_) all.push_back(kept.resource);
    return all;
  }

  // An object concerns itself while it has owners or is leaving, its dependents once it is gone, and those it was owned
  // by while they wait for it.
  void keys_of(const Resource& resource, const Object& object, const Enqueue& enqueue) const {
    const Kept& kept = kept_.at(resource.qualified());
    const Object now = kept.cache->get(client::key_of(object));
    const bool is_gone = !now || client::uid_of(now) != client::uid_of(object);
    const std::vector<client::OwnerReference> owners = client::owners_of(object);
    if (!owners.empty() || client::is_terminating(object)) enqueue(key_of(kept, object));
    if (is_gone)
      for (const Dependent& dependent : dependents_of(client::uid_of(object)))
        enqueue(key_of(*dependent.kept, dependent.object));
    for (const client::OwnerReference& owner : owners) {
      const auto [kept_owner, owner_object] = cached_owner(owner, client::namespace_of(object));
      if (owner_object && client::has_finalizer(owner_object, foreground)) enqueue(key_of(*kept_owner, owner_object));
    }
  }

  Outcome reconcile(const Key& key) {
    const Which what = which(key);
    const Kept& kept = kept_.at(what.resource);
    const Object object = kept.cache->get({key.namespace_, what.name});
    if (!object || client::uid_of(object) != what.uid) return Outcome::done();
    Status done;
    if (client::is_terminating(object)) {
      if (client::has_finalizer(object, orphan))
        done = set_dependents_free(kept, object);
      else if (client::has_finalizer(object, foreground))
        done = wait_for_dependents(kept, object);
    } else {
      done = judge(kept, object);
    }
    return outcome_of(std::move(done));
  }

 private:
  static Key key_of(const Kept& kept, const Object& object) {
    return {std::string(client::namespace_of(object)), kept.resource->qualified() + "/" +
                                                           std::string(client::name_of(object)) + "/" +
                                                           std::string(client::uid_of(object))};
  }

  std::vector<Dependent> dependents_of(std::string_view uid) const {
    std::vector<Dependent> found;
    for (const auto& [name, kept] : kept_)
      for (Object& object : kept.cache->by_index("owner", uid)) found.push_back({&kept, std::move(object)});
    return found;
  }

  // The resource of an owner's kind in whichever version we keep it.
  const Kept* kept_of(const client::OwnerReference& owner) const {
    const size_t slash = owner.api_version.find('/');
    const std::string_view group =
        slash == std::string_view::npos ? std::string_view{} : owner.api_version.substr(0, slash);
    for (const auto& [name, kept] : kept_)
      if (kept.resource->kind == owner.kind && kept.resource->group == group) return &kept;
    return nullptr;
  }

  static Key owner_key(const Kept& kept, const client::OwnerReference& owner, std::string_view namespace_) {
    return {kept.resource->namespaced ? std::string(namespace_) : std::string(), std::string(owner.name)};
  }

  std::pair<const Kept*, Object> cached_owner(const client::OwnerReference& owner, std::string_view namespace_) const {
    const Kept* kept = kept_of(owner);
    if (!kept) return {};
    Object object = kept->cache->get(owner_key(*kept, owner, namespace_));
    if (object && client::uid_of(object) != owner.uid) object = nullptr;
    return {kept, std::move(object)};
  }

  enum class Standing { solid, waiting, gone, unknown };

  Result<Standing> standing_of(const client::OwnerReference& owner, std::string_view namespace_) const {
    auto [kept, object] = cached_owner(owner, namespace_);
    // A kind that is not served here may be another server's business.
    if (!kept || (kept->resource->namespaced && namespace_.empty())) return Standing::unknown;
    if (!object) {
      auto live = client_.get(*kept->resource, owner_key(*kept, owner, namespace_));
      if (!live && live.error().code != 404) return fail(std::move(live).error());
      if (!live || client::uid_of(*live) != owner.uid) return Standing::gone;
      object = *live;
    }
    const bool waits = client::is_terminating(object) && client::has_finalizer(object, foreground);
    return waits ? Standing::waiting : Standing::solid;
  }

  // Decides about an object that is not leaving by what its owners are.
  Status judge(const Kept& kept, const Object& object) {
    std::set<std::string> leaving;  // owners that are gone or wait for their dependents
    bool waiting = false, solid = false;
    for (const client::OwnerReference& owner : client::owners_of(object)) {
      DURE_TRY(const Standing standing, standing_of(owner, client::namespace_of(object)));
      if (standing == Standing::unknown) warn_about(object, owner);
      if (standing == Standing::solid || standing == Standing::unknown) solid = true;
      if (standing == Standing::waiting) waiting = true;
      if (standing == Standing::waiting || standing == Standing::gone) leaving.insert(std::string(owner.uid));
    }
    if (leaving.empty()) return {};
    if (solid) return drop_owners(kept, object, leaving);
    client::DeleteOptions options;
    options.precondition_uid = std::string(client::uid_of(object));
    options.precondition_resource_version = std::string(client::resource_version_of(object));
    options.propagation =
        client::has_finalizer(object, orphan) ? client::Propagation::orphan
        : (waiting && !dependents_of(client::uid_of(object)).empty()) || client::has_finalizer(object, foreground)
            ? client::Propagation::foreground
            : client::Propagation::background;
    return client_.remove(*kept.resource, client::key_of(object), options);
  }

  void warn_about(const Object& object, const client::OwnerReference& owner) {
    const Kept* kept = kept_of(owner);
    if (!kept || !kept->resource->namespaced || !client::namespace_of(object).empty()) return;
    events_->warning(EventAbout::object(object), "OwnerRefInvalidNamespace",
                     "ownerRef [" + std::string(owner.api_version) + "/" + std::string(owner.kind) +
                         ", namespace: , name: " + std::string(owner.name) + ", uid: " + std::string(owner.uid) +
                         "] does not exist in namespace \"\"");
  }

  Status drop_owners(const Kept& kept, const Object& object, const std::set<std::string>& uids) {
    Document changed = object->clone();
    bool any = false;
    for (const std::string& uid : uids) any |= drop_owner(changed, uid);
    if (!any) return {};
    auto written = client_.update(*kept.resource, changed);
    if (!written && written.error().code != 404) return fail(std::move(written).error());
    return {};
  }

  Status drop_own_finalizer(const Kept& kept, const Object& object, std::string_view finalizer) {
    Document changed = object->clone();
    if (!drop_finalizer(changed, finalizer)) return {};
    auto written = client_.update(*kept.resource, changed);
    if (!written && written.error().code != 404) return fail(std::move(written).error());
    return {};
  }

  Status set_dependents_free(const Kept& kept, const Object& owner) {
    const std::string uid(client::uid_of(owner));
    for (const Dependent& dependent : dependents_of(uid))
      DURE_CHECK(drop_owners(*dependent.kept, dependent.object, {uid}));
    return drop_own_finalizer(kept, owner, orphan);
  }

  Status wait_for_dependents(const Kept& kept, const Object& owner) {
    const std::string uid(client::uid_of(owner));
    bool blocked = false;
    for (const Dependent& dependent : dependents_of(uid)) {
      bool blocks = false;
      for (const client::OwnerReference& reference : client::owners_of(dependent.object))
        blocks |= reference.uid == uid && reference.block_owner_deletion;
      // Two that wait for each other: the one we look at lets go.
      if (blocks && client::has_finalizer(dependent.object, foreground) && client::is_terminating(dependent.object) &&
          owns(dependent.object, owner))
        blocks = false;
      blocked |= blocks;
      if (client::is_terminating(dependent.object)) continue;
      if (Status judged = judge(*dependent.kept, dependent.object);
          !judged && judged.error().code != 404 && judged.error().code != 409)
        return judged;
    }
    return blocked ? Status{} : drop_own_finalizer(kept, owner, foreground);
  }

  static bool owns(const Object& owner, const Object& object) {
    for (const client::OwnerReference& reference : client::owners_of(object))
      if (reference.uid == client::uid_of(owner)) return true;
    return false;
  }

  Client& client_;
  std::unique_ptr<EventRecorder> events_;
  std::map<std::string, Kept> kept_;
};

}  // namespace

LoopSpec garbage_collector(Client& client, Caches& caches, std::vector<const Resource*> resources) {
  auto collector = std::make_shared<Collector>(client, caches, resources);
  LoopSpec spec;
  spec.name = "garbage-collector";
  for (const Resource* resource : collector->resources())
    spec.watches.push_back({resource,
                            [collector, resource](const Object& object, const Enqueue& enqueue) {
                              collector->keys_of(*resource, object, enqueue);
                            },
                            {}});
  spec.owns = {"finalizers foregroundDeletion and orphan"};
  spec.reconcile = [collector](const Key& key) { return collector->reconcile(key); };
  spec.workers = 4;
  return spec;
}

}  // namespace dure::controllers
