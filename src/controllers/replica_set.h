// ReplicaSet: keeps `spec.replicas` pods of a template. Source of the behaviour: apps/v1 ReplicaSet.
#pragma once

#include "controllers/api.h"

namespace dure::controllers {

LoopSpec replica_set(Client& client, Caches& caches);

}  // namespace dure::controllers
