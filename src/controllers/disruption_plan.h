// How many pods of a PodDisruptionBudget may go by intent. Pure. Source of the behaviour: policy/v1 of 1.34.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "controllers/api.h"
#include "kinds/views/policy_v1.h"

namespace dure::controllers {

namespace policy = kinds::policy_v1;

// The workload that decides how many pods there should be.
struct Scale {
  std::string uid;
  int64_t replicas = 0;
};
// The workload of a pod by its controller; nothing: it is gone, or not the one that made the pod. An error: its kind
// has no scale.
using ScaleOf = std::function<Result<std::optional<Scale>>(const Object& pod)>;

struct Expectation {
  int64_t expected = 0;    // pods there should be
  int64_t desired = 0;     // healthy ones there must be
  bool unmanaged = false;  // a pod that nobody controls was left out
};
// With an integer minAvailable the pods that are there are what is expected; all else asks the workloads.
Result<Expectation> expectation_of(const policy::PodDisruptionBudget& budget, const std::vector<Object>& pods,
                                   const ScaleOf& scale_of);

// An eviction is believed for so long; then the pod counts again.
inline constexpr Duration eviction_believed_for = 2min;

struct Evictions {
  std::map<std::string, std::string> pending;  // status.disruptedPods that still hold: pod -> time
  std::vector<Object> not_deleted;             // pods whose time is over
  std::optional<Duration> look_again;
};
Evictions pending_evictions(const policy::PodDisruptionBudget& budget, const std::vector<Object>& pods, WallTime now);

int64_t count_healthy(const std::vector<Object>& pods, const Evictions& evictions);
// Nothing may go while no pod is expected.
int64_t disruptions_allowed(const Expectation& expectation, int64_t healthy);

}  // namespace dure::controllers
