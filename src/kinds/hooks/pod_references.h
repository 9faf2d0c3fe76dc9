// What a pod or a volume refers to by name: the objects its node must be able to read, and to remember. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "kinds/views/core_v1.h"

namespace dure::kinds {

struct PodReferences {
  std::vector<std::string> secrets, config_maps,
      claims;  // names in the pod's namespace; may repeat
  std::string service_account;
};

PodReferences references_of(const core_v1::Pod& pod);
bool is_mirror_pod(const core_v1::Pod& pod);
inline constexpr std::string_view mirror_annotation = "kubernetes.io/config.mirror";

struct NamespacedName {
  std::string namespace_, name;
};
// Secrets that the node needs to mount the volume.
std::vector<NamespacedName> secrets_of(const core_v1::PersistentVolume& volume);

}  // namespace dure::kinds
