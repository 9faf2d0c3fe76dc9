#include <algorithm>
#include <cmath>

#include "scheduler/plugins/plugins.h"

namespace dure::scheduler {
namespace {

void check_amount(const char* name, int64_t wanted, int64_t taken, int64_t room, Reasons& reasons) {
  if (wanted > 0 && wanted > room - taken) reasons.push_back(std::string("Insufficient ") + name);
}

double fraction(int64_t used, int64_t room) {
  return room <= 0 ? 1.0 : std::min(1.0, static_cast<double>(used) / static_cast<double>(room));
}

int64_t free_score(int64_t used, int64_t room) {
  if (room <= 0 || used > room) return 0;
  return (room - used) * 100 / room;
}

}  // namespace

void check_resources(const PodNeeds& pod, const NodeRoom& node, Reasons& reasons) {
  if (static_cast<int64_t>(node.pods.size()) + 1 > node.pods_max) reasons.push_back("Too many pods");
  const Amounts& wanted = pod.requests;
  check_amount("cpu", wanted.cpu_milli, node.requested.cpu_milli, node.allocatable.cpu_milli, reasons);
  check_amount("memory", wanted.memory, node.requested.memory, node.allocatable.memory, reasons);
  check_amount("ephemeral-storage", wanted.ephemeral_storage, node.requested.ephemeral_storage,
               node.allocatable.ephemeral_storage, reasons);
  for (const auto& [name, amount] : wanted.others) {
    const auto room = node.allocatable.others.find(name), taken = node.requested.others.find(name);
    check_amount(name.c_str(), amount, taken == node.requested.others.end() ? 0 : taken->second,
                 room == node.allocatable.others.end() ? 0 : room->second, reasons);
  }
}

void rate_least_allocated(const PodNeeds& pod, const std::vector<const NodeRoom*>& all, std::vector<int64_t>& out) {
  for (size_t i = 0; i < all.size(); ++i) {
    const int64_t cpu = free_score(all[i]->scoring_cpu_milli + pod.scoring_cpu_milli, all[i]->allocatable.cpu_milli);
    const int64_t memory = free_score(all[i]->scoring_memory + pod.scoring_memory, all[i]->allocatable.memory);
    out[i] = (cpu + memory) / 2;
  }
}

// A node whose cpu and memory fill up evenly scores highest; with two resources the deviation is half the difference.
void rate_balanced(const PodNeeds& pod, const std::vector<const NodeRoom*>& all, std::vector<int64_t>& out) {
  for (size_t i = 0; i < all.size(); ++i) {
    const double cpu = fraction(all[i]->requested.cpu_milli + pod.requests.cpu_milli, all[i]->allocatable.cpu_milli);
    const double memory = fraction(all[i]->requested.memory + pod.requests.memory, all[i]->allocatable.memory);
    out[i] = static_cast<int64_t>((1.0 - std::abs(cpu - memory) / 2) * 100);
  }
}

}  // namespace dure::scheduler
