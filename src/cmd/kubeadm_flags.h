// kubeadm's flags that dure has no use for: they are known, so that a line from somebody's notes is answered with
// dure's way instead of "unknown flag". Those that change nothing here are taken in silence.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "cmd/door.h"

namespace dure::cmd {

struct KubeadmFlags {
  std::map<std::string, std::string> texts;  // by flag; owned here because flags are parsed into them
  std::map<std::string, bool> switches;
  int verbosity = 0;
};

// `door`: "init" or "join".
std::vector<Flag> kubeadm_flags(std::string_view door, KubeadmFlags& flags);
// The first one that was given and cannot be had: "NotDuresWay".
Status judge_kubeadm_flags(std::string_view door, const KubeadmFlags& flags);

}  // namespace dure::cmd
