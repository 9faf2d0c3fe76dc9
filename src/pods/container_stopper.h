// ContainerStopper: ends containers gracefully without holding a worker: preStop, then the runtime's SIGTERM, wait,
// SIGKILL, as jobs.
#pragma once

#include <functional>
#include <string>

#include "pods/parts.h"
#include "pods/runtime_state.h"

namespace dure::pods {

class ContainerStopper {
 public:
  ContainerStopper(PodsParts& parts, Memories& memories, std::function<void(const client::Key&)> wake);
  ~ContainerStopper();
  // Starts to end a running container; a second call for the same container does something only when the grace got
  // shorter. `pod` may be null (a pod that is not in the API any more): then no preStop runs. `message` goes into the
  // Killing event.
  void stop(const schema::Object& pod, const RuntimePod& runtime, const RuntimeContainer& container,
            int64_t grace_seconds, const std::string& message);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace dure::pods
