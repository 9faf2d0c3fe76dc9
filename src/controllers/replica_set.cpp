#include "controllers/replica_set.h"

#include <memory>

#include "controllers/claims.h"
#include "controllers/conditions.h"
#include "controllers/pod_control.h"
#include "controllers/pod_facts.h"
#include "controllers/pod_template.h"

namespace dure::controllers {
namespace {

constexpr int64_t burst_max = 500;  // pods made or removed in one go

class ReplicaSets {
 public:
  ReplicaSets(Client& client, Caches& caches)
      : client_(client),
        executor_(caches.executor()),
        sets_(caches.of(apps::replicasets)),
        pods_(caches.of(core::pods)),
        events_(EventRecorder::create(client, executor_, "replicaset-controller")) {
    pods_.add_index("controller", controller_index);
    sets_.add_index("controller", controller_index);
  }

  void keys_of_pod(const Object& pod, const Enqueue& enqueue) const {
    enqueue_owners(pod, "ReplicaSet", sets_, selector_of, enqueue);
  }

  Outcome reconcile(const Key& key) {
    const Object set = sets_.get(key);
    if (!set) return Outcome::done();
    const apps::ReplicaSet view(set);
    const Claimer claimer{client_, apps::replicasets, set, core::pods, selector_of(set)};
    auto claimed = claim(claimer, active_pods(candidates_of(pods_, set)));
    if (!claimed) return Outcome::failed(std::move(claimed).error());
    Status managed;
    if (!client::is_terminating(set)) managed = manage(set, *claimed);
    // What was just made or removed is in the cache already.
    const std::vector<Object> now_mine = mine(set, claimer.selector);
    Status updated = update_status(set, now_mine, managed);
    if (!managed) return Outcome::failed(std::move(managed).error());
    if (!updated) return Outcome::failed(std::move(updated).error());
    const auto next = until_next_available(now_mine, view.spec().minReadySeconds(), executor_.wall_now());
    return next ? Outcome::after(*next) : Outcome::done();
  }

 private:
  static Selector selector_of(const Object& set) { return Selector::from(apps::ReplicaSet(set).spec().selector()); }

  std::vector<Object> mine(const Object& set, const Selector& selector) const {
    std::vector<Object> pods = active_pods(pods_.by_index("controller", client::uid_of(set)));
    std::erase_if(pods, [&](const Object& pod) { return !selector.matches(pod); });
    return pods;
  }

  Status manage(const Object& set, const std::vector<Object>& pods) {
    const auto have = static_cast<int64_t>(pods.size());
    const int64_t wanted = apps::ReplicaSet(set).spec().replicas();
    if (have < wanted) return make(set, std::min(wanted - have, burst_max));
    if (have > wanted) return remove(set, pods, std::min(have - wanted, burst_max));
    return {};
  }

  Status make(const Object& set, int64_t count) {
    const Document pod = pod_from_template(apps::ReplicaSet(set).spec().template_(), apps::replicasets, set);
    const EventAbout about = EventAbout::object(set);
    return slow_start(static_cast<size_t>(count),
                      [&](size_t) { return make_pod(client_, *events_, about, pod, client::namespace_of(set)); });
  }

  Status remove(const Object& set, const std::vector<Object>& pods, int64_t count) {
    std::vector<Object> order = in_deletion_order(pods, relatives(set), executor_.wall_now());
    order.resize(static_cast<size_t>(count));
    return remove_pods(client_, *events_, EventAbout::object(set), order);
  }

  // Pods of every ReplicaSet with the same controller: of one Deployment.
  std::vector<Object> relatives(const Object& set) const {
    std::vector<Object> found;
    const client::OwnerReference owner = client::controller_of(set);
    std::vector<Object> sets{set};
    if (!owner.uid.empty()) sets = sets_.by_index("controller", owner.uid);
    for (const Object& sibling : sets)
      for (Object& pod : pods_.by_index("controller", client::uid_of(sibling))) found.push_back(std::move(pod));
    return found;
  }

  Status update_status(const Object& set, const std::vector<Object>& pods, const Status& managed) {
    Document next = set->clone();
    apps::ReplicaSet view(next);
    const Selector template_labels = Selector::from_map(view.spec().template_().metadata().labels());
    const int64_t min_ready = view.spec().minReadySeconds();
    const WallTime now = executor_.wall_now();
    int64_t labeled = 0, ready = 0, available = 0;
    for (const Object& object : pods) {
      const core::Pod pod(object);
      labeled += template_labels.matches(object);
      ready += is_ready(pod);
      available += is_available(pod, min_ready, now);
    }
    apps::ReplicaSetStatus status = view.mutable_status();
    status.set_replicas(static_cast<int64_t>(pods.size()));
    status.set_fullyLabeledReplicas(labeled);
    status.set_readyReplicas(ready);
    status.set_availableReplicas(available);
    status.set_observedGeneration(view.metadata().generation());
    note_failure(next, status.mutable_node(), static_cast<int64_t>(pods.size()), view.spec().replicas(), managed, now);
    if (schema::equal(set->root()->find("status"), next.root()->find("status"))) return {};
    auto written = client_.update(apps::replicasets, next, "status");
    if (!written && written.error().code != 404) return fail(std::move(written).error());
    return {};
  }

  static void note_failure(Document& next, Node* status, int64_t have, int64_t wanted, const Status& managed,
                           WallTime now) {
    if (managed) {
      remove_condition(next, status, "ReplicaFailure");
      return;
    }
    if (find_condition(status, "ReplicaFailure")) return;
    const char* reason = have < wanted ? "FailedCreate" : "FailedDelete";
    set_condition(next, status, {"ReplicaFailure", "True", reason, managed.error().message}, now, SecondTime::none);
  }

  Client& client_;
  run::Executor& executor_;
  Cache& sets_;
  Cache& pods_;
  std::unique_ptr<EventRecorder> events_;
};

}  // namespace

LoopSpec replica_set(Client& client, Caches& caches) {
  auto sets = std::make_shared<ReplicaSets>(client, caches);
  LoopSpec spec;
  spec.name = "replicaset";
  spec.watches = {
      {&apps::replicasets, client::own_key(), {}},
      {&core::pods, [sets](const Object& pod, const Enqueue& enqueue) { sets->keys_of_pod(pod, enqueue); }, {}}};
  spec.owns = {"status of apps/v1 ReplicaSet", "v1 Pod of ReplicaSet"};
  spec.reconcile = [sets](const Key& key) { return sets->reconcile(key); };
  spec.workers = 5;
  return spec;
}

}  // namespace dure::controllers
