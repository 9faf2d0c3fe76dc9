#include <memory>
#include <mutex>

#include "controllers/endpoints.h"
#include "controllers/node_rules.h"
#include "controllers/owned_slices.h"
#include "controllers/pod_facts.h"
#include "controllers/service_keys.h"

namespace dure::controllers {
namespace {

constexpr std::string_view manager = "endpointslice-controller.k8s.io";
constexpr std::string_view headless_label = "service.kubernetes.io/headless";
constexpr std::string_view trigger_annotation = "endpoints.kubernetes.io/last-change-trigger-time";

class EndpointSlices {
 public:
  EndpointSlices(Client& client, Caches& caches)
      : client_(client),
        keys_(caches),
        services_(caches.of(core::services)),
        nodes_(caches.of(core::nodes)),
        pods_(caches.of(core::pods)),
        cached_(caches.of(discovery::endpointslices)),
        slices_(client, caches, core::services, manager),
        events_(EventRecorder::create(client, caches.executor(), "endpoint-slice-controller")) {
    pods_.add_index("node", by_node);
  }

  const ServiceKeys& keys() const { return keys_; }

  const OwnedSlices& slices() const { return slices_; }

  // Endpoints carry the zone of their node: Services of a node that moved to another site are looked at again.
  void keys_of_node(const Object& node, const Enqueue& enqueue) {
    const std::string name(client::name_of(node)), zone(client::label(node, zone_label));
    {
      std::lock_guard lock(mutex_);
      if (!nodes_.get({{}, name})) return void(zones_.erase(name));
      auto [at, is_new] = zones_.try_emplace(name, zone);
      if (!is_new && at->second == zone) return;
      at->second = zone;
    }
    for (const Object& pod : pods_.by_index("node", name)) keys_.of_pod(pod, enqueue);
  }

  Outcome reconcile(const Key& key) {
    const Object service = services_.get(key);
    // The slices of a Service that is gone go with their owner reference.
    if (!service || client::is_terminating(service) || !ServiceKeys::is_ours(service)) return Outcome::done();
    const std::vector<Object> pods = keys_.pods_of(service);
    const auto zones = zones_of(pods);
    auto by_family = slices_.of(key);
    for (const std::string& family : families_of(core::Service(service))) {
      const PortGroups groups = members_of(core::Service(service), pods, family, zones);
      const SlicePlan plan = plan_slices(groups, by_family[family]);
      if (Status done = apply(service, family, plan, by_family[family], change_trigger_time(service, pods)); !done)
        return failed(service, std::move(done).error());
      by_family.erase(family);
    }
    for (const auto& [family, stale] : by_family)
      for (const Object& slice : stale)
        if (Status done = slices_.remove(slice); !done) return failed(service, std::move(done).error());
    return Outcome::done();
  }

 private:
  std::map<std::string, std::string> zones_of(const std::vector<Object>& pods) const {
    std::map<std::string, std::string> zones;
    for (const Object& pod : pods) {
      const std::string node(core::Pod(pod).spec().nodeName());
      if (node.empty() || zones.contains(node)) continue;
      const Object object = nodes_.get({{}, node});
      zones[node] = object ? std::string(client::label(object, zone_label)) : std::string();
    }
    return zones;
  }

  Outcome failed(const Object& service, Error error) {
    if (error.code == 409 || error.code == 404 || error.code == 403) return Outcome::failed(std::move(error));
    events_->warning(
        EventAbout::object(service), "FailedToUpdateEndpointSlices",
        "Error updating Endpoint Slices for Service " + client::key_of(service).text() + ": " + error.message);
    return Outcome::failed(std::move(error));
  }

  Status apply(const Object& service, const std::string& family, const SlicePlan& plan,
               const std::vector<Object>& slices, const std::string& trigger_time) {
    for (const SlicePlan::Change& change : plan.write) DURE_CHECK(write(service, family, change, trigger_time));
    for (const Object& slice : plan.remove) DURE_CHECK(slices_.remove(slice));
    // Labels of the Service are those of its slices.
    for (const Object& slice : slices) {
      const Object now = cached_.get(client::key_of(slice));
      if (!now || client::is_terminating(now)) continue;
      Document next = now->clone();
      fill_labels(service, next);
      if (schema::equal(client::metadata_of(*now)->find("labels"), client::metadata_of(next)->find("labels"))) continue;
      DURE_TRY([[maybe_unused]] Object written, client_.update(discovery::endpointslices, next));
    }
    return {};
  }

  void fill_labels(const Object& service, Document& slice) const {
    slices_.set_labels(service, slice);
    if (core::Service(service).spec().clusterIP() == "None")
      discovery::EndpointSlice(slice).mutable_metadata().set_labels(headless_label, "");
  }

  Status write(const Object& service, const std::string& family, const SlicePlan::Change& change,
               const std::string& trigger_time) {
    Document slice = slices_.changed(service, family, change);
    fill_labels(service, slice);
    if (!trigger_time.empty())
      discovery::EndpointSlice(slice).mutable_metadata().set_annotations(trigger_annotation, trigger_time);
    return slices_.write(slice, change);
  }

  Client& client_;
  ServiceKeys keys_;
  Cache& services_;
  Cache& nodes_;
  Cache& pods_;
  Cache& cached_;  // all slices
  OwnedSlices slices_;
  std::unique_ptr<EventRecorder> events_;
  std::mutex mutex_;
  std::map<std::string, std::string> zones_;  // last seen; what is lost is only looked at once more
};

}  // namespace

LoopSpec endpoint_slice(Client& client, Caches& caches) {
  auto slices = std::make_shared<EndpointSlices>(client, caches);
  LoopSpec spec;
  spec.name = "endpointslice";
  spec.watches = {
      {&core::services, client::own_key(), {}},
      {&core::pods, [slices](const Object& pod, const Enqueue& enqueue) { slices->keys().of_pod(pod, enqueue); }, {}},
      {&discovery::endpointslices,
       [slices](const Object& slice, const Enqueue& enqueue) { slices->slices().wake_owner(slice, enqueue); },
       {}},
      {&core::nodes,
       [slices](const Object& node, const Enqueue& enqueue) { slices->keys_of_node(node, enqueue); },
       {}}};
  spec.owns = {"discovery.k8s.io/v1 EndpointSlice of Service"};
  spec.reconcile = [slices](const Key& key) { return slices->reconcile(key); };
  spec.workers = 5;
  return spec;
}

}  // namespace dure::controllers
