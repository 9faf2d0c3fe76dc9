// Node lifecycle: notices nodes that fell silent, taints what is not well, and evicts pods that do not tolerate it.
//
// A node lives while its Lease (kube-node-lease) or its status is renewed. Its own clock is not believed: what counts
// is when this process saw the renewal change, so a restart of the server gives every node its full grace again.
#pragma once

#include "controllers/api.h"

namespace dure::controllers {

struct NodeLifecycleOptions {
  Duration grace = 40s;          // without a renewal: Ready becomes Unknown
  Duration startup_grace = 60s;  // for a node that never posted a status
};
LoopSpec node_lifecycle(Client& client, Caches& caches, NodeLifecycleOptions options = {});

// Deletes pods from nodes with NoExecute taints that they do not tolerate, after tolerationSeconds counted from
// timeAdded.
LoopSpec taint_eviction(Client& client, Caches& caches);

// Gives each node its own part of `cluster_cidrs` ("10.244.0.0/16", one per family): spec.podCIDR and podCIDRs. A part
// that a node already has is kept, whoever gave it.
struct NodeIpamOptions {
  std::vector<std::string> cluster_cidrs;
  int mask_v4 = 24, mask_v6 = 64;
};
LoopSpec node_ipam(Client& client, Caches& caches, NodeIpamOptions options);

}  // namespace dure::controllers
