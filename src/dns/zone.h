// Zone: the cluster's names. A table of what each Service means, and the rules that turn a question into records.
//
// Names (domain cluster.local): <service>.<ns>.svc, _<port>._<protocol>.<service>.<ns>.svc, <host>.<service>.<ns>.svc
// of headless Services, <a-b-c-d>.<ns>.pod, PTR of Service addresses and of endpoints of headless Services,
// dns-version. Thread: any; a lookup holds a lock for as long as it copies a handful of records. Memory: about 200
// bytes per Service.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "dns/message.h"
#include "dns/records.h"

namespace dure::dns {

struct ZoneOptions {
  std::string domain = "cluster.local";
  std::vector<IpPrefix> ranges = {{Ip::v4(0x0a600000), 12}, {Ip::v4(0x0af40000), 16}};  // whose PTR are ours
  std::vector<Ip> addresses;  // where this zone is answered: ns.dns.<domain>
  uint32_t ttl_seconds = 5;
};

struct Lookup {
  enum class Kind : uint8_t {
    outside,  // not our name: ask upstream
    found,    // records; perhaps none of the type asked for
    no_name,
    alias,  // an ExternalName outside the zone: `records` has the CNAME, the rest is upstream's
  };
  Kind kind = Kind::outside;
  std::vector<Record> records, additional;
  std::string target;     // of an alias
  std::string authority;  // whose SOA goes with an empty answer
};

class Zone {
 public:
  explicit Zone(ZoneOptions options);
  // `records` null: the Service is gone.
  void put(std::string_view namespace_, std::string_view service, std::shared_ptr<const ServiceRecords> records);
  // `name` in lower case without the last dot.
  Lookup lookup(std::string_view name, uint16_t type) const;
  Soa soa(const std::string& owner) const;
  size_t services() const;
  const ZoneOptions& options() const { return options_; }

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  using Owner = std::pair<std::string, std::string>;  // service.ns, host (empty: the Service itself)
  std::shared_ptr<const ServiceRecords> find(std::string_view service_and_namespace) const;
  Lookup in_services(std::string_view rest, uint16_t type, int depth) const;
  Lookup service_records(std::string_view service_and_namespace, const ServiceRecords& records, uint16_t type,
                         int depth) const;
  Lookup port_records(std::string_view service_and_namespace, std::string_view port, std::string_view protocol,
                      uint16_t type) const;
  Lookup in_pods(std::string_view rest, uint16_t type) const;
  Lookup reverse(std::string_view name, uint16_t type) const;
  Lookup named(std::string_view name, uint16_t type, int depth) const;
  void add_srv(Lookup& out, std::string_view service_and_namespace, const ServiceRecords& records,
               std::string_view port, std::string_view protocol) const;
  void index(const std::string& key, const ServiceRecords& records, bool add);
  std::string full(std::string_view service_and_namespace) const;
  Record address(const Ip& ip, std::string owner = {}) const;

  ZoneOptions options_;
  std::string suffix_;  // ".cluster.local"
  mutable std::mutex mutex_;
  std::unordered_map<std::string, std::shared_ptr<const ServiceRecords>, Hash, std::equal_to<>>
      services_;                                                                 // "web.default"
  std::unordered_map<std::string, uint32_t, Hash, std::equal_to<>> namespaces_;  // how many Services
  std::multimap<Ip, Owner> owners_;
  uint32_t serial_ = 1;
};

}  // namespace dure::dns
