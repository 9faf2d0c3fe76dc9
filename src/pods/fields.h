// Values of a pod that its own containers may ask for: fieldRef and resourceFieldRef of the environment and of
// downwardAPI volumes. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kinds/views/core_v1.h"
#include "pods/node_ips.h"

namespace dure::pods {

// What a pod may learn about its node.
struct NodeFacts {
  std::string name;
  NodeIps ips;                        // InternalIPs
  int64_t allocatable_cpu_milli = 0;  // limits default to these
  int64_t allocatable_memory = 0;
  int64_t allocatable_ephemeral_storage = 0;
};

// path: "metadata.name", "metadata.labels['x']", "metadata.annotations", "spec.nodeName", "status.podIP", ...
// `pod_ips` are those of the running sandbox; the object's own status may lag behind.
Result<std::string> field_value(const kinds::core_v1::Pod& pod, std::string_view path, const NodeFacts& node,
                                const std::vector<std::string>& pod_ips);

// resource: "limits.cpu", "requests.memory", ...; the value is divided by the divisor and rounded up.
Result<std::string> resource_value(const kinds::core_v1::Pod& pod, std::string_view container_name,
                                   std::string_view resource, std::string_view divisor, const NodeFacts& node);

// The container or init container with that name; an empty view when there is none.
kinds::core_v1::Container find_container(const kinds::core_v1::Pod& pod, std::string_view name);

}  // namespace dure::pods
