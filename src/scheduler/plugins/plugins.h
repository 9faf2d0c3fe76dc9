// The rules, one source each. A filter answers the reasons why a node cannot take a pod, in upstream's words (empty: it
// can); a score answers 0 to 100, more is better. Pure; no I/O.
#pragma once

#include <string>
#include <vector>

#include "scheduler/snapshot.h"

namespace dure::scheduler {

using Reasons = std::vector<std::string>;

struct Filter {
  const char* name;  // upstream's plugin name
  void (*check)(const PodNeeds& pod, const NodeRoom& node, Reasons& reasons);
};

struct Score {
  const char* name;
  int weight;
  // `all`: every node that passed the filters, in the order of `out`.
  void (*rate)(const PodNeeds& pod, const std::vector<const NodeRoom*>& all, std::vector<int64_t>& out);
};

// NodeName, NodeUnschedulable
void check_node_name(const PodNeeds&, const NodeRoom&, Reasons&);
void check_unschedulable(const PodNeeds&, const NodeRoom&, Reasons&);
// TaintToleration
void check_taints(const PodNeeds&, const NodeRoom&, Reasons&);
void rate_taints(const PodNeeds&, const std::vector<const NodeRoom*>&, std::vector<int64_t>&);
// NodeAffinity (nodeSelector and nodeAffinity)
void check_node_affinity(const PodNeeds&, const NodeRoom&, Reasons&);
void rate_node_affinity(const PodNeeds&, const std::vector<const NodeRoom*>&, std::vector<int64_t>&);
// NodePorts
void check_node_ports(const PodNeeds&, const NodeRoom&, Reasons&);
// NodeResourcesFit (LeastAllocated) and NodeResourcesBalancedAllocation
void check_resources(const PodNeeds&, const NodeRoom&, Reasons&);
void rate_least_allocated(const PodNeeds&, const std::vector<const NodeRoom*>&, std::vector<int64_t>&);
void rate_balanced(const PodNeeds&, const std::vector<const NodeRoom*>&, std::vector<int64_t>&);
// PodTopologySpread's default: replicas of one owner spread over the nodes.
void rate_spread(const PodNeeds&, const std::vector<const NodeRoom*>&, std::vector<int64_t>&);

// Scales so that the largest becomes 100 (all zero stays); reversed: the largest becomes 0.
void normalize(std::vector<int64_t>& scores, bool reversed);

}  // namespace dure::scheduler
