// Claims: which things belong to an owner, as upstream's reference managers decide: what it controls and selects stays,
// what it controls and no longer selects is released, what nobody controls and it selects is adopted. An owner that is
// being deleted neither adopts nor releases.
#pragma once

#include <vector>

#include "controllers/api.h"
#include "controllers/selector.h"

namespace dure::controllers {

struct Claimer {
  Client& client;
  const Resource& owner_resource;
  Object owner;
  const Resource& resource;  // of what is claimed
  Selector selector;
  std::string finalizer = {};  // put on what is adopted and taken from what is released
};

// Before the first adoption the owner is read live, so that a stale cache never adopts for one that is gone.
Result<std::vector<Object>> claim(const Claimer& claimer, const std::vector<Object>& candidates);

// Wakes who should hear of `child`: its controller when that is a `kind`; when nobody controls it, everyone in `owners`
// who would adopt it.
void enqueue_owners(const Object& child, std::string_view kind, const Cache& owners,
                    const std::function<Selector(const Object& owner)>& selector_of, const Enqueue& enqueue);

// Appends a controller reference to `owner` to the metadata of `object`.
void set_controller(Document& object, const Resource& owner_resource, const Object& owner);
// Removes the owner references with this uid; answers whether there was one.
bool drop_owner(Document& object, std::string_view uid);
bool drop_finalizer(Document& object, std::string_view finalizer);
void add_finalizer(Document& object, std::string_view finalizer);

}  // namespace dure::controllers
