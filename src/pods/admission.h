// Whether a pod may run on this node: the last check after the scheduler, for pods that were bound by hand or by an
// outdated view. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kinds/views/core_v1.h"
#include "pods/fields.h"

namespace dure::pods {

struct Refusal {
  std::string reason, message;  // "OutOfcpu", "Pod was rejected: ..."
};

// `others`: pods of this node that are not at their end, without `pod`.
std::optional<Refusal> refuse(const kinds::core_v1::Pod& pod, const std::vector<schema::Object>& others,
                              const NodeFacts& node, int64_t pods_max);

}  // namespace dure::pods
