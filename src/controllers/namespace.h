// Namespace lifecycle: empties a namespace that is being deleted and then lets it go.
//
// Content of every namespaced resource is deleted; what is still there (finalizers, graceful pods) is named in the
// namespace's conditions; when nothing is left the finalizer `kubernetes` is taken away through /finalize. Woken by
// each object that goes away in a namespace that is leaving.
#pragma once

#include <span>

#include "controllers/api.h"

namespace dure::controllers {

// `resources`: all that may hold content; those without list and delete, or cluster-scoped, are passed over.
LoopSpec namespace_lifecycle(Client& client, Caches& caches, std::vector<const Resource*> resources);

}  // namespace dure::controllers
