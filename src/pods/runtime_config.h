// The CRI messages that create a pod's sandbox and containers, made from its spec. Pure.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cri/views/cri_v1.h"
#include "kinds/views/core_v1.h"
#include "pods/dns_config.h"
#include "pods/environment.h"

namespace dure::pods {

struct SandboxFacts {
  ClusterDns cluster_dns;
  DnsConfig node_dns;
  std::string pod_log_root = "/var/log/pods";
  std::string cgroup_root;  // "" lets the runtime choose; "/kubepods" gives kubelet's tree
};

// /var/log/pods/<namespace>_<name>_<uid>
std::string pod_log_directory(const kinds::core_v1::Pod& pod, std::string_view root);
// <root>/burstable/pod<uid>; empty without a root
std::string pod_cgroup(const kinds::core_v1::Pod& pod, std::string_view root);

// Ports of the node that the pod's containers and sidecars ask for.
std::vector<kinds::core_v1::ContainerPort> host_ports(const kinds::core_v1::Pod& pod);

// A cri::v1::PodSandboxConfig.
schema::Document sandbox_config(const kinds::core_v1::Pod& pod, uint32_t attempt, const SandboxFacts& facts);

struct MountRow {
  std::string container_path, host_path;
  bool read_only = false;
  std::string propagation;  // "", "None", "HostToContainer", "Bidirectional"
};

struct ContainerFacts {
  std::string image_id;               // what the image resolved to
  std::optional<int64_t> image_user;  // uid the image asks for
  uint32_t attempt = 0;
  Environment environment;
  std::vector<MountRow> mounts;
  int64_t node_memory = 0;
  int64_t oom_score_adj_min = -1000;
};

// A cri::v1::ContainerConfig.
schema::Document container_config(const kinds::core_v1::Pod& pod, const kinds::core_v1::Container& container,
                                  const ContainerFacts& facts);

// The user a container runs as by its or the pod's security context; nullopt: the image decides.
std::optional<int64_t> run_as_user(const kinds::core_v1::Pod& pod, const kinds::core_v1::Container& container);
bool run_as_non_root(const kinds::core_v1::Pod& pod, const kinds::core_v1::Container& container);

}  // namespace dure::pods
