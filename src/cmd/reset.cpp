#include <unistd.h>

#include <cstdio>
#include <memory>

#include "bootstrap/reset.h"
#include "cmd/door.h"
#include "host/remove_pods.h"
#include "kernel/links.h"
#include "kernel/mounts.h"
#include "kernel/nft.h"
#include "kernel/sysctl.h"
#include "os/disk.h"

namespace dure::cmd {
namespace {

Result<int> reset_machine(bool force) {
  if (geteuid() != 0)
    return fail(Error{403, "NotRoot", "dure reset changes the machine and needs root", "sudo dure reset"});
  if (!force && isatty(STDIN_FILENO)) {
    printf("This removes the cluster's data, keys and pods from this machine. Go on? [y/N] ");
    fflush(stdout);
    const int answer = getchar();
    if (answer != 'y' && answer != 'Y') return 1;
  }
  const bootstrap::Places places;
  const auto disk = os::make_disk();
  const auto settings = bootstrap::read_agent_settings(*disk, places);
  const std::string endpoint = settings ? settings->runtime_endpoint : bootstrap::AgentSettings().runtime_endpoint;
  DURE_TRY(const auto links, kernel::open_links());
  DURE_TRY(const auto nft, kernel::open_nft());
  DURE_TRY(const auto sysctl, kernel::open_sysctl());
  const auto mounts = kernel::linux_mounts();
  // A machine that was only checked and fixed has no pods, and perhaps no runtime.
  std::function<Status()> remove_pods;
  if (settings) remove_pods = [&] { return host::remove_pods(endpoint); };
  const auto report = bootstrap::reset({*disk, *links, *mounts, *nft, *sysctl}, places, remove_pods);
  for (const std::string& line : report.undone) printf("[reset] removed %s\n", line.c_str());
  for (const std::string& line : report.refused) printf("[reset] could not remove %s\n", line.c_str());
  if (report.undone.empty() && report.refused.empty())
    printf("[reset] nothing to do: this machine belongs to no cluster\n");
  if (!report.refused.empty())
    return fail(Error{500, "ResetIncomplete", "some things stayed; the lines above say which and why",
                      "stop dure server and dure agent, then dure reset"});
  return 0;
}

}  // namespace

Door reset_door() {
  auto force = std::make_shared<bool>(false);
  return {.name = "reset",
          .summary = "Leave the cluster and undo every change dure made to this machine",
          .flags = {{"-f,--force", force.get(), "Do not ask"}},
          .run = [force] { return reset_machine(*force); }};
}

}  // namespace dure::cmd
