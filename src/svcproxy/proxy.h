// Proxy: keeps the node's nftables equal to the rules of all Services.
//
// The first sync reads back what is there and repairs it; after that each Service's change is one small transaction
// made from what was applied for it before. Owner of all chains and sets `svcproxy-...` in our table. Thread: one at a
// time. Failure: a refused transaction leaves the kernel as it was; the next sync reads everything back.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "client/loop.h"
#include "kernel/conntrack.h"
#include "kernel/nft.h"
#include "svcproxy/rule_set.h"
#include "svcproxy/tables.h"

namespace dure::svcproxy {

struct ProxyOptions {
  RuleOptions rules;
  TableOptions table;
};

class Proxy {
 public:
  // `conntrack` may be null: then remembered UDP flows live until they time out.
  Proxy(ProxyOptions options, kernel::Nft& nft, kernel::Conntrack* conntrack)
      : options_(std::move(options)), nft_(nft), conntrack_(conntrack) {}

  const ProxyOptions& options() const { return options_; }
  using AllRules = std::map<std::string, ServiceRules>;  // by "namespace/name"

  // Reads back, brings the kernel to exactly these rules, forgets everything else it knew.
  Status sync_all(const AllRules& rules);
  // One Service's rules changed (empty: it is gone). `rules_of` answers the present rules of another Service that holds
  // a frontend this one wants, or wants one that this one held: an address may have moved between them. Call sync_all
  // first.
  Status sync(const std::string& service, const ServiceRules& rules,
              const std::function<ServiceRules(const std::string&)>& rules_of = {});
  bool synced() const { return synced_; }

  // For reset. Idempotent.
  Status remove_all();

 private:
  struct FrontendHash {
    size_t operator()(const Frontend& f) const {
      return std::hash<uint64_t>{}(uint64_t{f.ip} << 24 ^ uint64_t{f.port} << 8 ^ f.protocol);
    }
  };
  // Rules of `service` whose frontends nobody else holds.
  ServiceRules claim(const std::string& service, const ServiceRules& rules,
                     const std::function<ServiceRules(const std::string&)>& rules_of);
  Status apply(const std::string& service, const ServiceRules& before, const ServiceRules& after);
  void count_hairpins(kernel::NftBatch& batch, const std::map<std::string, uint32_t>& before,
                      const std::map<std::string, uint32_t>& after);
  void forget_clients(const ServiceRules& before, const ServiceRules& after);
  void forget_flows(const ServiceRules& before, const ServiceRules& after);

  ProxyOptions options_;
  kernel::Nft& nft_;
  kernel::Conntrack* conntrack_;
  bool synced_ = false;
  // What the kernel has, by Service; and what follows from it.
  std::unordered_map<std::string, ServiceRules> applied_;
  std::unordered_map<Frontend, std::string, FrontendHash> holders_;
  std::set<std::string> losers_;  // Services of which another one holds a frontend
  std::unordered_map<std::string, uint32_t> hairpins_;
  Shapes shapes_;
};

// The loop over Services and EndpointSlices. `unreachable` answers Vantage::unreachable; who knows that it has changed
// says `runner.enqueue(proxy_loop_name, every_service)`. All arguments outlive it.
inline constexpr const char* proxy_loop_name = "svcproxy";
inline const client::Key every_service{"", "*"};
client::LoopSpec proxy_loop(Proxy& proxy, client::Caches& caches,
                            std::function<std::set<std::string>()> unreachable = {});

}  // namespace dure::svcproxy
