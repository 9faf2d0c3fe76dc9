// EndpointSlices, and the older Endpoints, of every Service with a selector.
#pragma once

#include "controllers/api.h"

namespace dure::controllers {

LoopSpec endpoint_slice(Client& client, Caches& caches);
// At most 1000 addresses; annotated `endpoints.kubernetes.io/over-capacity: truncated` when there are more.
LoopSpec endpoints(Client& client, Caches& caches);

}  // namespace dure::controllers
