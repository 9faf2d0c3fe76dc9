// The decision: which node takes a pod, or why none does. Pure. Cost: linear in the nodes.
#pragma once

#include <string>

#include "scheduler/snapshot.h"

namespace dure::scheduler {

struct Decision {
  std::string node;     // empty: none
  std::string message;  // then upstream's sentence: "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) ..."
};

// `tie_breaker` chooses among nodes with equal scores; any number, the same number the same choice.
Decision decide(const PodNeeds& pod, const Snapshot& snapshot, uint64_t tie_breaker);

}  // namespace dure::scheduler
