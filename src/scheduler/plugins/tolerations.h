// Tolerations against taints (core/v1 Toleration): an empty key with Exists tolerates everything, an empty effect every
// effect.
#pragma once

#include <string_view>

#include "kinds/views/core_v1.h"

namespace dure::scheduler {

bool tolerates(const kinds::core_v1::Pod& pod, std::string_view key, std::string_view value, std::string_view effect);

}  // namespace dure::scheduler
