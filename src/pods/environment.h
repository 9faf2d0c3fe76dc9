// Environment of a container, as the kubelet builds it. Pure: objects are looked up through the functions given.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "kinds/views/core_v1.h"
#include "pods/fields.h"

namespace dure::pods {

using Environment = std::vector<std::pair<std::string, std::string>>;  // in order, each name once

struct EnvironmentSources {
  std::function<schema::Object(std::string_view namespace_, std::string_view name)> config_map,
      secret;                            // null: not there
  std::vector<schema::Object> services;  // of the pod's namespace, and "kubernetes" of default
  NodeFacts node;
  std::vector<std::string> pod_ips;
};

// An error names what is missing; the container then waits with CreateContainerConfigError.
Result<Environment> environment(const kinds::core_v1::Pod& pod, const kinds::core_v1::Container& container,
                                const EnvironmentSources& sources);

// KUBERNETES_SERVICE_HOST and its family, for the services given.
Environment service_environment(const kinds::core_v1::Pod& pod, const std::vector<schema::Object>& services);

// $(NAME) becomes the value where there is one and stays as it is where not; $$ is a dollar.
std::string expand(std::string_view text, const std::function<const std::string*(std::string_view)>& value);
std::string expand(std::string_view text, const Environment& environment);

}  // namespace dure::pods
