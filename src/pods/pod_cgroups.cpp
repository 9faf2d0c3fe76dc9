#include "pods/pod_cgroups.h"

namespace dure::pods {

void remove_pod_cgroup(kernel::Cgroups& cgroups, const std::string& uid) {
  for (const char* group : {"", "burstable/", "besteffort/"}) (void)cgroups.remove(std::string(group) + "pod" + uid);
}

}  // namespace dure::pods
