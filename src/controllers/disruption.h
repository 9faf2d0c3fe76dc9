// PodDisruptionBudgets: keeps their status, which the eviction subresource (`kubectl drain`) decides by. Source of the
// behaviour: policy/v1 PodDisruptionBudget.
//
// An eviction writes the pod into status.disruptedPods and takes one from disruptionsAllowed; this loop takes the pod
// out again when it is leaving, or after two minutes. The two meet by resourceVersion: who comes second looks again.
// What cannot be worked out (a percentage of pods whose controller has no scale) allows no disruption and says why in
// the condition DisruptionAllowed.
#pragma once

#include "controllers/api.h"

namespace dure::controllers {

LoopSpec disruption(Client& client, Caches& caches);

}  // namespace dure::controllers
