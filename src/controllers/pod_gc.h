// Pod garbage collection: pods of nodes that are gone, pods that leave without ever having had a node, and finished
// pods beyond a number.
#pragma once

#include "controllers/api.h"

namespace dure::controllers {

struct PodGcOptions {
  int64_t terminated_max = 12500;  // finished pods that are kept; 0 or less: all
  Duration node_gone_grace = 40s;  // before a missing node is believed
};
LoopSpec pod_gc(Client& client, Caches& caches, PodGcOptions options = {});

}  // namespace dure::controllers
