// Garbage collector: follows owner references. What has only owners that are gone is deleted; a foreground deletion
// waits for the dependents that block it; an orphaning deletion sets the dependents free.
//
// There is no graph to keep: the caches have an index "owner" from a uid to its dependents, and whether an owner is
// gone is asked of the server before anything is deleted.
#pragma once

#include "controllers/api.h"

namespace dure::controllers {

// `resources`: everything that may have owners or dependents; those without list, watch or delete are passed over.
LoopSpec garbage_collector(Client& client, Caches& caches, std::vector<const Resource*> resources);

}  // namespace dure::controllers
