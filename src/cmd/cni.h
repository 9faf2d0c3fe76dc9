// The binary under its other name, dure-cni: the CNI plugin.
#pragma once

namespace dure::cmd {
int run_cni();
}  // namespace dure::cmd
