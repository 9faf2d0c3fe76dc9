// OwnedSlices: the EndpointSlices that a loop keeps for owners of one kind (Services, or Endpoints that somebody keeps
// by hand): which they are, and the writes that a SlicePlan asks for.
//
// Owner: the loop; made before the caches start, because it adds an index. Thread: any; writes block.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "controllers/endpoint_plan.h"

namespace dure::controllers {

class OwnedSlices {
 public:
  // `manager`: a literal, the value of endpointslice.kubernetes.io/managed-by that marks what is ours.
  OwnedSlices(Client& client, Caches& caches, const Resource& owner_resource, std::string_view manager);

  // The owner of a slice that is ours.
  void wake_owner(const Object& slice, const Enqueue& enqueue) const;
  // By family, without those that are being deleted.
  std::map<std::string, std::vector<Object>> of(const Key& owner) const;

  // The owner's labels and those that make it ours, in place of what it has.
  void set_labels(const Object& owner, Document& slice) const;
  // The slice as the change wants it, with its labels.
  Document changed(const Object& owner, std::string_view family, const SlicePlan::Change& change) const;
  Status write(const Document& slice, const SlicePlan::Change& change);
  Status remove(const Object& slice);  // of this uid; gone already is fine

 private:
  Document fresh(const Object& owner, std::string_view family) const;

  Client& client_;
  const Resource& owner_resource_;
  const std::string_view manager_;
  Cache& slices_;
};

}  // namespace dure::controllers
