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

// An endpoint with what is known of its place.
struct Candidate {
  Endpoint endpoint;
  bool reachable = true;
  bool has_zone_hint = false, for_zone = false;  // a hint, and it names ours
  bool has_node_hint = false, for_node = false;
};

struct Endpoints {
  std::vector<Endpoint> ready, last_resort;  // last resort: going away, but still serving
  std::vector<Endpoint> near;                // those of `ready` that clients of this node are sent to
};

void sort_unique(std::vector<Endpoint>& list) {
  std::ranges::sort(list);
  // The same pod may stand in two slices while it moves between them.
  auto same = [](const Endpoint& a, const Endpoint& b) { return a.ip == b.ip && a.port == b.port; };
  list.erase(std::unique(list.begin(), list.end(), same), list.end());
}

std::vector<Candidate> only(const std::vector<Candidate>& all, bool Candidate::* wanted) {
  std::vector<Candidate> out;
  std::ranges::copy_if(all, std::back_inserter(out), wanted);
  return out;
}

// Whom clients of this node are sent to: not to nodes that no path leads to, and to their own node or zone where the
// hints say so. Never to nobody.
std::vector<Candidate> nearest(const std::vector<Candidate>& ready) {
  std::vector<Candidate> reachable = only(ready, &Candidate::reachable);
  const std::vector<Candidate>& all = reachable.empty() ? ready : reachable;
  for (const auto& [has_hint, is_meant] : {std::pair{&Candidate::has_node_hint, &Candidate::for_node},
                                           {&Candidate::has_zone_hint, &Candidate::for_zone}}) {
    if (!std::ranges::all_of(all, has_hint)) continue;
    if (std::vector<Candidate> meant = only(all, is_meant); !meant.empty()) return meant;
  }
  return all;
}

std::vector<Endpoint> endpoints_of(const std::vector<Candidate>& candidates) {
  std::vector<Endpoint> out;
  for (const Candidate& candidate : candidates) out.push_back(candidate.endpoint);
  sort_unique(out);
  return out;
}

Candidate candidate_of(const kinds::discovery_v1::Endpoint& row, const RuleOptions& options, const Vantage& vantage) {
  Candidate out;
  out.endpoint.local = row.nodeName() == options.node_name && !options.node_name.empty();
  out.reachable = !vantage.unreachable.contains(std::string(row.nodeName()));
  for (auto zone : row.hints().forZones()) {
    out.has_zone_hint = true;
    out.for_zone |= !vantage.zone.empty() && zone.name() == vantage.zone;
  }
  for (auto node : row.hints().forNodes()) {
    out.has_node_hint = true;
    out.for_node |= node.name() == options.node_name;
  }
  return out;
}

Endpoints collect(const ServicePort& port, const std::vector<EndpointSlice>& slices, const RuleOptions& options,
                  const Vantage& vantage) {
  std::vector<Candidate> ready;
  Endpoints out;
  for (const EndpointSlice& slice : slices) {
    uint16_t number = slice.addressType() == "IPv4" ? slice_port(slice, port) : 0;
    if (number == 0) continue;
    for (auto row : slice.endpoints()) {
      auto conditions = row.conditions();
      bool is_ready = !conditions.has_ready() || conditions.ready();
      bool serving = conditions.has_serving() ? conditions.serving() : is_ready;
      if (!is_ready && !(serving && conditions.terminating())) continue;
      // The addresses of one endpoint are the same pod.
      auto ip = row.addresses().empty() ? std::nullopt : ipv4(row.addresses().front());
      if (!ip) continue;
      Candidate candidate = candidate_of(row, options, vantage);
      candidate.endpoint.ip = *ip;
      candidate.endpoint.port = number;
      if (is_ready)
        ready.push_back(candidate);
      else
        out.last_resort.push_back(candidate.endpoint);
    }
  }
  out.ready = endpoints_of(ready);
  out.near = endpoints_of(nearest(ready));
  sort_unique(out.last_resort);
  return out;
}

std::vector<Endpoint> only_local(const std::vector<Endpoint>& all) {
  std::vector<Endpoint> out;
  std::ranges::copy_if(all, std::back_inserter(out), &Endpoint::local);
  return out;
}

std::vector<Endpoint> usable(const Endpoints& all, bool local) {
  std::vector<Endpoint> ready = local ? only_local(all.ready) : all.near;
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

ServiceRules make_rules(const Service& service, const std::vector<EndpointSlice>& slices, const RuleOptions& options,
                        const Vantage& vantage) {
  auto spec = service.spec();
  if (spec.type() == "ExternalName" || spec.clusterIP() == "None" || spec.clusterIP().empty()) return {};
  auto ours = [&](uint32_t ip) {
    return std::ranges::any_of(options.local_addresses, [&](const Ip& local) { return !local.v6 && local.v4() == ip; });
  };
  std::map<Frontend, Target> out;
  for (auto port : spec.ports()) {
    Endpoints all = collect(port, slices, options, vantage);
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
