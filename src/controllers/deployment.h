// Deployment: rolls a template out over ReplicaSets, one per revision. Source of the behaviour: apps/v1 Deployment.
//
// Names: ReplicaSet "<deployment>-<hash>", label pod-template-hash, annotations deployment.kubernetes.io/revision,
// revision-history, desired-replicas, max-replicas; `kubectl rollout status|history|undo|pause|resume` read these.
#pragma once

#include "controllers/api.h"

namespace dure::controllers {

LoopSpec deployment(Client& client, Caches& caches);

}  // namespace dure::controllers
