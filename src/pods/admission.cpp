#include "pods/admission.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "pods/plan.h"
#include "pods/runtime_config.h"
#include "schema/quantity.h"

namespace dure::pods {

using kinds::core_v1::Container;
using kinds::core_v1::ContainerPort;
using kinds::core_v1::Pod;

namespace {

int64_t request_of(const Container& c, std::string_view what) {
  const auto requests = c.resources().requests();
  const auto limits = c.resources().limits();
  return schema::Quantity::read(requests.contains(what) ? requests.get(what) : limits.get(what)).milli();
}

// Sum of the containers and sidecars, or the largest init container beside the sidecars before it.
int64_t request_of(const Pod& pod, std::string_view what) {
  int64_t sum = 0, sidecars = 0, largest_init = 0;
  for (Container c : pod.spec().containers()) sum += request_of(c, what);
  for (Container c : pod.spec().initContainers()) {
    const int64_t own = request_of(c, what);
    if (is_sidecar(c)) sidecars += own;
    largest_init = std::max(largest_init, sidecars + (is_sidecar(c) ? 0 : own));
  }
  const int64_t total = std::max(sum + sidecars, largest_init);
  return total + schema::Quantity::read(pod.spec().overhead().get(what)).milli();
}

bool is_any(std::string_view ip) { return ip.empty() || ip == "0.0.0.0" || ip == "::"; }

bool clash(const ContainerPort& a, const ContainerPort& b) {
  const auto protocol = [](const ContainerPort& port) { return port.protocol().empty() ? "TCP" : port.protocol(); };
  return a.hostPort() == b.hostPort() && protocol(a) == protocol(b) &&
         (a.hostIP() == b.hostIP() || is_any(a.hostIP()) || is_any(b.hostIP()));
}

}  // namespace

std::optional<Refusal> refuse(const Pod& pod, const std::vector<schema::Object>& others, const NodeFacts& node,
                              int64_t pods_max) {
  if (static_cast<int64_t>(others.size()) + 1 > pods_max)
    return Refusal{
        "OutOfpods",
        fmt::format("Pod was rejected: Node didn't have enough resource: pods, requested: 1, used: {}, capacity: {}",
                    others.size(), pods_max)};
  struct Row {
    std::string_view name;
    int64_t capacity;  // in thousandths
    int64_t shown;     // divisor in the message: milli CPUs, whole bytes
  };
  for (const Row& row :
       {Row{"cpu", node.allocatable_cpu_milli, 1}, Row{"memory", node.allocatable_memory * 1000, 1000}}) {
    const int64_t wanted = request_of(pod, row.name);
    if (wanted == 0 || row.capacity == 0) continue;
    int64_t used = 0;
    for (const schema::Object& other : others) used += request_of(Pod(other), row.name);
    if (used + wanted > row.capacity)
      return Refusal{
          fmt::format("OutOf{}", row.name),
          fmt::format("Pod was rejected: Node didn't have enough resource: {}, requested: {}, used: {}, capacity: {}",
                      row.name, wanted / row.shown, used / row.shown, row.capacity / row.shown)};
  }
  for (const ContainerPort& own : host_ports(pod))
    for (const schema::Object& other : others)
      for (const ContainerPort& taken : host_ports(Pod(other)))
        if (clash(own, taken))
          return Refusal{"NodePorts",
                         "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports for the "
                         "requested pod ports"};
  return std::nullopt;
}

}  // namespace dure::pods
