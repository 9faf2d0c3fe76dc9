// The arithmetic of a Deployment: how many pods each ReplicaSet gets. Pure; the rounding is upstream's.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "controllers/api.h"

namespace dure::controllers {

// An IntOrString against a total: a percentage is rounded up or down, a number taken as it is, nothing is 0.
int64_t scaled_value(const Node* int_or_percent, int64_t total, bool round_up);

// What a Deployment asks for, in numbers.
struct Rollout {
  bool rolling = true;  // RollingUpdate, otherwise Recreate
  int64_t replicas = 1;
  int64_t surge = 0;        // pods above `replicas`; 0 for Recreate
  int64_t unavailable = 0;  // pods that may be missing; at least 1 when surge is 0
  int64_t pods_max() const { return replicas + surge; }
};
Rollout rollout_of(const apps::Deployment& deployment);

// One ReplicaSet of the Deployment.
struct SetSize {
  int64_t wanted = 0;                            // spec.replicas
  int64_t actual = 0, ready = 0, available = 0;  // status
  int64_t desired_before = -1;                   // annotation deployment.kubernetes.io/desired-replicas; -1: none
  int64_t pods_max_before = -1;                  // annotation deployment.kubernetes.io/max-replicas
};
SetSize size_of(const Object& replica_set);
int64_t total_wanted(const std::vector<SetSize>& sets);

// The new ReplicaSet's next size when all of them together want `total` pods.
int64_t next_new_size(const Rollout& rollout, int64_t total, int64_t new_size);
// Next sizes of the old ones, oldest first: unhealthy pods go first, then healthy ones as availability allows.
std::vector<int64_t> next_old_sizes(const Rollout& rollout, const std::vector<SetSize>& old_oldest_first,
                                    const SetSize& new_set);
// Sizes after `replicas` changed in the middle of a rollout: the difference is shared in proportion. `active` are those
// with wanted pods, in the order in which they take the remainder.
std::vector<int64_t> proportional_sizes(const Rollout& rollout, const std::vector<SetSize>& active,
                                        int64_t status_replicas);

}  // namespace dure::controllers
