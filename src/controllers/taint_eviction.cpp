#include <memory>

#include "controllers/conditions.h"
#include "controllers/node_lifecycle.h"
#include "controllers/node_rules.h"
#include "controllers/pod_facts.h"

namespace dure::controllers {
namespace {

class Evictions {
 public:
  Evictions(Client& client, Caches& caches)
      : client_(client),
        executor_(caches.executor()),
        nodes_(caches.of(core::nodes)),
        pods_(caches.of(core::pods)),
        events_(EventRecorder::create(client, executor_, "taint-eviction-controller")) {
    pods_.add_index("node", by_node);
  }

  void keys_of_node(const Object& node, const Enqueue& enqueue) const {
    for (const core::Taint taint : core::Node(node).spec().taints()) {
      if (taint.effect() != "NoExecute") continue;
      for (const Object& pod : pods_.by_index("node", client::name_of(node))) enqueue(client::key_of(pod));
      return;
    }
  }

  static void keys_of_pod(const Object& pod, const Enqueue& enqueue) {
    if (!core::Pod(pod).spec().nodeName().empty()) enqueue(client::key_of(pod));
  }

  Outcome reconcile(const Key& key) {
    const Object pod = pods_.get(key);
    if (!pod || !is_active(core::Pod(pod))) return Outcome::done();
    const Object node = nodes_.get({{}, std::string(core::Pod(pod).spec().nodeName())});
    if (!node) return Outcome::done();
    const auto left = time_left(core::Pod(pod).spec(), core::Node(node).spec());
    if (!left) return Outcome::done();
    if (*left > Duration::zero()) return Outcome::after(*left);
    return evict(pod);
  }

 private:
  // Absent: the pod may stay.
  std::optional<Duration> time_left(const core::PodSpec& pod, const core::NodeSpec& node) const {
    std::optional<Duration> soonest;
    for (const core::Taint taint : node.taints()) {
      if (taint.effect() != "NoExecute") continue;
      const auto left = time_left(pod, taint);
      if (left && (!soonest || *left < *soonest)) soonest = left;
    }
    return soonest;
  }

  std::optional<Duration> time_left(const core::PodSpec& pod, const core::Taint& taint) const {
    bool tolerated = false;
    std::optional<int64_t> seconds;
    for (const core::Toleration toleration : pod.tolerations()) {
      if (!tolerates(toleration, taint)) continue;
      tolerated = true;
      // The shortest of several tolerations counts, as upstream has it.
      if (toleration.has_tolerationSeconds())
        seconds = std::min(seconds.value_or(INT64_MAX), std::max<int64_t>(0, toleration.tolerationSeconds()));
    }
    if (!tolerated) return Duration::zero();
    if (!seconds) return {};
    const WallTime now = executor_.wall_now();
    const WallTime since = parse_time(taint.timeAdded()).value_or(now);  // node_lifecycle writes it in a moment
    return since + std::chrono::seconds(*seconds) - now;
  }

  Outcome evict(const Object& pod) {
    events_->normal(EventAbout::object(pod), "TaintManagerEviction",
                    "Marking for deletion Pod " + client::key_of(pod).text());
    Document next = pod->clone();
    set_condition(
        next, next.member(next.root(), "status"),
        {"DisruptionTarget", "True", "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint"},
        executor_.wall_now(), SecondTime::none);
    auto told = client_.update(core::pods, next, "status");
    if (!told) return outcome_of(std::move(told));
    client::DeleteOptions options;
    options.precondition_uid = std::string(client::uid_of(pod));
    return outcome_of(client_.remove(core::pods, client::key_of(pod), options));
  }

  Client& client_;
  run::Executor& executor_;
  Cache& nodes_;
  Cache& pods_;
  std::unique_ptr<EventRecorder> events_;
};

}  // namespace

LoopSpec taint_eviction(Client& client, Caches& caches) {
  auto evictions = std::make_shared<Evictions>(client, caches);
  LoopSpec spec;
  spec.name = "taint-eviction";
  spec.watches = {{&core::nodes,
                   [evictions](const Object& node, const Enqueue& enqueue) { evictions->keys_of_node(node, enqueue); },
                   {}},
                  {&core::pods, Evictions::keys_of_pod, {}}};
  spec.owns = {"deletion of v1 Pods by taints"};
  spec.reconcile = [evictions](const Key& key) { return evictions->reconcile(key); };
  spec.workers = 4;
  return spec;
}

}  // namespace dure::controllers
