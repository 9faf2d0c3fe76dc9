// The status of a pod as the API shows it, worked out from its spec, what runs and what the worker remembers. Pure.
#pragma once

#include <string>
#include <vector>

#include "kinds/views/core_v1.h"
#include "pods/memory.h"
#include "pods/plan.h"
#include "pods/runtime_state.h"

namespace dure::pods {

struct StatusFacts {
  std::vector<std::string> node_ips;
  std::string runtime_name = "containerd";  // of container ids: containerd://...
  // The pod is at its end and nothing of it runs: containers that are not known to have ended count as failed.
  bool ended = false;
};

// A PodStatus document. Transition times and what the kubelet does not own (conditions of others, nominatedNodeName)
// are carried over from the pod's present status.
schema::Document pod_status(const kinds::core_v1::Pod& pod, const RuntimePod& runtime, const PodMemory& memory,
                            const Plan& plan, WallTime now, const StatusFacts& facts);

bool is_terminal(std::string_view phase);

// A JSON merge patch for the status subresource that turns `before` into `after`; empty when there is nothing to do.
// Bound to uid and resourceVersion.
std::string status_patch(const kinds::core_v1::Pod& pod, const schema::Document& after);

// Addresses of the pod: the sandbox's, or the node's for pods on the host network.
std::vector<std::string> pod_ips(const kinds::core_v1::Pod& pod, const RuntimePod& runtime,
                                 const std::vector<std::string>& node_ips);

}  // namespace dure::pods
