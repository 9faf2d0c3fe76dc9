#include "dns/dns_loop.h"

#include "client/object_meta.h"

namespace dure::dns {

namespace {

constexpr std::string_view service_label = "kubernetes.io/service-name";
constexpr const char* by_service = "dns-service";

client::Key service_of(const schema::Object& slice) {
  return {std::string(client::namespace_of(slice)), std::string(client::label(slice, service_label))};
}

}  // namespace

client::LoopSpec dns_loop(Zone& zone, client::Caches& caches) {
  client::Cache& services = caches.of(kinds::core_v1::services);
  client::Cache& slices = caches.of(kinds::discovery_v1::endpointslices);
  slices.add_index(by_service, [](const schema::Object& slice) { return std::vector{service_of(slice).text()}; });
  client::LoopSpec spec;
  spec.name = "dns";
  spec.owns = {"names of the cluster's zone"};
  spec.watches.push_back({&kinds::core_v1::services, client::own_key()});
  spec.watches.push_back({&kinds::discovery_v1::endpointslices,
                          [](const schema::Object& slice, const auto& enqueue) { enqueue(service_of(slice)); }});
  spec.reconcile = [&zone, &services, &slices](const client::Key& key) -> client::Outcome {
    schema::Object service = services.get(key);
    if (!service) {
      zone.put(key.namespace_, key.name, nullptr);
      return client::Outcome::done();
    }
    std::vector<schema::Object> objects = slices.by_index(by_service, key.text());
    std::vector<kinds::discovery_v1::EndpointSlice> views(objects.begin(), objects.end());
    zone.put(key.namespace_, key.name, make_records(kinds::core_v1::Service(service), views));
    return client::Outcome::done();
  };
  return spec;
}

}  // namespace dure::dns
