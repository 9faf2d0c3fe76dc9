#include "scheduler/snapshot.h"

#include <algorithm>

#include "kinds/views/core_v1.h"
#include "schema/quantity.h"

namespace dure::scheduler {
namespace {

using kinds::core_v1::Container;
using kinds::core_v1::Node;
using kinds::core_v1::Pod;

constexpr int64_t kScoringCpuMilli = 100, kScoringMemory = 200 << 20;

int64_t amount_of(std::string_view resource, std::string_view text) {
  const auto quantity = schema::Quantity::parse(text);
  if (!quantity) return 0;
  return resource == "cpu" ? quantity->milli() : quantity->value();
}

Amounts amounts_of(const schema::Map<std::string_view>& list) {
  Amounts out;
  for (const auto& [name, text] : list) {
    const int64_t amount = amount_of(name, text);
    if (name == "cpu")
      out.cpu_milli = amount;
    else if (name == "memory")
      out.memory = amount;
    else if (name == "ephemeral-storage")
      out.ephemeral_storage = amount;
    else if (name != "pods")
      out.others[std::string(name)] = amount;
  }
  return out;
}

void raise_to(Amounts& out, const Amounts& other) {
  out.cpu_milli = std::max(out.cpu_milli, other.cpu_milli);
  out.memory = std::max(out.memory, other.memory);
  out.ephemeral_storage = std::max(out.ephemeral_storage, other.ephemeral_storage);
  for (const auto& [name, amount] : other.others) {
    int64_t& mine = out.others[name];
    mine = std::max(mine, amount);
  }
}

Amounts scoring_amounts(const Container& container) {
  Amounts out = amounts_of(container.resources().requests());
  if (!container.resources().requests().contains("cpu")) out.cpu_milli = kScoringCpuMilli;
  if (!container.resources().requests().contains("memory")) out.memory = kScoringMemory;
  return out;
}

// Sum of the containers, or the largest init container beside the sidecars started before it, whichever is more; plus
// the pod's overhead (KEP-753).
template <class Of>
Amounts total(const Pod& pod, Of of) {
  Amounts sum, sidecars, init_peak;
  for (const Container& container : pod.spec().containers()) sum.add(of(container));
  for (const Container& container : pod.spec().initContainers()) {
    if (container.restartPolicy() == "Always") {
      sidecars.add(of(container));
      raise_to(init_peak, sidecars);
    } else {
      Amounts now = sidecars;
      now.add(of(container));
      raise_to(init_peak, now);
    }
  }
  sum.add(sidecars);
  raise_to(sum, init_peak);
  sum.add(amounts_of(pod.spec().overhead()));
  return sum;
}

void collect_host_ports(const Pod& pod, std::vector<HostPort>& out) {
  const auto collect = [&](const Container& container) {
    for (const auto& port : container.ports())
      if (port.hostPort() > 0)
        out.push_back({std::string(port.hostIP()), port.protocol().empty() ? "TCP" : std::string(port.protocol()),
                       port.hostPort()});
  };
  for (const Container& container : pod.spec().containers()) collect(container);
  for (const Container& container : pod.spec().initContainers())
    if (container.restartPolicy() == "Always") collect(container);
}

bool is_finished(const Pod& pod) { return pod.status().phase() == "Succeeded" || pod.status().phase() == "Failed"; }

bool is_any(std::string_view ip) { return ip.empty() || ip == "0.0.0.0" || ip == "::"; }

}  // namespace

void Amounts::add(const Amounts& other, int sign) {
  cpu_milli += sign * other.cpu_milli;
  memory += sign * other.memory;
  ephemeral_storage += sign * other.ephemeral_storage;
  for (const auto& [name, amount] : other.others) others[name] += sign * amount;
}

bool HostPort::clashes_with(const HostPort& other) const {
  return port == other.port && protocol == other.protocol && (ip == other.ip || is_any(ip) || is_any(other.ip));
}

PodNeeds needs_of(const schema::Object& object) {
  const Pod pod(object);
  PodNeeds needs;
  needs.pod = object;
  needs.requests = total(pod, [](const Container& c) { return amounts_of(c.resources().requests()); });
  const Amounts scoring = total(pod, scoring_amounts);
  needs.scoring_cpu_milli = scoring.cpu_milli;
  needs.scoring_memory = scoring.memory;
  needs.priority = pod.spec().priority();
  collect_host_ports(pod, needs.host_ports);
  return needs;
}

Snapshot::Snapshot(const std::vector<schema::Object>& nodes, const std::vector<schema::Object>& pods) {
  for (const schema::Object& object : nodes) {
    const Node node(object);
    NodeRoom room;
    room.node = object;
    room.name = std::string(node.metadata().name());
    const auto allocatable =
        node.status().allocatable().empty() ? node.status().capacity() : node.status().allocatable();
    room.allocatable = amounts_of(allocatable);
    room.pods_max = amount_of("pods", allocatable.get("pods"));
    nodes_.push_back(std::move(room));
  }
  std::sort(nodes_.begin(), nodes_.end(), [](const NodeRoom& a, const NodeRoom& b) { return a.name < b.name; });
  for (size_t i = 0; i < nodes_.size(); ++i) index_[nodes_[i].name] = i;
  for (const schema::Object& object : pods) {
    const Pod pod(object);
    if (pod.spec().nodeName().empty() || is_finished(pod)) continue;
    place(std::make_shared<const PodNeeds>(needs_of(object)), pod.spec().nodeName());
  }
}

void Snapshot::place(const std::shared_ptr<const PodNeeds>& pod, std::string_view node) {
  const auto found = index_.find(std::string(node));
  if (found == index_.end()) return;
  NodeRoom& room = nodes_[found->second];
  room.requested.add(pod->requests);
  room.scoring_cpu_milli += pod->scoring_cpu_milli;
  room.scoring_memory += pod->scoring_memory;
  room.host_ports.insert(room.host_ports.end(), pod->host_ports.begin(), pod->host_ports.end());
  room.pods.push_back(pod);
}

}  // namespace dure::scheduler
