// Pods: everything that keeps the pods of one node running: the loop "pods", the relist of the runtime, probes, image
// pulls, log rotation and the removal of what nobody wants any more.
//
// Owner: the host's wiring; `parts` and their referents outlive it. Use: construct, `runner.add(pods.loop())`, then
// `start` with the runner. Destroy before the runner's executor. Thread: any.
#pragma once

#include <memory>

#include "client/loop.h"
#include "pods/parts.h"
#include "pods/runtime_state.h"

namespace dure::pods {

class Pods {
 public:
  Pods(PodsParts parts, PodsOptions options);
  ~Pods();
  Pods(const Pods&) = delete;

  // The cache of this node's pods (fieldSelector spec.nodeName).
  client::Cache& cache();
  client::LoopSpec loop();
  // Begins to list the runtime and to look after what the loop does not see.
  void start(client::Runner& runner);

  RuntimeState& runtime_state();
  const PodsOptions& options() const;
  PodsParts& parts();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace dure::pods
