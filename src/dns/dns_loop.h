// The loop that keeps the zone equal to the Services and EndpointSlices.
#pragma once

#include "client/loop.h"
#include "dns/zone.h"

namespace dure::dns {

// `zone` and `caches` outlive the loop.
client::LoopSpec dns_loop(Zone& zone, client::Caches& caches);

}  // namespace dure::dns
