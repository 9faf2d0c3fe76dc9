#include "svcproxy/rule_set.h"

#include <algorithm>
#include <map>

namespace dure::svcproxy {

using kinds::core_v1::Service;
using kinds::core_v1::ServicePort;
using kinds::discovery_v1::EndpointSlice;

namespace {

constexpr uint32_t affinity_seconds_default = 10800;

uint8_t protocol_number(std::string_view name) { return name == "UDP" ? 17 : name == "SCTP" ? 132 : 6; }

std::optional<uint32_t> ipv4(std::string_view text) {
  auto ip = Ip::parse(text);
  if (!ip || ip->v6 || ip->is_unspecified()) return std::nullopt;
  return ip->v4();
}

// The port of a slice that carries a service's port, by name and protocol.
uint16_t slice_port(const EndpointSlice& slice, const ServicePort& port) {
  std::string_view protocol = port.protocol().empty() ? "TCP" : port.protocol();
  for (auto candidate : slice.ports()) {
    std::string_view offered = candidate.protocol().empty() ? "TCP" : candidate.protocol();
    if (candidate.name() == port.name() && offered == protocol) return static_cast<uint16_t>(candidate.port());
  }
  return 0;
}

struct Endpoints {
  std::vector<Endpoint> ready, last_resort;  // last resort: going away, but still serving
};

void sort_unique(std::vector<Endpoint>& list) {
  std::ranges::sort(list);
  // The same pod may stand in two slices while it moves between them.
  auto same = [](const Endpoint& a, const Endpoint& b) { return a.ip == b.ip && a.port == b.port; };
  list.erase(std::unique(list.begin(), list.end(), same), list.end());
}

Endpoints collect(const ServicePort& port, const std::vector<EndpointSlice>& slices, const RuleOptions& options) {
  Endpoints out;
  for (const EndpointSlice& slice : slices) {
    uint16_t number = slice.addressType() == "IPv4" ? slice_port(slice, port) : 0;
    if (number == 0) continue;
    for (auto endpoint : slice.endpoints()) {
      auto conditions = endpoint.conditions();
      bool ready = !conditions.has_ready() || conditions.ready();
      bool serving = conditions.has_serving() ? conditions.serving() : ready;
      bool leaving = conditions.terminating();
      if (!ready && !(serving && leaving)) continue;
      bool local = endpoint.nodeName() == options.node_name && !options.node_name.empty();
      for (std::string_view address : endpoint.addresses()) {
        auto ip = ipv4(address);
        if (ip) (ready ? out.ready : out.last_resort).push_back({*ip, number, local});
        break;  // the addresses of one endpoint are the same pod
      }
    }
  }
  sort_unique(out.ready);
  sort_unique(out.last_resort);
  return out;
}

std::vector<Endpoint> only_local(const std::vector<Endpoint>& all) {
  std::vector<Endpoint> out;
  std::ranges::copy_if(all, std::back_inserter(out), &Endpoint::local);
  return out;
}

std::vector<Endpoint> usable(const Endpoints& all, bool local) {
  std::vector<Endpoint> ready = local ? only_local(all.ready) : all.ready;
  if (!ready.empty()) return ready;
  return local ? only_local(all.last_resort) : all.last_resort;
}

uint32_t affinity_of(const Service& service) {
  if (service.spec().sessionAffinity() != "ClientIP") return 0;
  int64_t seconds = service.spec().sessionAffinityConfig().clientIP().timeoutSeconds();
  return seconds > 0 && seconds <= 86400 ? static_cast<uint32_t>(seconds) : affinity_seconds_default;
}

Target cluster_target(const Service& service, const Endpoints& all) {
  bool local = service.spec().internalTrafficPolicy() == "Local";
  Target out;
  out.endpoints = usable(all, local);
  out.when_empty = local && !usable(all, false).empty() ? WhenEmpty::drop : WhenEmpty::reject;
  out.affinity_seconds = affinity_of(service);
  return out;
}

Target external_target(const Service& service, const Endpoints& all) {
  bool local = service.spec().externalTrafficPolicy() == "Local";
  Target out;
  out.endpoints = usable(all, local);
  out.masquerade = local ? Masquerade::never : Masquerade::always;
  out.affinity_seconds = affinity_of(service);
  if (!local) return out;
  out.inside = usable(all, false);
  out.has_inside = true;
  // Dropped and not refused: a load balancer in front shall find another node.
  out.when_empty = out.inside.empty() ? WhenEmpty::reject : WhenEmpty::drop;
  return out;
}

std::vector<uint32_t> cluster_ips(const Service& service) {
  std::vector<uint32_t> out;
  std::vector<std::string_view> texts{service.spec().clusterIP()};
  for (std::string_view text : service.spec().clusterIPs()) texts.push_back(text);
  for (std::string_view text : texts)
    if (auto ip = ipv4(text); ip && std::ranges::find(out, *ip) == out.end()) out.push_back(*ip);
  return out;
}

std::vector<uint32_t> external_ips(const Service& service) {
  std::vector<uint32_t> out;
  for (std::string_view text : service.spec().externalIPs())
    if (auto ip = ipv4(text)) out.push_back(*ip);
  if (service.spec().type() != "LoadBalancer") return out;
  for (auto ingress : service.status().loadBalancer().ingress())
    if (auto ip = ipv4(ingress.ip()); ip && ingress.ipMode() != "Proxy") out.push_back(*ip);
  return out;
}

}  // namespace

ServiceRules make_rules(const Service& service, const std::vector<EndpointSlice>& slices, const RuleOptions& options) {
  auto spec = service.spec();
  if (spec.type() == "ExternalName" || spec.clusterIP() == "None" || spec.clusterIP().empty()) return {};
  auto ours = [&](uint32_t ip) {
    return std::ranges::any_of(options.local_addresses, [&](const Ip& local) { return !local.v6 && local.v4() == ip; });
  };
  std::map<Frontend, Target> out;
  for (auto port : spec.ports()) {
    Endpoints all = collect(port, slices, options);
    uint8_t protocol = protocol_number(port.protocol());
    auto number = static_cast<uint16_t>(port.port());
    for (uint32_t ip : cluster_ips(service))
      if (!ours(ip)) out.try_emplace({ip, number, protocol}, cluster_target(service, all));
    for (uint32_t ip : external_ips(service))
      if (!ours(ip)) out.try_emplace({ip, number, protocol}, external_target(service, all));
    if (port.nodePort() > 0)
      out.try_emplace({0, static_cast<uint16_t>(port.nodePort()), protocol}, external_target(service, all));
  }
  ServiceRules rules;
  for (auto& [frontend, target] : out) rules.push_back({frontend, std::move(target)});
  return rules;
}

}  // namespace dure::svcproxy
