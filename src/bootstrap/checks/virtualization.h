// Virtualization: what this machine is made of, from a few files; what systemd-detect-virt looks at, in short.
#pragma once

#include <string>

#include "os/disk.h"

namespace dure::bootstrap {

struct Virtualization {
  bool container = false;
  std::string kind;  // "docker", "lxc", "kvm", "oracle", ...; empty: a machine of its own
  // As the label dure.dev/machine says it.
  std::string label() const { return container ? "container" : kind.empty() ? "physical" : "vm"; }
};

// `root`: in front of every path; "" is this machine.
Virtualization read_virtualization(os::Disk& disk, const std::string& root = "");

}  // namespace dure::bootstrap
