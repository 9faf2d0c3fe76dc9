#include <unistd.h>

#include <cstdio>
#include <functional>
#include <map>
#include <memory>

#include "bootstrap/node_identity.h"
#include "bootstrap/reset.h"
#include "bootstrap/settings.h"
#include "bootstrap/snapshot.h"
#include "cmd/door.h"
#include "cmd/machine.h"
#include "host/remove_pods.h"
#include "run/loop.h"

namespace dure::cmd {
namespace {

struct ResetFlags {
  bool force = false, verify = false, cleanup = false;
};

// What is not as it was before dure came.
Result<int> print_difference(const bootstrap::SnapshotLines& before, OpenMachine& machine) {
  const auto difference = bootstrap::snapshot_difference(before, bootstrap::take_snapshot(machine.view(), {}));
  for (const std::string& line : difference) printf("%s\n", line.c_str());
  if (difference.empty()) {
    printf("[reset] verified: links, routes, rules, sysctls, mounts, files and units are as they were before\n");
    return 0;
  }
  return fail(Error{500, "ResetIncomplete",
                    "the machine is not as it was before dure came: + was left, - is gone (lines above)",
                    "remove what is named, if nobody else made it since"});
}

Result<int> reset_machine(const ResetFlags& flags) {
  if (geteuid() != 0)
    return fail(Error{403, "NotRoot", "dure reset changes the machine and needs root", "sudo dure reset"});
  if (!flags.force) {
    printf("This removes the cluster's data, keys and pods from this machine. Go on? [y/N] ");
    fflush(stdout);
    const int answer = getchar();
    if (answer != 'y' && answer != 'Y') {
      printf("%s[reset] nothing was removed; --force does not ask\n", answer == EOF ? "\n" : "");
      return 1;
    }
  }
  const bootstrap::Places places;
  DURE_TRY(OpenMachine machine, OpenMachine::open());
  const auto settings = bootstrap::read_agent_settings(*machine.disk, places);
  const auto before = bootstrap::read_snapshot(*machine.disk, places);
  // Without settings no agent ever ran here: there are no pods, and perhaps no runtime.
  std::function<Status()> remove_pods;
  if (settings)
    remove_pods = [&] {
      run::LoopThread thread("dure-leave");
      (void)bootstrap::take_leave(thread.loop(), *machine.disk, places, *settings);  // the server may be gone
      return host::remove_pods(settings->runtime_endpoint);
    };
  const auto report = bootstrap::reset(machine.view(), places, remove_pods);
  for (const std::string& line : report.undone) printf("[reset] removed %s\n", line.c_str());
  for (const std::string& line : report.refused) printf("[reset] could not remove %s\n", line.c_str());
  if (report.undone.empty() && report.refused.empty())
    printf("[reset] nothing to do: this machine belongs to no cluster\n");
  if (!report.refused.empty())
    return fail(Error{500, "ResetIncomplete", "some things stayed; the lines above say which and why",
                      "stop dure server and dure agent, then dure reset"});
  if (!flags.verify) return 0;
  if (before) return print_difference(*before, machine);
  printf("[reset] nothing to verify: there is no snapshot of the time before dure came\n");
  return 0;
}

}  // namespace

Door reset_door() {
  auto flags = std::make_shared<ResetFlags>();
  auto ignored = std::make_shared<std::vector<std::string>>();
  auto texts = std::make_shared<std::map<std::string, std::string>>();
  return {.name = "reset",
          .summary = "Leave the cluster and undo every change dure made to this machine",
          .flags = {{"-f,--force", &flags->force, "Do not ask"},
                    {"--verify", &flags->verify, "Compare with how the machine was before, and say what is different"},
                    {"--cri-socket", &(*texts)["cri-socket"], "kubeadm's; no effect: the settings know it"},
                    {"--cleanup-tmp-dir", &flags->cleanup, "kubeadm's; no effect: nothing is left there"},
                    {"--ignore-preflight-errors", ignored.get(), "kubeadm's; no effect: reset has none"}},
          .run = [flags, ignored, texts] { return reset_machine(*flags); }};
}

}  // namespace dure::cmd
