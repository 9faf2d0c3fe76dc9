// Reset: undoes everything the journal knows, newest first, and forgets it. What cannot be undone is named and the rest
// goes on.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "bootstrap/settings.h"

namespace dure::os {
class Disk;
}
namespace dure::kernel {
class Links;
class Mounts;
class Nft;
class Sysctl;
}  // namespace dure::kernel

namespace dure::bootstrap {

class ServiceManager;

struct Machine {  // what reset works on; all outlive the call
  os::Disk& disk;
  kernel::Links& links;
  kernel::Mounts& mounts;
  kernel::Nft& nft;
  kernel::Sysctl& sysctl;
  ServiceManager* services = nullptr;  // null: there are no units
};

struct ResetReport {
  std::vector<std::string> undone;   // one line each
  std::vector<std::string> refused;  // what stayed, and why
};

// Units are stopped first, so that nobody makes again what is removed; then `remove_pods` stops and removes the pods of
// the container runtime (empty: there is none). Journal, keys and data go last. What an installation that was killed
// left beside a file (".new") goes with the file.
ResetReport reset(Machine machine, const Places& places, const std::function<Status()>& remove_pods);

// Removes a folder with everything in it; mounts below it must be gone.
Status remove_tree(os::Disk& disk, const std::string& path);

}  // namespace dure::bootstrap
