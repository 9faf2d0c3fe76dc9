// Prober: runs the liveness, readiness and startup probes of running containers and leaves their last word in
// PodMemory.
//
// A probe is asked every period, first after its initial delay; its word changes after that many same answers in a row.
// Liveness and readiness wait for the startup probe. Each asking is a job; a probe is never asked twice at once. A
// container that ran before the agent did starts with what the API last said, so that an agent's restart makes nobody
// unready.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "kinds/views/core_v1.h"
#include "pods/parts.h"
#include "pods/runtime_state.h"

namespace dure::pods {

class Prober {
 public:
  Prober(PodsParts& parts, const PodsOptions& options, Memories& memories,
         std::function<void(const client::Key&)> wake);
  ~Prober();
  // Starts and ends probes so that they fit what runs. Cheap when nothing changed.
  void update(const schema::Object& pod, const RuntimePod& runtime);
  void remove(const std::string& uid);
  size_t count() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// What one probe says now. Blocks up to its timeout.
ProbeAnswer ask(PodsParts& parts, const kinds::core_v1::Container& container, const kinds::core_v1::Probe& probe,
                const std::string& container_id, const std::string& pod_ip);

}  // namespace dure::pods
