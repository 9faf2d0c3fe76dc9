// What this binary is. The Kubernetes version is that of the API it serves.
#pragma once

namespace dure::cmd {
inline constexpr const char* kDureVersion = "0.1.0";
inline constexpr const char* kKubernetesVersion = "v1.34.0+dure0.1.0";
}  // namespace dure::cmd
