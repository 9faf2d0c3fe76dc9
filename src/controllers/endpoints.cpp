#include "controllers/endpoints.h"

#include <algorithm>
#include <memory>

#include "controllers/endpoint_plan.h"
#include "controllers/service_keys.h"

namespace dure::controllers {
namespace {

constexpr size_t addresses_max = 1000;
constexpr std::string_view managed_by_label = "endpoints.kubernetes.io/managed-by";
constexpr std::string_view manager = "endpoint-controller";
constexpr std::string_view headless_label = "service.kubernetes.io/headless";
constexpr std::string_view capacity_annotation = "endpoints.kubernetes.io/over-capacity";
constexpr std::string_view trigger_annotation = "endpoints.kubernetes.io/last-change-trigger-time";

class EndpointsLoop {
 public:
  EndpointsLoop(Client& client, Caches& caches)
      : client_(client), keys_(caches), services_(caches.of(core::services)), endpoints_(caches.of(core::endpoints)) {}

  const ServiceKeys& keys() const { return keys_; }

  Outcome reconcile(const Key& key) {
    const Object service = services_.get(key);
    const Object existing = endpoints_.get(key);
    if (!service)
      return existing && is_managed(existing) ? outcome_of(client_.remove(core::endpoints, key)) : Outcome::done();
    if (client::is_terminating(service) || !ServiceKeys::is_ours(service)) return Outcome::done();
    const std::vector<Object> pods = keys_.pods_of(service);
    Document next = existing ? existing->clone() : fresh(key);
    fill(next, service, pods);
    if (existing && is_same(existing, next)) return Outcome::done();
    const std::string trigger_time = change_trigger_time(service, pods);
    if (!trigger_time.empty())
      core::Endpoints(next).mutable_metadata().set_annotations(trigger_annotation, trigger_time);
    auto written =
        existing ? client_.update(core::endpoints, next) : client_.create(core::endpoints, next, key.namespace_);
    if (written) return Outcome::done();
    return Outcome::failed(std::move(written).error());
  }

 private:
  // Made by this loop, also by one before the label existed.
  static bool is_managed(const Object& endpoints) { return client::label(endpoints, managed_by_label) == manager; }

  static bool is_same(const Object& before, const Document& after) {
    const auto part = [](const Node* root, std::string_view key) { return root->find("metadata")->find(key); };
    return schema::equal(before->root()->find("subsets"), after.root()->find("subsets")) &&
           schema::equal(part(before->root(), "labels"), part(after.root(), "labels")) &&
           client::annotation(before, capacity_annotation) ==
               core::Endpoints(after).metadata().annotations().get(capacity_annotation);
  }

  static Document fresh(const Key& key) {
    Document endpoints(*core::endpoints.type);
    endpoints.set(endpoints.member(endpoints.root(), "apiVersion"), "v1");
    endpoints.set(endpoints.member(endpoints.root(), "kind"), "Endpoints");
    core::Endpoints(endpoints).mutable_metadata().set_name(key.name);
    core::Endpoints(endpoints).mutable_metadata().set_namespace(key.namespace_);
    return endpoints;
  }

  static void fill(Document& document, const Object& object, const std::vector<Object>& pods) {
    const core::Service service(object);
    core::Endpoints view(document);
    auto metadata = view.mutable_metadata();
    metadata.clear_labels();
    for (const auto& [key, value] : service.metadata().labels()) metadata.set_labels(key, value);
    metadata.set_labels(managed_by_label, manager);
    if (service.spec().clusterIP() == "None") metadata.set_labels(headless_label, "");
    PortGroups groups = members_of(service, pods, families_of(service).front(), {});
    const bool truncated = truncate(groups);
    if (truncated)
      metadata.set_annotations(capacity_annotation, "truncated");
    else
      metadata.erase_annotations(capacity_annotation);
    view.clear_subsets();
    for (const auto& [ports, members] : groups) {
      // A pod on its way out is not in Endpoints at all.
      const bool any =
          std::any_of(members.begin(), members.end(), [&](const Member& m) { return is_listed(m, service); });
      if (!any) continue;
      core::EndpointSubset subset = view.add_subsets();
      for (const Member& member : members)
        if (is_listed(member, service))
          fill(member.ready ? subset.add_addresses() : subset.add_notReadyAddresses(), member);
      for (const Port& port : ports) {
        core::EndpointPort row = subset.add_ports();
        if (!port.name.empty()) row.set_name(port.name);
        row.set_port(port.port);
        row.set_protocol(port.protocol);
        if (!port.app_protocol.empty()) row.set_appProtocol(port.app_protocol);
      }
    }
  }

  static bool is_listed(const Member& member, const core::Service& service) {
    return !member.terminating || service.spec().publishNotReadyAddresses();
  }

  static void fill(core::EndpointAddress row, const Member& member) {
    row.set_ip(member.address);
    if (!member.hostname.empty()) row.set_hostname(member.hostname);
    if (!member.node.empty()) row.set_nodeName(member.node);
    auto target = row.mutable_targetRef();
    target.set_kind("Pod");
    target.set_namespace(member.pod_namespace);
    target.set_name(member.pod_name);
    target.set_uid(member.pod_uid);
  }

  // Ready ones stay first.
  static bool truncate(PortGroups& groups) {
    size_t total = 0;
    for (auto& [ports, members] : groups) total += members.size();
    if (total <= addresses_max) return false;
    size_t room = addresses_max;
    for (auto& [ports, members] : groups) {
      std::stable_sort(members.begin(), members.end(),
                       [](const Member& a, const Member& b) { return a.ready > b.ready; });
      members.resize(std::min(members.size(), room));
      room -= members.size();
    }
    return true;
  }

  Client& client_;
  ServiceKeys keys_;
  Cache& services_;
  Cache& endpoints_;
};

}  // namespace

LoopSpec endpoints(Client& client, Caches& caches) {
  auto loop = std::make_shared<EndpointsLoop>(client, caches);
  LoopSpec spec;
  spec.name = "endpoints";
  spec.watches = {
      {&core::services, client::own_key(), {}},
      {&core::pods, [loop](const Object& pod, const Enqueue& enqueue) { loop->keys().of_pod(pod, enqueue); }, {}},
      {&core::endpoints, client::own_key(), {}}};
  spec.owns = {"v1 Endpoints of Service"};
  spec.reconcile = [loop](const Key& key) { return loop->reconcile(key); };
  spec.workers = 5;
  return spec;
}

}  // namespace dure::controllers
