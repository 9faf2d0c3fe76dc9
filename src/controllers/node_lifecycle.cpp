#include "controllers/node_lifecycle.h"

#include <map>
#include <memory>
#include <mutex>

#include "controllers/conditions.h"
#include "controllers/node_rules.h"
#include "controllers/pod_facts.h"
#include "kinds/views/coordination_v1.h"

namespace dure::controllers {
namespace {

namespace coordination = kinds::coordination_v1;

constexpr std::string_view lease_namespace = "kube-node-lease";
constexpr std::string_view not_ready = "node.kubernetes.io/not-ready";
constexpr std::string_view unreachable = "node.kubernetes.io/unreachable";

// How often a silent node is looked at: who else is silent tells whether it is they or we who are cut off.
constexpr Duration silence_look = 1min;

struct NoScheduleRow {
  std::string_view condition, status, taint;
};
constexpr NoScheduleRow no_schedule_rows[] = {
    {"Ready", "False", not_ready},
    {"Ready", "Unknown", unreachable},
    {"MemoryPressure", "True", "node.kubernetes.io/memory-pressure"},
    {"DiskPressure", "True", "node.kubernetes.io/disk-pressure"},
    {"PIDPressure", "True", "node.kubernetes.io/pid-pressure"},
    {"NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"},
};

std::string condition_status(const Document& node, std::string_view type) {
  const auto condition = find_condition(node.root()->find("status"), type);
  return condition ? condition->status : std::string();
}

class Nodes {
 public:
  Nodes(Client& client, Caches& caches, NodeLifecycleOptions options)
      : client_(client),
        executor_(caches.executor()),
        options_(options),
        nodes_(caches.of(core::nodes)),
        leases_(caches.of(coordination::leases)),
        pods_(caches.of(core::pods)),
        events_(EventRecorder::create(client, executor_, "node-controller")) {
    pods_.add_index("node", by_node);
  }

  static void keys_of_lease(const Object& lease, const Enqueue& enqueue) {
    if (client::namespace_of(lease) == lease_namespace) enqueue({{}, std::string(client::name_of(lease))});
  }

  Outcome reconcile(const Key& key) {
    const Object node = nodes_.get(key);
    if (!node) {
      std::lock_guard lock(mutex_);
      seen_.erase(key.name);
      return Outcome::done();
    }
    const Duration left = time_left(node);
    Document next = node->clone();
    const bool is_silent = left <= Duration::zero();
    if (is_silent && mark_silent(next)) {
      auto written = client_.update(core::nodes, next, "status");
      if (!written) return Outcome::failed(std::move(written).error());
      events_->normal(EventAbout::object(node), "NodeNotReady", "Node " + key.name + " status is now: NodeNotReady");
      next = (*written)->clone();
    }
    const Taints taints = set_taints(next);
    if (taints.changed) {
      auto written = client_.update(core::nodes, next);
      if (!written) return Outcome::failed(std::move(written).error());
    }
    // A node that says itself that it is not ready is alive, and knows best about its pods.
    if (is_silent)
      if (Status marked = mark_pods_not_ready(key.name); !marked) return Outcome::failed(std::move(marked).error());
    if (taints.look_again) return Outcome::after(*taints.look_again);
    return Outcome::after(is_silent ? silence_look : left);
  }

 private:
  struct Seen {
    std::string renewal;  // what the node last said, as text
    Monotonic at;
  };

  // Until the node counts as silent.
  Duration time_left(const Object& node) {
    const std::string name(client::name_of(node));
    const Object lease = leases_.get({std::string(lease_namespace), name});
    std::string renewal = lease ? std::string(coordination::Lease(lease).spec().renewTime()) : std::string();
    bool has_status = false;
    for (const core::NodeCondition condition : core::Node(node).status().conditions()) {
      if (condition.type() != "Ready") continue;
      has_status = true;
      // Our own "Unknown" keeps the node's heartbeat time, so it does not look like a sign of life.
      renewal += "/" + std::string(condition.lastHeartbeatTime());
    }
    const Monotonic now = executor_.now();
    std::lock_guard lock(mutex_);
    auto [at, is_new] = seen_.try_emplace(name, Seen{renewal, now});
    if (at->second.renewal != renewal) at->second = {renewal, now};
    const Duration grace = has_status || lease ? options_.grace : options_.startup_grace;
    return grace - (now - at->second.at);
  }

  struct Taints {
    bool changed = false;
    std::optional<Duration> look_again;  // an eviction is put off
  };

