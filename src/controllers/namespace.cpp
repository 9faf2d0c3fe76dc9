#include "controllers/namespace.h"

#include <map>
#include <memory>
#include <set>

#include "controllers/conditions.h"

namespace dure::controllers {
namespace {

constexpr std::string_view finalizer = "kubernetes";
// Deletes that need nobody's event to go on are tried again after this time.
constexpr Duration look_again = 1s;

bool is_content(const Resource& resource) {
  return resource.namespaced && resource.has_verb("list") && resource.has_verb("delete");
}

// What an attempt to empty a namespace left behind.
struct Left {
  std::map<std::string, size_t> objects;     // "pods" -> how many
  std::map<std::string, size_t> finalizers;  // "example.com/x" -> on how many
  std::string problem;
  bool empty() const { return objects.empty() && problem.empty(); }
};

std::string sentence(const std::map<std::string, size_t>& counts, std::string_view before, std::string_view between) {
  std::string text(before);
  bool first = true;
  for (const auto& [name, count] : counts) {
    if (!first) text += ", ";
    first = false;
    text += name + std::string(between) + std::to_string(count) + " resource instances";
  }
  return text;
}

class Namespaces {
 public:
  Namespaces(Client& client, Caches& caches, std::vector<const Resource*> resources)
      : client_(client), executor_(caches.executor()), namespaces_(caches.of(core::namespaces)) {
    std::set<std::string> seen;  // another version of the same is no other content
    for (const Resource* resource : resources)
      if (is_content(*resource) && seen.insert(resource->qualified()).second)
        contents_.push_back({resource, resource->kind == "Event" ? nullptr : &caches.of(*resource)});
  }

  // Content wakes its namespace only while that is leaving.
  void keys_of_content(const Object& object, const Enqueue& enqueue) const {
    const Key key{{}, std::string(client::namespace_of(object))};
    const Object space = namespaces_.get(key);
    if (space && client::is_terminating(space)) enqueue(key);
  }

  Outcome reconcile(const Key& key) {
    const Object space = namespaces_.get(key);
    if (!space || !client::is_terminating(space)) return Outcome::done();
    if (!has_our_finalizer(space)) return Outcome::done();
    const Left left = empty_out(key.name);
    Status told = tell(space, left);
    if (!told) return outcome_of(std::move(told));
    if (!left.empty()) return Outcome::after(look_again);
    return finalize(key);
  }

  // Those that are watched.
  std::vector<const Resource*> contents() const {
    std::vector<const Resource*> resources;
    for (const auto& [resource, cache] : contents_)
      if (cache) resources.push_back(resource);
    return resources;
  }

 private:
  static bool has_our_finalizer(const Object& space) {
    for (const std::string_view name : core::Namespace(space).spec().finalizers())
      if (name == finalizer) return true;
    return false;
  }

  Left empty_out(const std::string& name) {
    Left left;
    for (const auto& [resource, cache] : contents_) {
      std::vector<Object> objects;
      if (cache) objects = cache->list(name);
      // The cache says empty: the server has the last word.
      if (objects.empty()) {
        auto listed = client_.list(*resource, {.namespace_ = name});
        if (!listed) {
          if (listed.error().code != 404 && listed.error().code != 405) left.problem = listed.error().message;
          continue;
        }
        objects = std::move(listed->items);
      }
      remove_all(*resource, objects, left);
    }
    return left;
  }

  void remove_all(const Resource& resource, const std::vector<Object>& objects, Left& left) {
    size_t remaining = 0;
    for (const Object& object : objects) {
      if (!client::is_terminating(object)) {
        client::DeleteOptions options;
        options.precondition_uid = std::string(client::uid_of(object));
        Status removed = client_.remove(resource, client::key_of(object), options);
        if (!removed && removed.error().code != 404 && removed.error().code != 409)
          left.problem = removed.error().message;
      }
      // Gone at once, or waiting for someone?
      auto live = client_.get(resource, client::key_of(object));
      if (!live || client::uid_of(*live) != client::uid_of(object)) continue;
      ++remaining;
      for (const std::string& name : finalizers_of(*live)) ++left.finalizers[name];
    }
    if (remaining > 0) left.objects[resource.qualified()] = remaining;
  }

