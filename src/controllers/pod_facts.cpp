#include "controllers/pod_facts.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/text.h"

namespace dure::controllers {

bool is_finished(const core::Pod& pod) {
  const std::string_view phase = pod.status().phase();
  return phase == "Succeeded" || phase == "Failed";
}

std::vector<std::string> by_node(const Object& pod) { return {std::string(core::Pod(pod).spec().nodeName())}; }

bool is_active(const core::Pod& pod) { return !is_finished(pod) && pod.metadata().deletionTimestamp().empty(); }

core::PodCondition pod_condition(const core::Pod& pod, std::string_view type) {
  for (const core::PodCondition condition : pod.status().conditions())
    if (condition.type() == type) return condition;
  return {};
}

bool is_ready(const core::Pod& pod) { return pod_condition(pod, "Ready").status() == "True"; }

std::optional<WallTime> ready_changed_at(const core::Pod& pod) {
  return parse_time(pod_condition(pod, "Ready").lastTransitionTime());
}

std::optional<Duration> until_available(const core::Pod& pod, int64_t min_ready_seconds, WallTime now) {
  if (!is_ready(pod) || min_ready_seconds <= 0) return {};
  const auto since = ready_changed_at(pod);
  const Duration wanted = std::chrono::seconds(min_ready_seconds);
  if (!since) return wanted;
  const Duration waited = now - *since;
  if (waited >= wanted) return {};
  return wanted - waited;
}

bool is_available(const core::Pod& pod, int64_t min_ready_seconds, WallTime now) {
  return is_ready(pod) && !until_available(pod, min_ready_seconds, now);
}

std::optional<Duration> until_next_available(const std::vector<Object>& pods, int64_t min_ready_seconds, WallTime now) {
  std::optional<Duration> soonest;
  for (const Object& pod : pods)
    if (const auto wait = until_available(core::Pod(pod), min_ready_seconds, now))
      soonest = std::min(soonest.value_or(*wait), *wait);
  return soonest;
}

bool is_older(const Object& a, const Object& b) {
  const std::string_view a_time = client::meta_string(a, "creationTimestamp");
  const std::string_view b_time = client::meta_string(b, "creationTimestamp");
  return a_time != b_time ? a_time < b_time : client::name_of(a) < client::name_of(b);
}

std::vector<Object> active_pods(const std::vector<Object>& pods) {
  std::vector<Object> active;
  for (const Object& pod : pods)
    if (is_active(core::Pod(pod))) active.push_back(pod);
  return active;
}

namespace {

int phase_rank(std::string_view phase) { return phase == "Running" ? 2 : phase == "Unknown" ? 1 : 0; }

int64_t deletion_cost(const core::Pod& pod) {
  return parse_int(pod.metadata().annotations().get("controller.kubernetes.io/pod-deletion-cost")).value_or(0);
}

int64_t restarts(const core::Pod& pod) {
  int64_t most = 0;
  for (const core::ContainerStatus status : pod.status().containerStatuses())
    most = std::max<int64_t>(most, status.restartCount());
  return most;
}

// Order of magnitude of the time since; absent times count as "just now".
int age_magnitude(const std::optional<WallTime>& since, WallTime now) {
  if (!since) return -1;
  const auto seconds = std::max<int64_t>(0, (now - *since).count() / 1'000'000'000);
  return seconds == 0 ? 0 : static_cast<int>(std::log2(static_cast<double>(seconds)));
}

struct Ranked {
  Object object;
  bool assigned, ready;
  int phase, ready_age, age;
  int64_t cost, on_node, restarts;
  std::string_view uid;
};

Ranked ranked(const Object& object, const std::map<std::string_view, int64_t>& per_node, WallTime now) {
  const core::Pod pod(object);
  const std::string_view node = pod.spec().nodeName();
  const auto on_node = per_node.find(node);
  return {object,
          !node.empty(),
          is_ready(pod),
          phase_rank(pod.status().phase()),
          is_ready(pod) ? age_magnitude(ready_changed_at(pod), now) : 0,
          age_magnitude(parse_time(pod.metadata().creationTimestamp()), now),
          deletion_cost(pod),
          on_node == per_node.end() ? 0 : on_node->second,
          restarts(pod),
          client::uid_of(object)};
}

bool goes_first(const Ranked& a, const Ranked& b) {
  if (a.assigned != b.assigned) return !a.assigned;
  if (a.phase != b.phase) return a.phase < b.phase;
  if (a.ready != b.ready) return !a.ready;
  if (a.cost != b.cost) return a.cost < b.cost;
  if (a.on_node != b.on_node) return a.on_node > b.on_node;
  if (a.ready_age != b.ready_age) return a.ready_age < b.ready_age;
  if (a.restarts != b.restarts) return a.restarts > b.restarts;
  if (a.age != b.age) return a.age < b.age;
  return a.uid < b.uid;
}

}  // namespace

std::vector<Object> in_deletion_order(std::vector<Object> pods, const std::vector<Object>& relatives, WallTime now) {
  std::map<std::string_view, int64_t> per_node;
  for (const Object& relative : relatives) {
    const core::Pod pod(relative);
    if (is_active(pod) && !pod.spec().nodeName().empty()) ++per_node[pod.spec().nodeName()];
  }
  std::vector<Ranked> order;
  order.reserve(pods.size());
  for (const Object& pod : pods) order.push_back(ranked(pod, per_node, now));
  std::sort(order.begin(), order.end(), goes_first);
  for (size_t i = 0; i < pods.size(); ++i) pods[i] = order[i].object;
  return pods;
}

std::vector<std::string> controller_index(const Object& object) {
  const client::OwnerReference owner = client::controller_of(object);
  if (!owner.uid.empty()) return {std::string(owner.uid)};
  return {"orphan/" + std::string(client::namespace_of(object))};
}

std::vector<Object> candidates_of(Cache& cache, const Object& owner) {
  std::vector<Object> found = cache.by_index("controller", client::uid_of(owner));
  for (Object& orphan : cache.by_index("controller", "orphan/" + std::string(client::namespace_of(owner))))
    found.push_back(std::move(orphan));
  return found;
}

}  // namespace dure::controllers
