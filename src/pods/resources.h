// Resources: from requests and limits to what the kernel understands. Pure.
#pragma once

#include <cstdint>
#include <string_view>

#include "kinds/views/core_v1.h"

namespace dure::pods {

// "Guaranteed", "Burstable" or "BestEffort".
std::string_view qos_class(const kinds::core_v1::Pod& pod);

struct LinuxResources {
  int64_t cpu_shares = 2;
  int64_t cpu_quota = 0, cpu_period = 0;  // microseconds; zero: no limit
  int64_t memory_limit = 0;               // bytes; zero: no limit
  int64_t oom_score_adj = 0;
};

// `node_memory` in bytes weighs the out-of-memory score of burstable pods. `oom_score_adj_min`: lowest score that the
// agent is allowed to give (without CAP_SYS_RESOURCE: its own).
LinuxResources linux_resources(const kinds::core_v1::Pod& pod, const kinds::core_v1::Container& container,
                               int64_t node_memory, int64_t oom_score_adj_min);

}  // namespace dure::pods
