#include <algorithm>

#include "kinds/views/core_v1.h"
#include "scheduler/plugins/plugins.h"

namespace dure::scheduler {
namespace {

using kinds::core_v1::Pod;

std::string_view owner_of(const Pod& pod) {
  for (const auto& owner : pod.metadata().ownerReferences())
    if (owner.controller()) return owner.uid();
  return {};
}

}  // namespace

void rate_spread(const PodNeeds& pod, const std::vector<const NodeRoom*>& all, std::vector<int64_t>& out) {
  const std::string_view owner = owner_of(Pod(pod.pod));
  if (owner.empty()) return;
  const std::string_view namespace_ = Pod(pod.pod).metadata().namespace_();
  for (size_t i = 0; i < all.size(); ++i)
    for (const auto& other : all[i]->pods) {
      const Pod there(other->pod);
      if (there.metadata().namespace_() == namespace_ && owner_of(there) == owner &&
          !there.metadata().has_deletionTimestamp())
        ++out[i];
    }
  normalize(out, true);
}

void normalize(std::vector<int64_t>& scores, bool reversed) {
  const int64_t most = scores.empty() ? 0 : *std::max_element(scores.begin(), scores.end());
  for (int64_t& score : scores) {
    const int64_t scaled = most == 0 ? 0 : score * 100 / most;
    score = reversed ? 100 - scaled : scaled;
  }
}

}  // namespace dure::scheduler
