#include "controllers/pod_gc.h"

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>

#include "controllers/conditions.h"
#include "controllers/node_rules.h"
#include "controllers/pod_facts.h"

namespace dure::controllers {
namespace {

constexpr std::string_view terminated_key = "terminated";  // not a name of a pod: those are namespaced

class PodGc {
 public:
  PodGc(Client& client, Caches& caches, PodGcOptions options)
      : client_(client),
        executor_(caches.executor()),
        options_(options),
        nodes_(caches.of(core::nodes)),
        pods_(caches.of(core::pods)) {
    pods_.add_index("node", by_node);
    pods_.add_index("finished", [](const Object& pod) {
      return is_finished(core::Pod(pod)) ? std::vector<std::string>{"yes"} : std::vector<std::string>{};
    });
  }

  void keys_of_pod(const Object& object, const Enqueue& enqueue) const {
    const core::Pod pod(object);
    const bool has_node = !pod.spec().nodeName().empty();
    const Object node = has_node ? nodes_.get({{}, std::string(pod.spec().nodeName())}) : nullptr;
    const bool is_leaving = client::is_terminating(object);
    if ((has_node && !node) || (is_leaving && (!has_node || is_out_of_service(node)))) enqueue(client::key_of(object));
    if (is_finished(pod)) enqueue({{}, std::string(terminated_key)});
  }

  void keys_of_node(const Object& node, const Enqueue& enqueue) {
    const Object now = nodes_.get(client::key_of(node));
    if (now) forget(std::string(client::name_of(node)));
    if (now && !is_out_of_service(now)) return;
    for (const Object& pod : pods_.by_index("node", client::name_of(node))) enqueue(client::key_of(pod));
  }

  Outcome reconcile(const Key& key) {
    if (key.namespace_.empty()) return trim_terminated();
    const Object pod = pods_.get(key);
    if (!pod) return Outcome::done();
    const std::string node_name(core::Pod(pod).spec().nodeName());
    const bool is_leaving = client::is_terminating(pod);
    if (node_name.empty())
      return is_leaving ? force_delete(pod, "Deleting a terminating pod that was never scheduled") : Outcome::done();
    const Object node = nodes_.get({{}, node_name});
    if (node) {
      if (is_leaving && is_out_of_service(node) && !is_ready_node(node))
        return force_delete(pod, "Deleting a terminating pod on a node that is out of service");
      return Outcome::done();
    }
    // A node that was deleted by mistake comes back with its next heartbeat.
    const Duration left = options_.node_gone_grace - gone_for(node_name);
    if (left > Duration::zero()) return Outcome::after(left);
    auto live = client_.get(core::nodes, {{}, node_name});
    if (live) return Outcome::done();
    if (live.error().code != 404) return Outcome::failed(std::move(live).error());
    return force_delete(pod, "PodGC: node no longer exists");
  }

 private:
  static bool is_out_of_service(const Object& node) {
    const core::NodeSpec spec = core::Node(node).spec();
    return has_taint(spec, "node.kubernetes.io/out-of-service", "NoExecute") ||
           has_taint(spec, "node.kubernetes.io/out-of-service", "NoSchedule");
  }
  static bool is_ready_node(const Object& node) { return is_condition_true(node->root()->find("status"), "Ready"); }

  Duration gone_for(const std::string& node) {
    std::lock_guard lock(mutex_);
    const Monotonic now = executor_.now();
    return now - gone_since_.try_emplace(node, now).first->second;
  }
  void forget(const std::string& node) {
    std::lock_guard lock(mutex_);
    gone_since_.erase(node);
  }

  Outcome force_delete(const Object& pod, std::string_view why) {
    if (!is_finished(core::Pod(pod))) {
      Document next = pod->clone();
      core::Pod(next).mutable_status().set_phase("Failed");
      set_condition(next, next.member(next.root(), "status"),
                    {"DisruptionTarget", "True", "DeletionByPodGC", std::string(why)}, executor_.wall_now(),
                    SecondTime::none);
      auto told = client_.update(core::pods, next, "status");
      if (!told) return outcome_of(std::move(told));
    }
    client::DeleteOptions options;
    options.grace_period_seconds = 0;
    options.precondition_uid = std::string(client::uid_of(pod));
    return outcome_of(client_.remove(core::pods, client::key_of(pod), options));
  }

  Outcome trim_terminated() {
    if (options_.terminated_max <= 0) return Outcome::done();
    std::vector<Object> finished = pods_.by_index("finished", "yes");
    const int64_t surplus = static_cast<int64_t>(finished.size()) - options_.terminated_max;
    if (surplus <= 0) return Outcome::done();
    std::stable_sort(finished.begin(), finished.end(), [](const Object& a, const Object& b) {
      return client::meta_string(a, "creationTimestamp") < client::meta_string(b, "creationTimestamp");
    });
    for (int64_t i = 0; i < surplus; ++i)
      if (Outcome one = force_delete(finished[static_cast<size_t>(i)], {}); one.error) return one;
    return Outcome::done();
  }

  Client& client_;
  run::Executor& executor_;
  const PodGcOptions options_;
  Cache& nodes_;
  Cache& pods_;
  std::mutex mutex_;
  std::map<std::string, Monotonic> gone_since_;  // can be lost: the grace begins anew
};

}  // namespace

LoopSpec pod_gc(Client& client, Caches& caches, PodGcOptions options) {
  auto gc = std::make_shared<PodGc>(client, caches, options);
  LoopSpec spec;
  spec.name = "pod-gc";
  spec.watches = {
      {&core::pods, [gc](const Object& pod, const Enqueue& enqueue) { gc->keys_of_pod(pod, enqueue); }, {}},
      {&core::nodes, [gc](const Object& node, const Enqueue& enqueue) { gc->keys_of_node(node, enqueue); }, {}}};
  spec.owns = {"deletion of orphaned and finished v1 Pods"};
  spec.reconcile = [gc](const Key& key) { return gc->reconcile(key); };
  return spec;
}

}  // namespace dure::controllers