  // Answers whether something changed.
  bool mark_silent(Document& node) const {
    Node* status = node.member(node.root(), "status");
    bool changed = false;
    for (const char* type : {"Ready", "MemoryPressure", "DiskPressure", "PIDPressure"}) {
      const auto old = find_condition(status, type);
      if (old && old->status == "Unknown") continue;
      const std::string heartbeat = old ? heartbeat_of(condition_of(status, type)) : std::string();
      set_condition(node, status,
                    {type, "Unknown", old ? "NodeStatusUnknown" : "NodeStatusNeverUpdated",
                     old ? "Kubelet stopped posting node status." : "Kubelet never posted node status."},
                    executor_.wall_now(), SecondTime::none);
      if (!heartbeat.empty()) core::NodeCondition(&node, condition_of(status, type)).set_lastHeartbeatTime(heartbeat);
      changed = true;
    }
    return changed;
  }

  static std::string heartbeat_of(const Node* condition) {
    return std::string(core::NodeCondition(condition).lastHeartbeatTime());
  }

  Taints set_taints(Document& node) const {
    Taints out;
    bool& changed = out.changed;
    for (const NoScheduleRow& row : no_schedule_rows) {
      const std::string status = condition_status(node, row.condition);
      // A newcomer is admitted with the taint not-ready and keeps it until it says that it is ready.
      if (status.empty() && row.condition == "Ready") continue;
      changed |= status == row.status ? add_taint(node, row.taint, "NoSchedule", {})
                                      : drop_taint(node, row.taint, "NoSchedule");
    }
    changed |= core::Node(node).spec().unschedulable()
                   ? add_taint(node, "node.kubernetes.io/unschedulable", "NoSchedule", {})
                   : drop_taint(node, "node.kubernetes.io/unschedulable", "NoSchedule");
    const std::string ready = condition_status(node, "Ready");
    const WallTime now = executor_.wall_now();
    changed |= note_times(node, now);
    if (ready == "True" || ready.empty()) {
      changed |= drop_taint(node, not_ready, "NoExecute");
      changed |= drop_taint(node, unreachable, "NoExecute");
    } else if (ready == "False") {
      changed |= drop_taint(node, unreachable, "NoExecute");
      changed |= add_taint(node, not_ready, "NoExecute", now);
    } else {
      changed |= drop_taint(node, not_ready, "NoExecute");
      out.look_again = put_off(node, now);
      changed |=
          out.look_again ? drop_taint(node, unreachable, "NoExecute") : add_taint(node, unreachable, "NoExecute", now);
    }
    return out;
  }

  // Tolerations for a time count from timeAdded, which people's tools do not write.
  static bool note_times(Document& node, WallTime now) {
    bool changed = false;
    for (core::Taint taint : core::Node(node).mutable_spec().mutable_taints()) {
      if (taint.effect() != "NoExecute" || !taint.timeAdded().empty()) continue;
      taint.set_timeAdded(format_time(now));
      changed = true;
    }
    return changed;
  }

  // How long the eviction of a silent node waits at least; absent: not at all.
  std::optional<Duration> put_off(const Document& node, WallTime now) const {
    if (is_cut_off(nodes_.list())) return silence_look;
    const auto ready = find_condition(node.root()->find("status"), "Ready");
    const WallTime since = parse_time(ready ? ready->last_transition : std::string()).value_or(now);
    const Duration left = since + silence_allowed(node) - now;
    return left > Duration::zero() ? std::optional(left) : std::nullopt;
  }

  // Endpoints must not point to a node that does not answer.
  Status mark_pods_not_ready(const std::string& node) {
    for (const Object& pod : pods_.by_index("node", node)) {
      if (!is_ready(core::Pod(pod))) continue;
      Document next = pod->clone();
      Node* status = next.member(next.root(), "status");
      const auto old = find_condition(status, "Ready");
      set_condition(next, status, {"Ready", "False", old->reason, "the node does not answer"}, executor_.wall_now(),
                    SecondTime::none);
      auto written = client_.update(core::pods, next, "status");
      if (written)
        events_->warning(EventAbout::object(pod), "NodeNotReady", "Node is not ready");
      else if (written.error().code != 404)
        return fail(std::move(written).error());
    }
    return {};
  }

  Client& client_;
  run::Executor& executor_;
  const NodeLifecycleOptions options_;
  Cache& nodes_;
  Cache& leases_;
  Cache& pods_;
  std::unique_ptr<EventRecorder> events_;
  std::mutex mutex_;
  std::map<std::string, Seen> seen_;  // can be lost: nodes then get a fresh grace
};

}  // namespace

LoopSpec node_lifecycle(Client& client, Caches& caches, NodeLifecycleOptions options) {
  auto nodes = std::make_shared<Nodes>(client, caches, options);
  LoopSpec spec;
  spec.name = "node-lifecycle";
  spec.watches = {{&core::nodes, client::own_key(), {}},
                  {&coordination::leases, Nodes::keys_of_lease, {}},
                  {&core::pods, nullptr, {}}};
  spec.owns = {"taints of v1 Node", "conditions Unknown of v1 Node"};
  spec.reconcile = [nodes](const Key& key) { return nodes->reconcile(key); };
  spec.workers = 1;
  return spec;
}

}  // namespace dure::controllers
