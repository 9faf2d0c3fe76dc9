#include "controllers/disruption_plan.h"

#include <algorithm>
#include <set>

#include "controllers/deployment_plan.h"
#include "controllers/pod_facts.h"

namespace dure::controllers {
namespace {

Result<int64_t> expected_by_scale(const std::vector<Object>& pods, const ScaleOf& scale_of, bool& unmanaged) {
  std::map<std::string, int64_t> workloads;
  for (const Object& pod : pods) {
    if (client::controller_of(pod).uid.empty()) {
      unmanaged = true;
      continue;
    }
    DURE_TRY(const std::optional<Scale> scale, scale_of(pod));
    if (!scale) return fail(internal("found no controllers for pod \"" + std::string(client::name_of(pod)) + "\""));
    workloads[scale->uid] = scale->replicas;
  }
  int64_t sum = 0;
  for (const auto& [uid, replicas] : workloads) sum += replicas;
  return sum;
}

}  // namespace

Result<Expectation> expectation_of(const policy::PodDisruptionBudget& budget, const std::vector<Object>& pods,
                                   const ScaleOf& scale_of) {
  Expectation out;
  const Node *most = budget.spec().maxUnavailable(), *least = budget.spec().minAvailable();
  if (!most && !least) return out;
  if (!most && !least->is_string()) {
    out.expected = static_cast<int64_t>(pods.size());
    out.desired = least->integer();
    return out;
  }
  DURE_TRY(out.expected, expected_by_scale(pods, scale_of, out.unmanaged));
  out.desired = most ? std::max<int64_t>(0, out.expected - scaled_value(most, out.expected, true))
                     : scaled_value(least, out.expected, true);
  return out;
}

Evictions pending_evictions(const policy::PodDisruptionBudget& budget, const std::vector<Object>& pods, WallTime now) {
  Evictions out;
  const auto evicted = budget.status().disruptedPods();
  for (const Object& pod : pods) {
    const std::string name(client::name_of(pod));
    if (client::is_terminating(pod) || !evicted.contains(name)) continue;
    const std::string time(evicted.get(name));
    const Duration left = parse_time(time).value_or(WallTime{}) + eviction_believed_for - now;
    if (left <= Duration::zero()) {
      out.not_deleted.push_back(pod);
      continue;
    }
    out.pending.emplace(name, time);
    out.look_again = std::min(out.look_again.value_or(left), left);
  }
  return out;
}

int64_t count_healthy(const std::vector<Object>& pods, const Evictions& evictions) {
  return std::count_if(pods.begin(), pods.end(), [&](const Object& pod) {
    return !client::is_terminating(pod) && !evictions.pending.contains(std::string(client::name_of(pod))) &&
           is_ready(core::Pod(pod));
  });
}

int64_t disruptions_allowed(const Expectation& expectation, int64_t healthy) {
  return expectation.expected <= 0 ? 0 : std::max<int64_t>(0, healthy - expectation.desired);
}

}  // namespace dure::controllers
