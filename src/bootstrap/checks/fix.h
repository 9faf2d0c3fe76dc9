// What `dure check --fix` does: only what the journal can undo, written down before it is made.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "bootstrap/finding.h"

namespace dure::os {
class Disk;
}
namespace dure::kernel {
class Sysctl;
}

namespace dure::bootstrap {

struct Places;

struct FixReport {
  std::vector<std::string> done;    // one line each
  std::vector<std::string> failed;  // and why
};

// Sysctls are set now and kept in /etc/sysctl.d/90-dure.conf for the next boot; files are written where there were
// none; modules that a file in /etc/modules-load.d names are loaded by `load_module`. Doing it again changes nothing.
FixReport apply_fixes(os::Disk& disk, kernel::Sysctl& sysctl, const Places& places,
                      const std::vector<Finding>& findings,
                      const std::function<Status(const std::string& module)>& load_module);

}  // namespace dure::bootstrap
