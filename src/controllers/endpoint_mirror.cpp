// Endpoints that somebody keeps by hand (a Service without selector: a database outside of the cluster) as
// EndpointSlices, which is what proxies and DNS read. Names, labels and rules are upstream's
// endpointslicemirroring-controller's.
#include <memory>

#include "controllers/endpoints.h"
#include "controllers/owned_slices.h"
#include "controllers/service_keys.h"

namespace dure::controllers {
namespace {

constexpr std::string_view manager = "endpointslicemirroring-controller.k8s.io";
constexpr std::string_view skip_label = "endpointslice.kubernetes.io/skip-mirror";
constexpr std::string_view leader_annotation = "control-plane.alpha.kubernetes.io/leader";

class EndpointMirror {
 public:
  EndpointMirror(Client& client, Caches& caches)
      : services_(caches.of(core::services)),
        endpoints_(caches.of(core::endpoints)),
        slices_(client, caches, core::endpoints, manager) {}

  const OwnedSlices& slices() const { return slices_; }

  Outcome reconcile(const Key& key) {
    const Object endpoints = wanted(key);
    auto by_family = slices_.of(key);
    for (const char* family : {"IPv4", "IPv6"}) {
      const PortGroups groups = endpoints ? members_of(core::Endpoints(endpoints), family) : PortGroups{};
      if (groups.empty()) continue;
      if (Status done = apply(endpoints, family, plan_slices(groups, by_family[family])); !done)
        return Outcome::failed(std::move(done).error());
      by_family.erase(family);
    }
    for (const auto& [family, stale] : by_family)
      for (const Object& slice : stale)
        if (Status done = slices_.remove(slice); !done) return Outcome::failed(std::move(done).error());
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

  Status apply(const Object& endpoints, std::string_view family, const SlicePlan& plan) {
    for (const SlicePlan::Change& change : plan.write)
      DURE_CHECK(slices_.write(slices_.changed(endpoints, family, change), change));
    for (const Object& slice : plan.remove) DURE_CHECK(slices_.remove(slice));
    return {};
  }

  Cache& services_;
  Cache& endpoints_;
  OwnedSlices slices_;
};

}  // namespace

LoopSpec endpoint_mirror(Client& client, Caches& caches) {
  auto mirror = std::make_shared<EndpointMirror>(client, caches);
  LoopSpec spec;
  spec.name = "endpointslicemirroring";
  spec.watches = {{&core::endpoints, client::own_key(), {}},
                  {&core::services, client::own_key(), {}},
                  {&discovery::endpointslices,
                   [mirror](const Object& slice, const Enqueue& wake) { mirror->slices().wake_owner(slice, wake); },
                   {}}};
  spec.owns = {"discovery.k8s.io/v1 EndpointSlice of Endpoints"};
  spec.reconcile = [mirror](const Key& key) { return mirror->reconcile(key); };
  return spec;
}

}  // namespace dure::controllers
