#include <memory>
#include <mutex>

#include "controllers/claims.h"
#include "controllers/endpoint_plan.h"
#include "controllers/endpoints.h"
#include "controllers/node_rules.h"
#include "controllers/pod_facts.h"
#include "controllers/service_keys.h"

namespace dure::controllers {
namespace {

constexpr std::string_view service_name_label = "kubernetes.io/service-name";
constexpr std::string_view managed_by_label = "endpointslice.kubernetes.io/managed-by";
constexpr std::string_view manager = "endpointslice-controller.k8s.io";
constexpr std::string_view headless_label = "service.kubernetes.io/headless";
constexpr std::string_view trigger_annotation = "endpoints.kubernetes.io/last-change-trigger-time";

std::vector<std::string> by_service(const Object& slice) {
  if (client::label(slice, managed_by_label) != manager) return {};
  return {std::string(client::namespace_of(slice)) + "/" + std::string(client::label(slice, service_name_label))};
}

class EndpointSlices {
 public:
  EndpointSlices(Client& client, Caches& caches)
      : client_(client),
        keys_(caches),
        services_(caches.of(core::services)),
        nodes_(caches.of(core::nodes)),
        pods_(caches.of(core::pods)),
        slices_(caches.of(discovery::endpointslices)),
        events_(EventRecorder::create(client, caches.executor(), "endpoint-slice-controller")) {
    slices_.add_index("service", by_service);
    pods_.add_index("node", by_node);
  }

  const ServiceKeys& keys() const { return keys_; }

  static void keys_of_slice(const Object& slice, const Enqueue& enqueue) {
    if (client::label(slice, managed_by_label) == manager)
      enqueue({std::string(client::namespace_of(slice)), std::string(client::label(slice, service_name_label))});
  }

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
    std::map<std::string, std::vector<Object>> by_family;
    for (const Object& slice : slices_.by_index("service", key.text()))
      if (!client::is_terminating(slice))
        by_family[std::string(discovery::EndpointSlice(slice).addressType())].push_back(slice);
    for (const std::string& family : families_of(core::Service(service))) {
      const PortGroups groups = members_of(core::Service(service), pods, family, zones);
      const SlicePlan plan = plan_slices(groups, by_family[family]);
      if (Status done = apply(service, family, plan, by_family[family], change_trigger_time(service, pods)); !done)
        return failed(service, std::move(done).error());
      by_family.erase(family);
    }
    for (const auto& [family, stale] : by_family)
      for (const Object& slice : stale)
        if (Status done = remove(slice); !done) return failed(service, std::move(done).error());
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
    for (const Object& slice : plan.remove) DURE_CHECK(remove(slice));
    // Labels of the Service are those of its slices.
    for (const Object& slice : slices) {
      const Object now = slices_.get(client::key_of(slice));
      if (!now || client::is_terminating(now)) continue;
      Document next = now->clone();
      fill_labels(service, next);
      if (schema::equal(client::metadata_of(*now)->find("labels"), client::metadata_of(next)->find("labels"))) continue;
      DURE_TRY([[maybe_unused]] Object written, client_.update(discovery::endpointslices, next));
    }
    return {};
  }

  static void fill_labels(const Object& service, Document& slice) {
    auto metadata = discovery::EndpointSlice(slice).mutable_metadata();
    metadata.clear_labels();
    const core::Service view(service);
    for (const auto& [key, value] : view.metadata().labels()) metadata.set_labels(key, value);
    metadata.set_labels(service_name_label, view.metadata().name());
    metadata.set_labels(managed_by_label, manager);
    if (view.spec().clusterIP() == "None") metadata.set_labels(headless_label, "");
  }

  Status write(const Object& service, const std::string& family, const SlicePlan::Change& change,
               const std::string& trigger_time) {
    Document slice = change.slice ? change.slice->clone() : fresh(service, family);
    discovery::EndpointSlice view(slice);
    fill_labels(service, slice);
    if (!trigger_time.empty()) view.mutable_metadata().set_annotations(trigger_annotation, trigger_time);
    fill_slice(slice, change.ports, change.members);
    auto written = change.slice ? client_.update(discovery::endpointslices, slice)
                                : client_.create(discovery::endpointslices, slice, client::namespace_of(service));
    if (!written) return fail(std::move(written).error());
    return {};
  }

  static Document fresh(const Object& service, const std::string& family) {
    Document slice(*discovery::endpointslices.type);
    slice.set(slice.member(slice.root(), "apiVersion"), "discovery.k8s.io/v1");
    slice.set(slice.member(slice.root(), "kind"), "EndpointSlice");
    discovery::EndpointSlice view(slice);
    view.mutable_metadata().set_generateName(std::string(client::name_of(service)) + "-");
    view.mutable_metadata().set_namespace(client::namespace_of(service));
    set_controller(slice, core::services, service);
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
  ServiceKeys keys_;
  Cache& services_;
  Cache& nodes_;
  Cache& pods_;
  Cache& slices_;
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
      {&discovery::endpointslices, EndpointSlices::keys_of_slice, {}},
      {&core::nodes,
       [slices](const Object& node, const Enqueue& enqueue) { slices->keys_of_node(node, enqueue); },
       {}}};
  spec.owns = {"discovery.k8s.io/v1 EndpointSlice of Service"};
  spec.reconcile = [slices](const Key& key) { return slices->reconcile(key); };
  spec.workers = 5;
  return spec;
}

}  // namespace dure::controllers
