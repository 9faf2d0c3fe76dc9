#include "controllers/owned_slices.h"

#include "controllers/claims.h"

namespace dure::controllers {
namespace {

constexpr std::string_view service_name_label = "kubernetes.io/service-name";
constexpr std::string_view managed_by_label = "endpointslice.kubernetes.io/managed-by";

}  // namespace

OwnedSlices::OwnedSlices(Client& client, Caches& caches, const Resource& owner_resource, std::string_view manager)
    : client_(client),
      owner_resource_(owner_resource),
      manager_(manager),
      slices_(caches.of(discovery::endpointslices)) {
  slices_.add_index(std::string(manager), [manager](const Object& slice) -> std::vector<std::string> {
    if (client::label(slice, managed_by_label) != manager) return {};
    return {std::string(client::namespace_of(slice)) + "/" + std::string(client::label(slice, service_name_label))};
  });
}

void OwnedSlices::wake_owner(const Object& slice, const Enqueue& enqueue) const {
  if (client::label(slice, managed_by_label) == manager_)
    enqueue({std::string(client::namespace_of(slice)), std::string(client::label(slice, service_name_label))});
}

std::map<std::string, std::vector<Object>> OwnedSlices::of(const Key& owner) const {
  std::map<std::string, std::vector<Object>> out;
  for (const Object& slice : slices_.by_index(std::string(manager_), owner.text()))
    if (!client::is_terminating(slice))
      out[std::string(discovery::EndpointSlice(slice).addressType())].push_back(slice);
  return out;
}

void OwnedSlices::set_labels(const Object& owner, Document& slice) const {
  auto metadata = discovery::EndpointSlice(slice).mutable_metadata();
  metadata.clear_labels();
  const Node* labels = client::metadata_of(*owner)->find("labels");
  for (const Node* label = labels ? labels->first() : nullptr; label; label = label->next())
    metadata.set_labels(label->key(), label->string());
  metadata.set_labels(service_name_label, client::name_of(owner));
  metadata.set_labels(managed_by_label, manager_);
}

Document OwnedSlices::changed(const Object& owner, std::string_view family, const SlicePlan::Change& change) const {
  Document slice = change.slice ? change.slice->clone() : fresh(owner, family);
  set_labels(owner, slice);
  fill_slice(slice, change.ports, change.members);
  return slice;
}

Status OwnedSlices::write(const Document& slice, const SlicePlan::Change& change) {
  const std::string_view ns = discovery::EndpointSlice(slice).metadata().namespace_();
  auto written = change.slice ? client_.update(discovery::endpointslices, slice)
                              : client_.create(discovery::endpointslices, slice, ns);
  if (!written) return fail(std::move(written).error());
  return {};
}

Status OwnedSlices::remove(const Object& slice) {
  client::DeleteOptions options;
  options.precondition_uid = std::string(client::uid_of(slice));
  Status removed = client_.remove(discovery::endpointslices, client::key_of(slice), options);
  if (!removed && removed.error().code != 404) return removed;
  return {};
}

Document OwnedSlices::fresh(const Object& owner, std::string_view family) const {
  Document slice(*discovery::endpointslices.type);
  slice.set(slice.member(slice.root(), "apiVersion"), "discovery.k8s.io/v1");
  slice.set(slice.member(slice.root(), "kind"), "EndpointSlice");
  const discovery::EndpointSlice view(slice);
  view.mutable_metadata().set_generateName(std::string(client::name_of(owner)) + "-");
  view.mutable_metadata().set_namespace(client::namespace_of(owner));
  set_controller(slice, owner_resource_, owner);
  view.set_addressType(family);
  return slice;
}

}  // namespace dure::controllers
