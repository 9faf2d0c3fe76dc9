#include "scheduler/plan.h"

#include <algorithm>
#include <array>
#include <map>

#include "base/text.h"
#include "scheduler/plugins/plugins.h"

namespace dure::scheduler {
namespace {

// Upstream's order and weights (default plugins of v1.34).
constexpr std::array<Filter, 6> kFilters = {{
    {"NodeUnschedulable", check_unschedulable},
    {"NodeName", check_node_name},
    {"TaintToleration", check_taints},
    {"NodeAffinity", check_node_affinity},
    {"NodePorts", check_node_ports},
    {"NodeResourcesFit", check_resources},
}};
constexpr std::array<Score, 5> kScores = {{
    {"TaintToleration", 3, rate_taints},
    {"NodeAffinity", 2, rate_node_affinity},
    {"PodTopologySpread", 2, rate_spread},
    {"NodeResourcesFit", 1, rate_least_allocated},
    {"NodeResourcesBalancedAllocation", 1, rate_balanced},
}};

// The first rule that refuses speaks for the node.
Reasons refusals(const PodNeeds& pod, const NodeRoom& node) {
  Reasons reasons;
  for (const Filter& filter : kFilters) {
    filter.check(pod, node, reasons);
    if (!reasons.empty()) break;
  }
  return reasons;
}

std::string sentence(size_t nodes, const std::map<std::string, int>& counts) {
  if (nodes == 0) return "no nodes available to schedule pods";
  std::vector<std::string> parts;
  for (const auto& [reason, count] : counts) parts.push_back(std::to_string(count) + " " + reason);
  std::sort(parts.begin(), parts.end());
  return "0/" + std::to_string(nodes) + " nodes are available: " + join(parts, ", ") + ".";
}

}  // namespace

Decision decide(const PodNeeds& pod, const Snapshot& snapshot, uint64_t tie_breaker) {
  std::vector<const NodeRoom*> fitting;
  std::map<std::string, int> counts;
  for (const NodeRoom& node : snapshot.nodes()) {
    const Reasons reasons = refusals(pod, node);
    if (reasons.empty()) fitting.push_back(&node);
    for (const std::string& reason : reasons) ++counts[reason];
  }
  if (fitting.empty()) return {{}, sentence(snapshot.nodes().size(), counts)};

  std::vector<int64_t> total(fitting.size());
  for (const Score& score : kScores) {
    std::vector<int64_t> one(fitting.size());
    score.rate(pod, fitting, one);
    for (size_t i = 0; i < one.size(); ++i) total[i] += score.weight * one[i];
  }
  const int64_t best = *std::max_element(total.begin(), total.end());
  std::vector<size_t> winners;
  for (size_t i = 0; i < total.size(); ++i)
    if (total[i] == best) winners.push_back(i);
  return {fitting[winners[tie_breaker % winners.size()]]->name, {}};
}

}  // namespace dure::scheduler
