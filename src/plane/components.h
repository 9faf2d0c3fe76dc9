// What `kubectl get componentstatuses` shows. Scheduler and controllers are loops of this process and live and die
// together; "etcd-0" is the store, under the name that scripts look for. Pure.
#pragma once

#include <vector>

#include "base/result.h"
#include "schema/document.h"

namespace dure::plane {

std::vector<schema::Document> component_states(const Status& loops, const Status& store);

}  // namespace dure::plane
