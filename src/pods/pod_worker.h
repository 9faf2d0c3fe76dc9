// PodWorker: brings one pod of this node to what its spec says. The reconcile body of the loop "pods".
//
// Each call reads the pod from the cache and what runs from RuntimeState, plans, does what the plan says, and writes
// the status when it changed. Nothing is kept that the runtime or the API could not tell again (PodMemory is soft).
// Long work (pulls, stops) runs as jobs that wake the key when they end.
#pragma once

#include <map>

#include "client/loop.h"
#include "pods/container_starter.h"
#include "pods/container_stopper.h"
#include "pods/probes/prober.h"

namespace dure::pods {

class PodWorker {
 public:
  PodWorker(PodsParts& parts, const PodsOptions& options, Memories& memories, RuntimeState& state,
            ContainerStarter& starter, ContainerStopper& stopper, ImagePuller& puller, Prober& prober,
            client::Cache& pods);
  client::Outcome reconcile(const client::Key& key);

 private:
  using Pod = kinds::core_v1::Pod;
  client::Outcome keep_up(const schema::Object& object);
  client::Outcome wind_down(const schema::Object& object);
  client::Outcome retire(const RuntimePod& runtime);
  bool admit(const schema::Object& object);

  struct Applied {
    bool changed = false;
    std::optional<Duration> again_after;
  };
  Applied apply(const schema::Object& object, const RuntimePod& runtime, const Plan& plan);
  Applied make_sandbox(const schema::Object& object, const RuntimePod& runtime, uint32_t attempt);
  // True when something of the pod still runs; what runs is being stopped.
  bool stop_containers(const schema::Object& object, const RuntimePod& runtime, int64_t grace);
  Status stop_sandboxes(const RuntimePod& runtime, bool ready_only);
  Status remove_everything(const RuntimePod& runtime);
  Status remove_files(const std::string& uid, const std::string& log_directory);
  bool collect_garbage(const RuntimePod& runtime);
  Status write_status(const schema::Object& object, const RuntimePod& runtime, const Plan& plan, bool ended);
  void tell_backoff(const schema::Object& object, const RuntimePod& runtime, const std::string& name);
  Duration sandbox_backoff(const std::string& uid, bool failed);

  PodsParts& parts_;
  const PodsOptions& options_;
  Memories& memories_;
  RuntimeState& state_;
  ContainerStarter& starter_;
  ContainerStopper& stopper_;
  ImagePuller& puller_;
  Prober& prober_;
  client::Cache& pods_;
};

}  // namespace dure::pods
