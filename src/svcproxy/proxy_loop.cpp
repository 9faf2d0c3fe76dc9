#include <atomic>
#include <mutex>
#include <utility>

#include "client/object_meta.h"
#include "svcproxy/proxy.h"

namespace dure::svcproxy {

namespace {

using kinds::core_v1::Service;
using kinds::discovery_v1::EndpointSlice;

constexpr auto read_back_every = 10min;
constexpr std::string_view service_label = "kubernetes.io/service-name";
constexpr std::string_view zone_label = "topology.kubernetes.io/zone";
constexpr const char* by_service = "svcproxy-service";

std::string service_of(const schema::Object& slice) {
  return client::Key{std::string(client::namespace_of(slice)), std::string(client::label(slice, service_label))}.text();
}

class Source {
 public:
  Source(const RuleOptions& options, client::Caches& caches, std::function<std::set<std::string>()> unreachable)
      : options_(options),
        unreachable_(std::move(unreachable)),
        services_(caches.of(kinds::core_v1::services)),
        slices_(caches.of(kinds::discovery_v1::endpointslices)) {
    slices_.add_index(by_service,
                      [](const schema::Object& slice) { return std::vector<std::string>{service_of(slice)}; });
  }

  // Answers whether the node is ours and now stands in another zone.
  bool moved(const schema::Object& node) {
    if (client::name_of(node) != options_.node_name) return false;
    std::lock_guard lock(mutex_);
    const std::string zone(client::label(node, zone_label));
    return std::exchange(vantage_.zone, zone) != zone;
  }
  void look_around() {
    if (!unreachable_) return;
    std::set<std::string> now = unreachable_();
    std::lock_guard lock(mutex_);
    vantage_.unreachable = std::move(now);
  }

  ServiceRules rules_of(const client::Key& key) const { return rules_of(services_.get(key), key.text()); }

  Proxy::AllRules all() const {
    Proxy::AllRules out;
    for (const schema::Object& service : services_.list()) {
      std::string name = client::key_of(service).text();
      if (ServiceRules rules = rules_of(service, name); !rules.empty()) out.emplace(name, std::move(rules));
    }
    return out;
  }

 private:
  ServiceRules rules_of(const schema::Object& service, const std::string& name) const {
    if (!service) return {};
    std::vector<schema::Object> objects = slices_.by_index(by_service, name);
    std::vector<EndpointSlice> slices(objects.begin(), objects.end());
    std::lock_guard lock(mutex_);
    return make_rules(Service(service), slices, options_, vantage_);
  }

  RuleOptions options_;
  std::function<std::set<std::string>()> unreachable_;
  mutable std::mutex mutex_;
  Vantage vantage_;  // soft: read again at the start
  client::Cache& services_;
  client::Cache& slices_;
};

client::Key parse_key(const std::string& text) {
  size_t slash = text.find('/');
  return slash == text.npos ? client::Key{"", text} : client::Key{text.substr(0, slash), text.substr(slash + 1)};
}

}  // namespace

client::LoopSpec proxy_loop(Proxy& proxy, client::Caches& caches, std::function<std::set<std::string>()> unreachable) {
  auto source = std::make_shared<Source>(proxy.options().rules, caches, std::move(unreachable));
  auto begun = std::make_shared<std::atomic<bool>>(false);
  auto begin = [begun](const auto& enqueue) {
    if (!begun->exchange(true)) enqueue(every_service);  // starts the chain of read-backs
  };
  client::LoopSpec spec;
  spec.name = proxy_loop_name;
  spec.owns = {"nftables svcproxy"};
  spec.watches.push_back({&kinds::core_v1::services, [begin](const schema::Object& service, const auto& enqueue) {
                            begin(enqueue);
                            enqueue(client::key_of(service));
                          }});
  spec.watches.push_back(
      {&kinds::discovery_v1::endpointslices, [begin](const schema::Object& slice, const auto& enqueue) {
         begin(enqueue);
         enqueue(parse_key(service_of(slice)));
       }});
  spec.watches.push_back({&kinds::core_v1::nodes, [source](const schema::Object& node, const auto& enqueue) {
                            if (source->moved(node)) enqueue(every_service);
                          }});
  spec.reconcile = [&proxy, source](const client::Key& key) -> client::Outcome {
    bool whole = key == every_service;
    Status done;
    if (whole) source->look_around();
    if (whole || !proxy.synced())
      done = proxy.sync_all(source->all());
    else
      done = proxy.sync(key.text(), source->rules_of(key),
                        [&](const std::string& other) { return source->rules_of(parse_key(other)); });
    if (!done) return client::Outcome::failed(done.error());
    return whole ? client::Outcome::after(read_back_every) : client::Outcome::done();
  };
  return spec;
}

}  // namespace dure::svcproxy
