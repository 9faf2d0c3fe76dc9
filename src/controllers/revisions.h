// ControllerRevisions: the templates a DaemonSet has had, in the form `kubectl rollout` understands.
#pragma once

#include "controllers/api.h"

namespace dure::controllers {

struct Revisions {
  Object current;           // of the present template
  std::vector<Object> old;  // oldest first
};

// Finds the revision of the owner's template among `known`, renumbers it as the newest, or makes it. `template_node` is
// spec.template of the owner. `collisions` is raised by one when another revision has the wanted name.
Result<Revisions> sync_revisions(Client& client, const Resource& owner_resource, const Object& owner,
                                 std::vector<Object> known, int64_t& collisions);

}  // namespace dure::controllers
