// This machine opened, for the doors that change it.
#pragma once

#include <memory>

#include "bootstrap/reset.h"
#include "bootstrap/service.h"
#include "kernel/links.h"
#include "kernel/mounts.h"
#include "kernel/nft.h"
#include "kernel/sysctl.h"
#include "os/disk.h"

namespace dure::cmd {

struct OpenMachine {
  std::unique_ptr<os::Disk> disk;
  std::unique_ptr<kernel::Links> links;
  std::unique_ptr<kernel::Mounts> mounts;
  std::unique_ptr<kernel::Nft> nft;
  std::unique_ptr<kernel::Sysctl> sysctl;
  std::unique_ptr<bootstrap::ServiceManager> services;

  static Result<OpenMachine> open();
  bootstrap::Machine view() { return {*disk, *links, *mounts, *nft, *sysctl, services.get()}; }
};

struct StartWishes {
  bool skip_start = false, foreground = false;
};

// After init (with_server) or join: installs and starts the units and waits until they run; where there is no systemd,
// says so and runs in the foreground. The exit status.
Result<int> start_for_good(OpenMachine& machine, bool with_server, const StartWishes& wishes);

}  // namespace dure::cmd
