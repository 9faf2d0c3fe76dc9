// What one Service means in DNS (Kubernetes DNS-based service discovery 1.1.0). Pure: objects in, records out.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/ip.h"
#include "kinds/views/core_v1.h"
#include "kinds/views/discovery_v1.h"

namespace dure::dns {

struct NamedPort {
  std::string name, protocol;  // "http", "tcp"
  uint16_t port = 0;
  friend auto operator<=>(const NamedPort&, const NamedPort&) = default;
};

struct EndpointRecord {  // of a headless Service
  std::string host;      // its hostname, or the address with dashes
  Ip ip;
  std::vector<NamedPort> ports;
  friend auto operator<=>(const EndpointRecord&, const EndpointRecord&) = default;
};

struct ServiceRecords {
  bool headless = false;
  std::vector<Ip> cluster_ips;
  std::vector<NamedPort> ports;
  std::vector<EndpointRecord> endpoints;  // ready ones; headless only
  std::string external_name;              // lower case, without the last dot
  friend bool operator==(const ServiceRecords&, const ServiceRecords&) = default;
};

// Nothing when the Service has no name to answer (no address yet).
std::shared_ptr<const ServiceRecords> make_records(const kinds::core_v1::Service& service,
                                                   const std::vector<kinds::discovery_v1::EndpointSlice>& slices);

std::string dashed(const Ip& ip);  // 10-244-1-2

}  // namespace dure::dns
