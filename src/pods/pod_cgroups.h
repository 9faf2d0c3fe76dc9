// The cgroups that runtimes leave behind when a pod's containers are gone: <root>[/burstable|/besteffort]/pod<uid>.
#pragma once

#include <string>

#include "kernel/cgroups.h"

namespace dure::pods {

// `cgroups` was opened with the root (PodsOptions::cgroup_root) as its parent. What is busy or not there is left alone.
void remove_pod_cgroup(kernel::Cgroups& cgroups, const std::string& uid);

}  // namespace dure::pods
