#include "pods/resources.h"

#include <algorithm>

#include "schema/quantity.h"

namespace dure::pods {

using kinds::core_v1::Container;
using kinds::core_v1::Pod;

namespace {

int64_t milli_of(const auto& map, std::string_view name) { return schema::Quantity::read(map.get(name)).milli(); }

struct QosCount {
  bool any = false, guaranteed = true;
  void add(const Container& container) {
    const auto limits = container.resources().limits();
    const auto requests = container.resources().requests();
    for (std::string_view name : {"cpu", "memory"}) {
      const int64_t limit = milli_of(limits, name);
      const int64_t request = requests.contains(name) ? milli_of(requests, name) : limit;
      any = any || limit > 0 || request > 0;
      guaranteed = guaranteed && limit > 0 && limit == request;
    }
  }
};

}  // namespace

std::string_view qos_class(const Pod& pod) {
  QosCount count;
  for (Container c : pod.spec().containers()) count.add(c);
  for (Container c : pod.spec().initContainers()) count.add(c);
  if (!count.any) return "BestEffort";
  return count.guaranteed ? "Guaranteed" : "Burstable";
}

namespace {

int64_t oom_score_adj(const Pod& pod, const Container& container, int64_t node_memory) {
  constexpr int64_t guaranteed = -997;
  if (pod.spec().priorityClassName() == "system-node-critical") return guaranteed;
  const std::string_view qos = qos_class(pod);
  if (qos == "Guaranteed") return guaranteed;
  if (qos == "BestEffort" || node_memory <= 0) return 1000;
  const int64_t request = milli_of(container.resources().requests(), "memory") / 1000;
  const int64_t score = 1000 - static_cast<int64_t>(static_cast<__int128>(1000) * request / node_memory);
  return std::clamp<int64_t>(score, 1000 + guaranteed, 999);
}

}  // namespace

LinuxResources linux_resources(const Pod& pod, const Container& container, int64_t node_memory,
                               int64_t oom_score_adj_min) {
  LinuxResources out;
  const auto limits = container.resources().limits();
  const auto requests = container.resources().requests();
  const int64_t cpu_limit = milli_of(limits, "cpu");
  const int64_t cpu_request = requests.contains("cpu") ? milli_of(requests, "cpu") : cpu_limit;
  out.cpu_shares = std::clamp<int64_t>(cpu_request * 1024 / 1000, 2, 262144);
  if (cpu_limit > 0) {
    out.cpu_period = 100000;
    out.cpu_quota = std::max<int64_t>(cpu_limit * out.cpu_period / 1000, 1000);
  }
  out.memory_limit = schema::Quantity::read(limits.get("memory")).value();
  out.oom_score_adj = std::max(oom_score_adj(pod, container, node_memory), oom_score_adj_min);
  return out;
}

}  // namespace dure::pods
