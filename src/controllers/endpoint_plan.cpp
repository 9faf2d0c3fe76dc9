#include "controllers/endpoint_plan.h"

#include <algorithm>
#include <optional>

#include "controllers/pod_facts.h"

namespace dure::controllers {
namespace {

// A service port's number in this pod; absent when the pod does not have the named port.
std::optional<int64_t> target_port(const core::ServicePort& port, const core::Pod& pod) {
  const Node* target = port.targetPort();
  if (!target || target->is_null()) return port.port();
  if (!target->is_string()) return target->integer() == 0 ? port.port() : target->integer();
  const std::string_view name = target->string();
  const std::string_view protocol = port.protocol().empty() ? "TCP" : port.protocol();
  auto find_in = [&](const core::Container& container) -> std::optional<int64_t> {
    for (const core::ContainerPort row : container.ports())
      if (row.name() == name && (row.protocol().empty() ? "TCP" : row.protocol()) == protocol)
        return row.containerPort();
    return {};
  };
  for (const core::Container container : pod.spec().containers())
    if (const auto found = find_in(container)) return found;
  for (const core::Container container : pod.spec().initContainers())
    if (container.restartPolicy() == "Always")
      if (const auto found = find_in(container)) return found;
  return {};
}

std::vector<Port> ports_for(const core::Service& service, const core::Pod& pod) {
  std::vector<Port> ports;
  for (const core::ServicePort row : service.spec().ports()) {
    const auto number = target_port(row, pod);
    if (!number) continue;
    ports.push_back({std::string(row.name()), std::string(row.protocol().empty() ? "TCP" : row.protocol()),
                     std::string(row.appProtocol()), *number});
  }
  std::sort(ports.begin(), ports.end());
  return ports;
}

bool is_family(std::string_view address, std::string_view family) {
  return (address.find(':') != std::string_view::npos) == (family == "IPv6");
}

std::string address_of(const core::Pod& pod, std::string_view family) {
  for (const core::PodIP row : pod.status().podIPs())
    if (is_family(row.ip(), family)) return std::string(row.ip());
  const std::string_view only = pod.status().podIP();
  return !only.empty() && is_family(only, family) ? std::string(only) : std::string();
}

Member member_of(const core::Service& service, const core::Pod& pod, std::string address,
                 const std::map<std::string, std::string>& zone_of_node) {
  Member member;
  member.address = std::move(address);
  member.node = std::string(pod.spec().nodeName());
  if (auto zone = zone_of_node.find(member.node); zone != zone_of_node.end()) member.zone = zone->second;
  if (!pod.spec().hostname().empty() && pod.spec().subdomain() == service.metadata().name())
    member.hostname = std::string(pod.spec().hostname());
  member.pod_namespace = std::string(pod.metadata().namespace_());
  member.pod_name = std::string(pod.metadata().name());
  member.pod_uid = std::string(pod.metadata().uid());
  member.serving = is_ready(pod);
  member.terminating = !pod.metadata().deletionTimestamp().empty();
  member.ready = service.spec().publishNotReadyAddresses() || (member.serving && !member.terminating);
  return member;
}

// spec.trafficDistribution (KEP-2433, KEP-3015): every endpoint serves its own zone, with PreferSameNode its own node
// first. Only when all zones (nodes) are known.
void add_hints(const core::Service& service, std::vector<Member>& members) {
  const std::string_view wish = service.spec().trafficDistribution();
  const bool by_node = wish == "PreferSameNode";
  if (!by_node && wish != "PreferClose" && wish != "PreferSameZone") return;
  auto all_have = [&](std::string Member::* what) {
    return std::ranges::all_of(members, [&](const Member& member) { return !member.ready || !(member.*what).empty(); });
  };
  const bool zones = all_have(&Member::zone), nodes = by_node && all_have(&Member::node);
  for (Member& member : members) {
    if (!member.ready) continue;
    if (zones) member.hint_zones = {member.zone};
    if (nodes) member.hint_node = member.node;
  }
}

}  // namespace

std::vector<std::string> families_of(const core::Service& service) {
  std::vector<std::string> families;
  for (const std::string_view family : service.spec().ipFamilies()) families.emplace_back(family);
  if (families.empty())
    families.emplace_back(service.spec().clusterIP().find(':') != std::string_view::npos ? "IPv6" : "IPv4");
  return families;
}

PortGroups members_of(const core::Service& service, const std::vector<Object>& pods, std::string_view family,
                      const std::map<std::string, std::string>& zone_of_node) {
  PortGroups groups;
  for (const Object& object : pods) {
    const core::Pod pod(object);
    if (is_finished(pod)) continue;
    std::string address = address_of(pod, family);
    if (address.empty()) continue;
    groups[ports_for(service, pod)].push_back(member_of(service, pod, std::move(address), zone_of_node));
  }
  for (auto& [ports, members] : groups) {
    add_hints(service, members);
    std::sort(members.begin(), members.end());
  }
  return groups;
}

namespace {

void fill(discovery::EndpointPort row, const Port& port) {
  row.set_name(port.name);
  row.set_protocol(port.protocol);
  row.set_port(port.port);
  if (!port.app_protocol.empty()) row.set_appProtocol(port.app_protocol);
}

void fill(discovery::Endpoint row, const Member& member) {
  row.add_addresses(member.address);
  auto conditions = row.mutable_conditions();
  conditions.set_ready(member.ready);
  conditions.set_serving(member.serving);
  conditions.set_terminating(member.terminating);
  if (!member.hostname.empty()) row.set_hostname(member.hostname);
  if (!member.pod_name.empty()) {
    auto target = row.mutable_targetRef();
    target.set_kind("Pod");
    target.set_namespace(member.pod_namespace);
    target.set_name(member.pod_name);
    target.set_uid(member.pod_uid);
  }
  if (!member.node.empty()) row.set_nodeName(member.node);
  if (!member.zone.empty()) row.set_zone(member.zone);
  for (const std::string& zone : member.hint_zones) row.mutable_hints().add_forZones().set_name(zone);
  if (!member.hint_node.empty()) row.mutable_hints().add_forNodes().set_name(member.hint_node);
}

}  // namespace

std::vector<Port> ports_of(const Object& slice) {
  std::vector<Port> ports;
  for (const discovery::EndpointPort row : discovery::EndpointSlice(slice).ports())
    ports.push_back({std::string(row.name()), std::string(row.protocol()), std::string(row.appProtocol()), row.port()});
  std::sort(ports.begin(), ports.end());
  return ports;
}

std::vector<Member> members_in(const Object& slice) {
  std::vector<Member> members;
  for (const discovery::Endpoint row : discovery::EndpointSlice(slice).endpoints()) {
    Member member;
    member.address = std::string(row.addresses().front());
    member.hostname = std::string(row.hostname());
    member.node = std::string(row.nodeName());
    member.zone = std::string(row.zone());
    member.pod_namespace = std::string(row.targetRef().namespace_());
    member.pod_name = std::string(row.targetRef().name());
    member.pod_uid = std::string(row.targetRef().uid());
    member.ready = row.conditions().ready();
    member.serving = row.conditions().serving();
    member.terminating = row.conditions().terminating();
    for (const discovery::ForZone zone : row.hints().forZones()) member.hint_zones.emplace_back(zone.name());
    for (const discovery::ForNode node : row.hints().forNodes()) member.hint_node = std::string(node.name());
    members.push_back(std::move(member));
  }
  return members;
}

void fill_slice(Document& slice, const std::vector<Port>& ports, const std::vector<Member>& members) {
  discovery::EndpointSlice view(slice);
  view.clear_ports();
  for (const Port& port : ports) fill(view.add_ports(), port);
  view.clear_endpoints();
  for (const Member& member : members) fill(view.add_endpoints(), member);
}

PortGroups members_of(const core::Endpoints& endpoints, std::string_view family) {
  PortGroups groups;
  for (const core::EndpointSubset subset : endpoints.subsets()) {
    std::vector<Port> ports;
    for (const core::EndpointPort row : subset.ports())
      ports.push_back(
          {std::string(row.name()), std::string(row.protocol()), std::string(row.appProtocol()), row.port()});
    std::sort(ports.begin(), ports.end());
    const auto add = [&](const core::EndpointAddress& row, bool ready) {
      if ((row.ip().find(':') != std::string_view::npos) != (family == "IPv6")) return;
      Member member;
      member.address = row.ip();
      member.hostname = row.hostname();
      member.node = row.nodeName();
      member.ready = member.serving = ready;
      if (row.targetRef().kind() == "Pod") {
        member.pod_namespace = row.targetRef().namespace_();
        member.pod_name = row.targetRef().name();
        member.pod_uid = row.targetRef().uid();
      }
      groups[ports].push_back(std::move(member));
    };
    for (const core::EndpointAddress row : subset.addresses()) add(row, true);
    for (const core::EndpointAddress row : subset.notReadyAddresses()) add(row, false);
  }
  return groups;
}

namespace {

using Who = std::pair<std::string, std::string>;  // address, pod uid
Who who(const Member& member) { return {member.address, member.pod_uid}; }

void plan_group(const std::vector<Port>& ports, const std::vector<Member>& members, std::vector<Object> slices,
                SlicePlan& plan) {
  std::map<Who, Member> waiting;
  for (const Member& member : members) waiting.emplace(who(member), member);
  std::vector<SlicePlan::Change> kept;
  std::vector<bool> changed;
  for (const Object& slice : slices) {
    SlicePlan::Change change{slice, ports, {}};
    bool differs = false;
    for (const Member& old : members_in(slice)) {
      auto at = waiting.find(who(old));
      if (at == waiting.end()) {
        differs = true;
        continue;
      }
      differs |= at->second != old;
      change.members.push_back(std::move(at->second));
      waiting.erase(at);
    }
    kept.push_back(std::move(change));
    changed.push_back(differs);
  }
  // Newcomers go first where something is written anyway, then where there is room, then into new slices.
  for (const bool only_changed : {true, false})
    for (size_t i = 0; i < kept.size(); ++i) {
      if (only_changed && !changed[i]) continue;
      while (!waiting.empty() && kept[i].members.size() < endpoints_per_slice_max) {
        kept[i].members.push_back(std::move(waiting.begin()->second));
        waiting.erase(waiting.begin());
        changed[i] = true;
      }
    }
  for (size_t i = 0; i < kept.size(); ++i) {
    if (!changed[i]) continue;
    if (kept[i].members.empty())
      plan.remove.push_back(kept[i].slice);
    else
      plan.write.push_back(std::move(kept[i]));
  }
  while (!waiting.empty()) {
    SlicePlan::Change fresh{nullptr, ports, {}};
    for (; !waiting.empty() && fresh.members.size() < endpoints_per_slice_max; waiting.erase(waiting.begin()))
      fresh.members.push_back(std::move(waiting.begin()->second));
    plan.write.push_back(std::move(fresh));
  }
}

}  // namespace

SlicePlan plan_slices(const PortGroups& groups, const std::vector<Object>& slices) {
  SlicePlan plan;
  std::map<std::vector<Port>, std::vector<Object>> by_ports;
  for (const Object& slice : slices) by_ports[ports_of(slice)].push_back(slice);
  for (const auto& [ports, members] : groups) {
    auto at = by_ports.find(ports);
    plan_group(ports, members, at == by_ports.end() ? std::vector<Object>{} : at->second, plan);
    if (at != by_ports.end()) by_ports.erase(at);
  }
  for (const auto& [ports, stale] : by_ports)
    for (const Object& slice : stale) plan.remove.push_back(slice);
  if (!groups.empty()) return plan;
  // A Service without members keeps one empty slice, so that its readers know it was looked at.
  for (size_t i = 0; i < plan.remove.size(); ++i)
    if (ports_of(plan.remove[i]).empty() && members_in(plan.remove[i]).empty()) {
      plan.remove.erase(plan.remove.begin() + static_cast<std::ptrdiff_t>(i));
      return plan;
    }
  if (!plan.remove.empty()) {
    plan.write.push_back({plan.remove.back(), {}, {}});
    plan.remove.pop_back();
  } else {
    plan.write.push_back({nullptr, {}, {}});
  }
  return plan;
}

}  // namespace dure::controllers
