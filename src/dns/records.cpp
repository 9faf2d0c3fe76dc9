#include "dns/records.h"

#include <algorithm>

#include "base/text.h"

namespace dure::dns {

using kinds::core_v1::Service;
using kinds::discovery_v1::EndpointSlice;

namespace {

std::string protocol_of(std::string_view text) { return text.empty() ? "tcp" : lower(text); }

std::vector<NamedPort> ports_of(const EndpointSlice& slice) {
  std::vector<NamedPort> out;
  for (auto port : slice.ports())
    out.push_back({std::string(port.name()), protocol_of(port.protocol()), static_cast<uint16_t>(port.port())});
  return out;
}

void add_endpoints(ServiceRecords& out, const EndpointSlice& slice) {
  if (slice.addressType() != "IPv4" && slice.addressType() != "IPv6") return;
  for (auto endpoint : slice.endpoints()) {
    if (endpoint.conditions().has_ready() && !endpoint.conditions().ready()) continue;
    for (std::string_view address : endpoint.addresses()) {
      auto ip = Ip::parse(address);
      if (!ip) continue;
      std::string host = endpoint.hostname().empty() ? dashed(*ip) : lower(endpoint.hostname());
      out.endpoints.push_back({std::move(host), *ip, ports_of(slice)});
    }
  }
}

// The same pod may stand in several slices, each with some of the ports.
void merge_endpoints(std::vector<EndpointRecord>& list) {
  std::ranges::sort(list);
  std::vector<EndpointRecord> out;
  for (EndpointRecord& endpoint : list) {
    bool same = !out.empty() && out.back().host == endpoint.host && out.back().ip == endpoint.ip;
    if (!same) {
      out.push_back(std::move(endpoint));
      continue;
    }
    for (NamedPort& port : endpoint.ports)
      if (std::ranges::find(out.back().ports, port) == out.back().ports.end())
        out.back().ports.push_back(std::move(port));
  }
  list = std::move(out);
}

}  // namespace

std::string dashed(const Ip& ip) {
  std::string out = ip.text();
  for (char& c : out)
    if (c == '.' || c == ':') c = '-';
  return out;
}

std::shared_ptr<const ServiceRecords> make_records(const Service& service, const std::vector<EndpointSlice>& slices) {
  auto spec = service.spec();
  ServiceRecords out;
  for (auto port : spec.ports())
    out.ports.push_back({std::string(port.name()), protocol_of(port.protocol()), static_cast<uint16_t>(port.port())});
  if (spec.type() == "ExternalName") {
    std::string name = lower(spec.externalName());
    if (name.ends_with('.')) name.pop_back();
    if (name.empty()) return nullptr;
    out.external_name = std::move(name);
  } else if (spec.clusterIP() == "None") {
    out.headless = true;
    for (const EndpointSlice& slice : slices) add_endpoints(out, slice);
    merge_endpoints(out.endpoints);
  } else {
    std::vector<std::string_view> texts{spec.clusterIP()};
    for (std::string_view text : spec.clusterIPs()) texts.push_back(text);
    for (std::string_view text : texts)
      if (auto ip = Ip::parse(text); ip && std::ranges::find(out.cluster_ips, *ip) == out.cluster_ips.end())
        out.cluster_ips.push_back(*ip);
    if (out.cluster_ips.empty()) return nullptr;
  }
  return std::make_shared<const ServiceRecords>(std::move(out));
}

}  // namespace dure::dns
