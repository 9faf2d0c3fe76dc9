// The lab's cgroups: one group per node, always below the caller's own (never at the root), in every hierarchy the
// machine has (v1, hybrid or v2).
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace dure::lab {

struct Hierarchy {
  std::string mount;        // "/sys/fs/cgroup/cpu", "/sys/fs/cgroup" on pure v2
  std::string controllers;  // mount option: "cpu", "cpu,cpuacct", "name=systemd"; empty: cgroup2
  std::string own_path;     // the caller's group in it, "/" or "/a/b"
  bool v2() const { return controllers.empty(); }
};

Result<std::vector<Hierarchy>> hierarchies();

// Makes <own group>/dure-lab/<lab>/<node> everywhere. Idempotent.
Status make_groups(const std::vector<Hierarchy>& all, const std::string& lab, const std::string& node);
// Moves the calling process there.
Status enter_groups(const std::vector<Hierarchy>& all, const std::string& lab, const std::string& node);
// Moves the calling process into the groups that `pid` (a node's pid 1) is in, as the caller sees them.
void join_cgroups_of(int pid);
// Stops all processes of the node where they are, or lets them go on. Idempotent; "NoFreezer" where the kernel has
// none.
Status freeze_groups(const std::vector<Hierarchy>& all, const std::string& lab, const std::string& node, bool frozen);
// Removes <own group>/dure-lab/<lab> everywhere (of one node: with `node`); processes must be gone or killed. Retries
// for up to `tries` tenths of a second because v1 groups lag behind their last process. Answers how many folders
// stayed.
int remove_groups(const std::vector<Hierarchy>& all, const std::string& lab, int tries = 30,
                  const std::string& node = "");

}  // namespace dure::lab
