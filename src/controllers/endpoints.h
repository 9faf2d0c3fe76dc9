// EndpointSlices, and the older Endpoints, of every Service with a selector; slices of Endpoints that are kept by hand.
#pragma once

#include "controllers/api.h"

namespace dure::controllers {

LoopSpec endpoint_slice(Client& client, Caches& caches);
// At most 1000 addresses; annotated `endpoints.kubernetes.io/over-capacity: truncated` when there are more.
LoopSpec endpoints(Client& client, Caches& caches);
LoopSpec endpoint_mirror(Client& client, Caches& caches);

}  // namespace dure::controllers
