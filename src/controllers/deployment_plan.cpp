#include "controllers/deployment_plan.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/text.h"

namespace dure::controllers {

int64_t scaled_value(const Node* int_or_percent, int64_t total, bool round_up) {
  if (!int_or_percent) return 0;
  if (!int_or_percent->is_string()) return int_or_percent->integer();
  std::string_view text = int_or_percent->string();
  if (text.empty() || text.back() != '%') return parse_int(text).value_or(0);
  text.remove_suffix(1);
  const int64_t scaled = parse_int(text).value_or(0) * total;
  return round_up ? (scaled + 99) / 100 : scaled / 100;
}

Rollout rollout_of(const apps::Deployment& deployment) {
  Rollout rollout;
  rollout.replicas = deployment.spec().replicas();
  rollout.rolling = deployment.spec().strategy().type() != "Recreate";
  if (!rollout.rolling) return rollout;
  const apps::RollingUpdateDeployment rolling = deployment.spec().strategy().rollingUpdate();
  rollout.surge = scaled_value(rolling.maxSurge(), rollout.replicas, true);
  int64_t unavailable = scaled_value(rolling.maxUnavailable(), rollout.replicas, false);
  // Both zero would never move.
  if (rollout.surge == 0 && unavailable == 0) unavailable = 1;
  rollout.unavailable = std::min(unavailable, rollout.replicas);
  return rollout;
}

SetSize size_of(const Object& replica_set) {
  const apps::ReplicaSet set(replica_set);
  const auto annotated = [&](std::string_view key) {
    return parse_int(client::annotation(replica_set, key)).value_or(-1);
  };
  return {set.spec().replicas(),
          set.status().replicas(),
          set.status().readyReplicas(),
          set.status().availableReplicas(),
          annotated("deployment.kubernetes.io/desired-replicas"),
          annotated("deployment.kubernetes.io/max-replicas")};
}

int64_t total_wanted(const std::vector<SetSize>& sets) {
  return std::accumulate(sets.begin(), sets.end(), int64_t{0},
                         [](int64_t sum, const SetSize& set) { return sum + set.wanted; });
}

int64_t next_new_size(const Rollout& rollout, int64_t total, int64_t new_size) {
  if (!rollout.rolling) return rollout.replicas;
  if (new_size > rollout.replicas) return rollout.replicas;
  if (total >= rollout.pods_max()) return new_size;
  return new_size + std::min(rollout.pods_max() - total, rollout.replicas - new_size);
}

namespace {

// Takes up to `budget` pods that are not available away; answers how many.
int64_t drop_unhealthy(std::vector<SetSize>& sets, int64_t budget) {
  int64_t dropped = 0;
  for (SetSize& set : sets) {
    if (dropped >= budget) break;
    const int64_t count = std::min(budget - dropped, std::max<int64_t>(0, set.wanted - set.available));
    set.wanted -= count;
    dropped += count;
  }
  return dropped;
}

void drop_healthy(std::vector<SetSize>& sets, int64_t budget) {
  for (SetSize& set : sets) {
    if (budget <= 0) break;
    const int64_t count = std::min(set.wanted, budget);
    set.wanted -= count;
    budget -= count;
  }
}

}  // namespace

std::vector<int64_t> next_old_sizes(const Rollout& rollout, const std::vector<SetSize>& old_oldest_first,
                                    const SetSize& new_set) {
  std::vector<SetSize> sets = old_oldest_first;
  const auto sizes = [&] {
    std::vector<int64_t> wanted;
    for (const SetSize& set : sets) wanted.push_back(set.wanted);
    return wanted;
  };
  const int64_t available_min = rollout.replicas - rollout.unavailable;
  const int64_t new_unavailable = new_set.wanted - new_set.available;
  const int64_t budget = total_wanted(sets) + new_set.wanted - available_min - new_unavailable;
  if (total_wanted(sets) == 0 || budget <= 0) return sizes();
  drop_unhealthy(sets, budget);
  int64_t available = new_set.available;
  for (const SetSize& set : sets) available += set.available;
  drop_healthy(sets, available - available_min);
  return sizes();
}

std::vector<int64_t> proportional_sizes(const Rollout& rollout, const std::vector<SetSize>& active,
                                        int64_t status_replicas) {
  const int64_t allowed = rollout.replicas > 0 ? rollout.pods_max() : 0;
  const int64_t to_add = allowed - total_wanted(active);
  const auto fraction = [&](const SetSize& set) -> int64_t {
    if (rollout.replicas == 0) return -set.wanted;
    int64_t before = set.pods_max_before;
    if (before <= 0) before = status_replicas;
    if (before == 0) return 0;
    const double size = static_cast<double>(set.wanted * rollout.pods_max()) / static_cast<double>(before);
    return std::llround(size) - set.wanted;
  };
  std::vector<int64_t> sizes;
  int64_t added = 0;
  for (const SetSize& set : active) {
    int64_t share = 0;
    if (set.wanted != 0 && to_add != added) {
      const int64_t rest = to_add - added;
      share = to_add > 0 ? std::min(fraction(set), rest) : std::max(fraction(set), rest);
    }
    added += share;
    sizes.push_back(set.wanted + share);
  }
  if (!sizes.empty()) sizes.front() = std::max<int64_t>(0, sizes.front() + to_add - added);
  return sizes;
}

}  // namespace dure::controllers
