#include "controllers/disruption.h"

#include <algorithm>
#include <memory>

#include "controllers/conditions.h"
#include "controllers/disruption_plan.h"
#include "controllers/selector.h"
#include "kinds/kinds.h"

namespace dure::controllers {
namespace {

using Budget = policy::PodDisruptionBudget;

Selector selector_of(const Object& budget) { return Selector::from(Budget(budget).spec().selector()); }

class Disruptions {
 public:
  Disruptions(Client& client, Caches& caches)
      : client_(client),
        executor_(caches.executor()),
        budgets_(caches.of(policy::poddisruptionbudgets)),
        pods_(caches.of(core::pods)),
        events_(EventRecorder::create(client, executor_, "controllermanager")) {
    for (const Resource* resource : scaled_resources()) scaled_.push_back({resource, &caches.of(*resource)});
  }

  // What can say how many pods there should be, the makers of pods before those above them.
  static std::vector<const Resource*> scaled_resources() {
    return {&apps::replicasets, &apps::deployments, &apps::statefulsets, &core::replicationcontrollers};
  }

  void keys_of_pod(const Object& pod, const Enqueue& enqueue) const {
    for (const Object& budget : budgets_.list(client::namespace_of(pod)))
      if (selector_of(budget).matches(pod)) enqueue(client::key_of(budget));
  }

  // The number of replicas counts, also while no pod changes.
  void keys_of_workload(const Object& workload, const Enqueue& enqueue) const {
    const auto labels = core::PodTemplateSpec(workload->root()->find("spec", "template")).metadata().labels();
    for (const Object& budget : budgets_.list(client::namespace_of(workload)))
      if (selector_of(budget).matches(labels)) enqueue(client::key_of(budget));
  }

  Outcome reconcile(const Key& key) {
    const Object budget = budgets_.get(key);
    if (!budget || client::is_terminating(budget)) return Outcome::done();
    std::vector<Object> pods = pods_.list(key.namespace_);
    std::erase_if(pods, [selector = selector_of(budget)](const Object& pod) { return !selector.matches(pod); });
    auto expectation = expectation_of(Budget(budget), pods, [this](const Object& pod) { return scale_of(pod); });
    if (!expectation) return refuse(budget, std::move(expectation).error());
    const Evictions evictions = pending_evictions(Budget(budget), pods, executor_.wall_now());
    Document next = budget->clone();
    fill(next, *expectation, count_healthy(pods, evictions), evictions);
    for (const Object& pod : evictions.not_deleted)
      events_->warning(EventAbout::object(pod), "NotDeleted",
                       "Pod was expected by PDB " + key.text() + " to be deleted but it wasn't");
    if (pods.empty() || expectation->unmanaged) tell(budget, next, pods.empty());
    if (Status written = write(budget, next); !written) return Outcome::failed(std::move(written).error());
    return evictions.look_again ? Outcome::after(*evictions.look_again) : Outcome::done();
  }

 private:
  struct Scaled {
    const Resource* resource;
    Cache* cache;
  };

  // The top of the chain that made the pod: a ReplicaSet's Deployment speaks for it.
  Result<std::optional<Scale>> scale_of(const Object& pod) const {
    Object found = pod;
    for (client::OwnerReference owner = client::controller_of(pod); !owner.uid.empty();
         owner = client::controller_of(found)) {
      const auto row = std::find_if(scaled_.begin(), scaled_.end(), [&](const Scaled& one) {
        return one.resource->kind == owner.kind && one.resource->api_version() == owner.api_version;
      });
      if (row == scaled_.end()) {
        if (found != pod) break;  // of a kind that is not asked: what is below it knows its own number
        return fail(internal(qualified(owner) + " does not implement the scale subresource"));
      }
      const Object next = row->cache->get({std::string(client::namespace_of(pod)), std::string(owner.name)});
      if (!next || client::uid_of(next) != owner.uid) return std::nullopt;
      found = next;
    }
    const Node* replicas = found->root()->find("spec", "replicas");
    return Scale{std::string(client::uid_of(found)), replicas ? replicas->integer() : 1};
  }

