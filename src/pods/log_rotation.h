// LogRotation: keeps each container's log at a bounded size: the full file is moved aside, the runtime is asked to open
// a new one, and the oldest are removed. Thread: one at a time; blocks.
#pragma once

#include "pods/parts.h"
#include "pods/runtime_state.h"

namespace dure::pods {

class LogRotation {
 public:
  LogRotation(PodsParts& parts, const PodsOptions& options);
  void run(const std::vector<RuntimePodPtr>& pods);

 private:
  Status rotate(const RuntimeContainer& container);
  PodsParts& parts_;
  const PodsOptions& options_;
};

}  // namespace dure::pods
