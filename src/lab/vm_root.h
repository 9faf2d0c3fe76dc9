// What virtual machines of a lab are started from: a kernel, an image of the root file system that all of them share
// read-only, and an initrd that lays each machine's own disk over it. Made once, kept in the cache.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "lab/cache.h"

namespace dure::lab {

struct VmRoot {
  std::string kernel, initrd, image;
};

// False where no kernel is at hand: virtual machines are for amd64.
#if defined(__x86_64__)
constexpr bool kVmArchitecture = true;
#else
constexpr bool kVmArchitecture = false;
#endif

// Made first when it is not there (and what systemd_root makes). Errors: those, NoMke2fs, and RootNotMade.
Result<VmRoot> vm_root(CacheHolds& holds, const std::function<void(const std::string&)>& step);

// The files of the modules and of all they need, in the order in which they can be loaded; from the text of a
// modules.dep. Names are as lsmod(8) shows them; those that are not there are left out (they are built in).
std::vector<std::string> modules_in_order(std::string_view modules_dep, const std::vector<std::string>& wanted);

}  // namespace dure::lab
