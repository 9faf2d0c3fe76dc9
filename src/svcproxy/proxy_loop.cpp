#include <atomic>

#include "client/object_meta.h"
#include "svcproxy/proxy.h"

namespace dure::svcproxy {

namespace {

using kinds::core_v1::Service;
using kinds::discovery_v1::EndpointSlice;

const client::Key everything{"", "*"};
constexpr auto read_back_every = 10min;
constexpr std::string_view service_label = "kubernetes.io/service-name";
constexpr const char* by_service = "svcproxy-service";

std::string service_of(const schema::Object& slice) {
  return client::Key{std::string(client::namespace_of(slice)), std::string(client::label(slice, service_label))}.text();
}

class Source {
 public:
  Source(const RuleOptions& options, client::Caches& caches)
      : options_(options),
        services_(caches.of(kinds::core_v1::services)),
        slices_(caches.of(kinds::discovery_v1::endpointslices)) {
    slices_.add_index(by_service,
                      [](const schema::Object& slice) { return std::vector<std::string>{service_of(slice)}; });
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
    return make_rules(Service(service), slices, options_);
  }

  RuleOptions options_;
  client::Cache& services_;
  client::Cache& slices_;
};

client::Key parse_key(const std::string& text) {
  size_t slash = text.find('/');
  return slash == text.npos ? client::Key{"", text} : client::Key{text.substr(0, slash), text.substr(slash + 1)};
}

}  // namespace

client::LoopSpec proxy_loop(Proxy& proxy, client::Caches& caches) {
  auto source = std::make_shared<Source>(proxy.options().rules, caches);
  auto begun = std::make_shared<std::atomic<bool>>(false);
  auto begin = [begun](const auto& enqueue) {
    if (!begun->exchange(true)) enqueue(everything);  // starts the chain of read-backs
  };
  client::LoopSpec spec;
  spec.name = "svcproxy";
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
  spec.reconcile = [&proxy, source](const client::Key& key) -> client::Outcome {
    bool whole = key == everything;
    Status done;
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
