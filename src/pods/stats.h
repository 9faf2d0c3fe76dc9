// What pods use, from the runtime: the kubelet's summary (JSON) and the resource metrics that metrics-server reads.
#pragma once

#include <string>

#include "base/result.h"
#include "cri/runtime.h"
#include "os/disk.h"

namespace dure::pods {

Result<std::string> stats_summary(cri::Runtime& runtime, os::Disk& disk, const std::string& node_name);
Result<std::string> resource_metrics(cri::Runtime& runtime, os::Disk& disk);

}  // namespace dure::pods