  static std::vector<std::string> finalizers_of(const Object& object) {
    std::vector<std::string> names;
    const Node* metadata = client::metadata_of(*object);
    const Node* list = metadata ? metadata->find("finalizers") : nullptr;
    for (const Node* item = list ? list->first() : nullptr; item; item = item->next())
      names.emplace_back(item->string());
    return names;
  }

  Status tell(const Object& space, const Left& left) {
    Document next = space->clone();
    core::NamespaceStatus status = core::Namespace(next).mutable_status();
    status.set_phase("Terminating");
    const WallTime now = executor_.wall_now();
    auto set = [&](const char* type, bool bad, const char* bad_reason, std::string bad_message, const char* good_reason,
                   const char* good_message) {
      const Condition condition = bad ? Condition{type, "True", bad_reason, std::move(bad_message)}
                                      : Condition{type, "False", good_reason, good_message};
      set_condition(next, status.mutable_node(), condition, now, SecondTime::none);
      // It keeps a condition whose reason did not change; counts in the message do change.
      next.set(next.member(condition_of(status.mutable_node(), type), "message"), std::string_view(condition.message));
    };
    set("NamespaceDeletionDiscoveryFailure", false, "", "", "ResourcesDiscovered",
        "All resources successfully discovered");
    set("NamespaceDeletionGroupVersionParsingFailure", false, "", "", "ParsedGroupVersions",
        "All legacy kube types successfully parsed");
    set("NamespaceDeletionContentFailure", !left.problem.empty(), "ContentDeletionFailed",
        "Failed to delete all resource types: " + left.problem, "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization");
    set("NamespaceContentRemaining", !left.objects.empty(), "SomeResourcesRemain",
        sentence(left.objects, "Some resources are remaining: ", " has "), "ContentRemoved",
        "All content successfully removed");
    set("NamespaceFinalizersRemaining", !left.finalizers.empty(), "SomeFinalizersRemain",
        sentence(left.finalizers, "Some content in the namespace has finalizers remaining: ", " in "),
        "ContentHasNoFinalizers", "All content-preserving finalizers finished");
    if (schema::equal(space->root()->find("status"), next.root()->find("status"))) return {};
    auto written = client_.update(core::namespaces, next, "status");
    if (!written) return fail(std::move(written).error());
    return {};
  }

  Outcome finalize(const Key& key) {
    auto live = client_.get(core::namespaces, key);
    if (!live) return outcome_of(std::move(live));
    Document next = (*live)->clone();
    core::NamespaceSpec spec = core::Namespace(next).mutable_spec();
    std::vector<std::string> others;
    for (const std::string_view name : spec.finalizers())
      if (name != finalizer) others.emplace_back(name);
    spec.clear_finalizers();
    for (const std::string& name : others) spec.add_finalizers(name);
    return outcome_of(client_.update(core::namespaces, next, "finalize"));
  }

  struct Content {
    const Resource* resource;
    Cache* cache;  // null for Events: many, and nobody waits for them
  };

  Client& client_;
  run::Executor& executor_;
  Cache& namespaces_;
  std::vector<Content> contents_;
};

}  // namespace

LoopSpec namespace_lifecycle(Client& client, Caches& caches, std::vector<const Resource*> resources) {
  auto namespaces = std::make_shared<Namespaces>(client, caches, std::move(resources));
  LoopSpec spec;
  spec.name = "namespace";
  spec.watches = {{&core::namespaces, client::own_key(), {}}};
  for (const Resource* resource : namespaces->contents())
    spec.watches.push_back(
        {resource,
         [namespaces](const Object& object, const Enqueue& enqueue) { namespaces->keys_of_content(object, enqueue); },
         {}});
  spec.owns = {"status of v1 Namespace", "finalizer kubernetes of v1 Namespace"};
  spec.reconcile = [namespaces](const Key& key) { return namespaces->reconcile(key); };
  spec.workers = 2;
  return spec;
}

}  // namespace dure::controllers
