// ContainerStarter: from a pod's spec to a sandbox and running containers, one blocking step at a time.
#pragma once

#include <functional>
#include <string>

#include "pods/image_puller.h"
#include "pods/parts.h"
#include "pods/plan.h"
#include "pods/runtime_config.h"
#include "pods/runtime_state.h"

namespace dure::pods {

class ContainerStarter {
 public:
  ContainerStarter(PodsParts& parts, const PodsOptions& options, Memories& memories, ImagePuller& puller,
                   std::function<std::vector<schema::Object>(std::string_view namespace_)> services);

  // Mounts volumes and runs the sandbox. Errors have been told as events.
  Status create_sandbox(const schema::Object& pod, const RuntimePod& runtime, uint32_t attempt);

  struct Answer {
    bool changed = false;                 // something was created: look at the runtime again
    std::optional<Duration> again_after;  // it did not work yet
  };
  Answer start(const schema::Object& pod, const RuntimePod& runtime, const StartContainer& what);

  // The pod's own folder on the node.
  std::string pod_folder(const std::string& uid) const;
  std::string hosts_path(const std::string& uid) const;

 private:
  Status prepare_sandbox_folders(const kinds::core_v1::Pod& pod);
  DnsConfig node_dns() const;
  Result<Environment> make_environment(const schema::Object& pod, const kinds::core_v1::Container& container,
                                       const std::vector<std::string>& ips);
  Result<std::vector<MountRow>> make_mounts(const schema::Object& pod, const kinds::core_v1::Container& container,
                                            const Environment& variables, const std::vector<std::string>& ips,
                                            uint32_t attempt);
  Answer failed(const schema::Object& pod, const std::string& name, const char* reason, const std::string& why);
  Result<schema::Document> create_request(const schema::Object& pod, const kinds::core_v1::Container& container,
                                          const RuntimePod& runtime, const StartContainer& what,
                                          const ImageAnswer& image);
  void post_start(const schema::Object& pod, const kinds::core_v1::Container& container, const RuntimePod& runtime,
                  const std::string& id);

  PodsParts& parts_;
  const PodsOptions& options_;
  Memories& memories_;
  ImagePuller& puller_;
  std::function<std::vector<schema::Object>(std::string_view)> services_;
};

}  // namespace dure::pods
