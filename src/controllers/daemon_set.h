// DaemonSet: one pod on every node that fits. Source of the behaviour: apps/v1 DaemonSet.
//
// Pods are pinned by a required node affinity on metadata.name and placed by the scheduler. Templates are remembered as
// ControllerRevisions (label controller-revision-hash), which `kubectl rollout history|undo daemonset` reads.
#pragma once

#include "controllers/api.h"

namespace dure::controllers {

LoopSpec daemon_set(Client& client, Caches& caches);

}  // namespace dure::controllers
