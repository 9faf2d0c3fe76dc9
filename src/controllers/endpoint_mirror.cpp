// Endpoints that somebody keeps by hand (a Service without selector: a database outside of the cluster) as
// EndpointSlices, which is what proxies and DNS read. Names, labels and rules are upstream's
// endpointslicemirroring-controller's.
#include <memory>

#include "controllers/claims.h"
#include "controllers/endpoint_plan.h"
#include "controllers/endpoints.h"
#include "controllers/service_keys.h"

namespace dure::controllers {
namespace {

constexpr std::string_view service_name_label = "kubernetes.io/service-name";
constexpr std::string_view managed_by_label = "endpointslice.kubernetes.io/managed-by";
constexpr std::string_view manager = "endpointslicemirroring-controller.k8s.io";
constexpr std::string_view skip_label = "endpointslice.kubernetes.io/skip-mirror";
constexpr std::string_view leader_annotation = "control-plane.alpha.kubernetes.io/leader";

std::vector<std::string> by_service(const Object& slice) {
  if (client::label(slice, managed_by_label) != manager) return {};
  return {std::string(client::namespace_of(slice)) + "/" + std::string(client::label(slice, service_name_label))};
}

class EndpointMirror {
 public:
  EndpointMirror(Client& client, Caches& caches)
      : client_(client),
        services_(caches.of(core::services)),
        endpoints_(caches.of(core::endpoints)),
        slices_(caches.of(discovery::endpointslices)) {
    slices_.add_index("mirror", by_service);
  }

  static void keys_of_slice(const Object& slice, const Enqueue& enqueue) {
    if (client::label(slice, managed_by_label) == manager)
      enqueue({std::string(client::namespace_of(slice)), std::string(client::label(slice, service_name_label))});
  }

  Outcome reconcile(const Key& key) {
    const Object endpoints = wanted(key);
    for (const char* family : {"IPv4", "IPv6"}) {
      const std::vector<Object> slices = slices_of(key, family);
      if (!endpoints && slices.empty()) continue;
      const PortGroups groups = endpoints ? members_of(core::Endpoints(endpoints), family) : PortGroups{};
      if (groups.empty()) {
        for (const Object& slice : slices)
          if (Status done = remove(slice); !done) return Outcome::failed(std::move(done).error());
        continue;
      }
      const SlicePlan plan = plan_slices(groups, slices);
      for (const SlicePlan::Change& change : plan.write)
        if (Status done = write(endpoints, family, change); !done) return Outcome::failed(std::move(done).error());
      for (const Object& slice : plan.remove)
        if (Status done = remove(slice); !done) return Outcome::failed(std::move(done).error());
    }
    return Outcome::done();
  }

 private:
  // Null: nothing to mirror.
  Object wanted(const Key& key) const {
    const Object service = services_.get(key);
    const Object endpoints = endpoints_.get(key);
    if (!service || !endpoints || client::is_terminating(service) || client::is_terminating(endpoints)) return nullptr;
    if (ServiceKeys::is_ours(service) || core::Service(service).spec().type() == "ExternalName") return nullptr;
    if (client::label(endpoints, skip_label) == "true" || !client::annotation(endpoints, leader_annotation).empty())
      return nullptr;
    return endpoints;
  }

  std::vector<Object> slices_of(const Key& key, std::string_view family) const {
    std::vector<Object> out;
    for (const Object& slice : slices_.by_index("mirror", key.text()))
      if (!client::is_terminating(slice) && discovery::EndpointSlice(slice).addressType() == family)
        out.push_back(slice);
    return out;
  }

  Status write(const Object& endpoints, std::string_view family, const SlicePlan::Change& change) {
    Document slice = change.slice ? change.slice->clone() : fresh(endpoints, family);
    auto metadata = discovery::EndpointSlice(slice).mutable_metadata();
    metadata.clear_labels();
    for (const auto& [key, value] : core::Endpoints(endpoints).metadata().labels()) metadata.set_labels(key, value);
    metadata.set_labels(service_name_label, client::name_of(endpoints));
    metadata.set_labels(managed_by_label, manager);
    fill_slice(slice, change.ports, change.members);
    auto written = change.slice ? client_.update(discovery::endpointslices, slice)
                                : client_.create(discovery::endpointslices, slice, client::namespace_of(endpoints));
    if (!written) return fail(std::move(written).error());
    return {};
  }

  static Document fresh(const Object& endpoints, std::string_view family) {
    Document slice(*discovery::endpointslices.type);
    slice.set(slice.member(slice.root(), "apiVersion"), "discovery.k8s.io/v1");
    slice.set(slice.member(slice.root(), "kind"), "EndpointSlice");
    discovery::EndpointSlice view(slice);
    view.mutable_metadata().set_generateName(std::string(client::name_of(endpoints)) + "-");
    view.mutable_metadata().set_namespace(client::namespace_of(endpoints));
    set_controller(slice, core::endpoints, endpoints);
    view.set_addressType(family);
    return slice;
  }

  Status remove(const Object& slice) {
    client::DeleteOptions options;
    options.precondition_uid = std::string(client::uid_of(slice));
    Status removed = client_.remove(discovery::endpointslices, client::key_of(slice), options);
    if (!removed && removed.error().code != 404) return removed;
    return {};
  }

  Client& client_;
  Cache& services_;
  Cache& endpoints_;
  Cache& slices_;
};

}  // namespace

LoopSpec endpoint_mirror(Client& client, Caches& caches) {
  auto mirror = std::make_shared<EndpointMirror>(client, caches);
  LoopSpec spec;
  spec.name = "endpointslicemirroring";
  spec.watches = {{&core::endpoints, client::own_key(), {}},
                  {&core::services, client::own_key(), {}},
                  {&discovery::endpointslices, EndpointMirror::keys_of_slice, {}}};
  spec.owns = {"discovery.k8s.io/v1 EndpointSlice of Endpoints"};
  spec.reconcile = [mirror](const Key& key) { return mirror->reconcile(key); };
  return spec;
}

}  // namespace dure::controllers
