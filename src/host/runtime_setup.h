// What the container runtime needs of us before the first pod: the sandbox image, and our CNI plugin where it looks for
// plugins.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "bootstrap/journal.h"
#include "cri/runtime.h"

namespace dure::host {

// Imports the embedded images unless the runtime has them: the sandbox's, and the one of `dure verify`.
Status ensure_own_images(cri::Runtime& runtime, const std::string& endpoint);
std::vector<std::string> own_images();  // their names

// Links `dure-cni` (and `loopback`, where there is none) to this program in the usual plugin folders that exist,
// /opt/cni/bin otherwise; each link is recorded in the journal first.
Status install_cni_plugin(bootstrap::Journal& journal);

}  // namespace dure::host