  static std::string qualified(const client::OwnerReference& owner) {
    for (const Resource* resource : kinds::resources())
      if (resource->kind == owner.kind && resource->api_version() == owner.api_version) return resource->qualified();
    return std::string(owner.kind);
  }

  static void fill(Document& next, const Expectation& expectation, int64_t healthy, const Evictions& evictions) {
    policy::PodDisruptionBudgetStatus status = Budget(next).mutable_status();
    status.set_expectedPods(expectation.expected);
    status.set_desiredHealthy(expectation.desired);
    status.set_currentHealthy(healthy);
    status.set_disruptionsAllowed(disruptions_allowed(expectation, healthy));
    status.clear_disruptedPods();
    for (const auto& [pod, time] : evictions.pending) status.set_disruptedPods(pod, time);
    status.set_observedGeneration(Budget(next).metadata().generation());
  }

  void tell(const Object& budget, const Document& next, bool no_pods) {
    if (schema::equal(budget->root()->find("status", "observedGeneration"),
                      next.root()->find("status", "observedGeneration")))
      return;  // told once for each wish
    if (no_pods)
      events_->normal(EventAbout::object(budget), "NoPods", "No matching pods found");
    else
      events_->warning(EventAbout::object(budget), "UnmanagedPods",
                       "Pods selected by this PodDisruptionBudget have no controller and are not counted; an integer "
                       "as .spec.minAvailable counts them");
  }

  Outcome refuse(const Object& budget, Error why) {
    events_->warning(EventAbout::object(budget), "CalculateExpectedPodCountFailed",
                     "Failed to calculate the number of expected pods: " + why.message);
    Document next = budget->clone();
    Budget(next).mutable_status().set_disruptionsAllowed(0);
    Status written = write(budget, next, why.message);
    return Outcome::failed(written ? std::move(why) : std::move(written).error());
  }

  Status write(const Object& budget, Document& next, const std::string& failure = {}) {
    const int64_t allowed = Budget(next).status().disruptionsAllowed();
    Node* status = next.member(next.root(), "status");
    const Condition condition{"DisruptionAllowed", allowed > 0 ? "True" : "False",
                              !failure.empty() ? "SyncFailed"
                              : allowed > 0    ? "SufficientPods"
                                               : "InsufficientPods",
                              failure};
    set_condition(next, status, condition, executor_.wall_now(), SecondTime::none);
    Node* item = condition_of(status, condition.type);
    next.set(next.member(item, "observedGeneration"), client::generation_of(budget));
    next.set(next.member(item, "message"), std::string_view(failure));
    if (schema::equal(budget->root()->find("status"), status)) return {};
    auto written = client_.update(policy::poddisruptionbudgets, next, "status");
    if (!written && written.error().code != 404) return fail(std::move(written).error());
    return {};
  }

  Client& client_;
  run::Executor& executor_;
  Cache& budgets_;
  Cache& pods_;
  std::unique_ptr<EventRecorder> events_;
  std::vector<Scaled> scaled_;
};

}  // namespace

LoopSpec disruption(Client& client, Caches& caches) {
  auto disruptions = std::make_shared<Disruptions>(client, caches);
  LoopSpec spec;
  spec.name = "disruption";
  spec.watches = {{&policy::poddisruptionbudgets, client::own_key(), {}},
                  {&core::pods,
                   [disruptions](const Object& pod, const Enqueue& enqueue) { disruptions->keys_of_pod(pod, enqueue); },
                   {}}};
  for (const Resource* resource : Disruptions::scaled_resources())
    spec.watches.push_back({resource,
                            [disruptions](const Object& workload, const Enqueue& enqueue) {
                              disruptions->keys_of_workload(workload, enqueue);
                            },
                            {}});
  spec.owns = {"status of policy/v1 PodDisruptionBudget"};
  spec.reconcile = [disruptions](const Key& key) { return disruptions->reconcile(key); };
  return spec;
}

}  // namespace dure::controllers
