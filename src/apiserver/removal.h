// What a delete does to an object: marks it, changes its finalizers, or removes it. Pure but for the hooks' world.
#pragma once

#include "apiserver/catalog.h"
#include "apiserver/request.h"
#include "base/result.h"
#include "kinds/hooks/write.h"
#include "schema/document.h"

namespace dure::apiserver {

// DeleteOptions from the body, where there is one, over those of the query.
Status read_delete_options(ApiRequest& request);
Status check_preconditions(const schema::Resource& resource, const ApiRequest& request, const schema::Document& object);

struct Removal {
  schema::Document object;  // the next state
  bool vanishes = false, changed = false;
};
Result<Removal> plan_removal(const Served& served, const DeleteOptions& options, kinds::WriteWorld& world,
                             const schema::Document& current);

// Nothing holds it any more: marked as deleted, grace over, no finalizers, and the kind agrees.
bool may_vanish_now(const Served& served, const schema::Document& object);

}  // namespace dure::apiserver
