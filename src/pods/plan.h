// plan: what has to happen next for one pod, worked out from its spec and what runs. Pure.
//
// The rules are the kubelet's: one ready sandbox; init containers in order; sidecars (init containers with
// restartPolicy Always) stay; containers restart by the pod's policy with a back-off of 10 s doubling to 5 min that is
// forgotten after 10 min.
#pragma once

#include <string>
#include <vector>

#include "kinds/views/core_v1.h"
#include "pods/memory.h"
#include "pods/runtime_state.h"

namespace dure::pods {

struct StartContainer {
  std::string name;
  bool init = false;  // an init container, sidecars among them
  uint32_t attempt = 0;
};

struct KillContainer {
  std::string id, name;
  std::string reason;  // word for the event: "liveness", "startup", "changed", "unknown"
  std::string message;
};

struct Plan {
  bool stop_everything = false;  // the sandbox is gone or all work is done: stop what is left, then the sandbox
  bool create_sandbox = false;
  uint32_t sandbox_attempt = 0;
  std::vector<KillContainer> kills;
  std::vector<StartContainer> starts;
  std::map<std::string, Waiting> backoffs;  // containers held back: CrashLoopBackOff
  std::optional<Duration> look_again;       // when a back-off ends
  bool nothing() const { return !stop_everything && !create_sandbox && kills.empty() && starts.empty(); }
};

struct PlanLimits {
  Duration backoff_first = 10s, backoff_max = 300s;
  Duration backoff_forget = 600s;
};

Plan plan(const kinds::core_v1::Pod& pod, const RuntimePod& runtime, const PodMemory& memory, WallTime now,
          const PlanLimits& limits = {});

// The back-off after one more restart at `now`.
Backoff next_backoff(const Backoff& before, WallTime now, const PlanLimits& limits = {});

// Whether a container that has ended is started again: sidecars always, init containers until they have succeeded, the
// others by the pod's policy.
bool starts_again(const kinds::core_v1::Pod& pod, const kinds::core_v1::Container& container, bool init,
                  const RuntimeContainer& ended, const PodMemory& memory);

bool is_sidecar(const kinds::core_v1::Container& container);
// Identity of a container's spec: changes of it restart the container (only the image may change in a running pod).
std::string container_hash(const kinds::core_v1::Container& container);

// All init containers ended well (sidecars: have started).
bool initialized(const kinds::core_v1::Pod& pod, const RuntimePod& runtime, const PodMemory& memory);

}  // namespace dure::pods
