#include "cmd/machine.h"

#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include "bootstrap/journal.h"
#include "cmd/node_flags.h"

extern char** environ;

namespace dure::cmd {
namespace {

constexpr int looks_a_second = 10, patience_seconds = 60;

Status start_units(OpenMachine& machine, bool with_server) {
  std::error_code error;
  bootstrap::InstallRequest request;
  request.program = std::filesystem::read_symlink("/proc/self/exe", error).string();
  request.with_server = with_server;
  request.environment = bootstrap::proxy_variables(environ);
  const bootstrap::Places places;
  bootstrap::Journal journal(*machine.disk, places.journal());
  DURE_CHECK(bootstrap::install_services(*machine.disk, journal, *machine.services, places, request));
  for (const std::string_view unit : {bootstrap::server_unit_name, bootstrap::agent_unit_name}) {
    if (!with_server && unit == bootstrap::server_unit_name) continue;
    DURE_CHECK(bootstrap::await_service(*machine.services, std::string(unit), patience_seconds * looks_a_second,
                                        [] { usleep(1'000'000 / looks_a_second); }));
    printf("[start] %s runs, and starts again at every boot\n", std::string(unit).c_str());
  }
  return {};
}

}  // namespace

Result<OpenMachine> OpenMachine::open() {
  OpenMachine out;
  out.disk = os::make_disk();
  DURE_TRY(out.links, kernel::open_links());
  DURE_TRY(out.nft, kernel::open_nft());
  DURE_TRY(out.sysctl, kernel::open_sysctl());
  out.mounts = kernel::linux_mounts();
  out.services = bootstrap::systemd(*out.disk);
  return out;
}

Result<int> start_for_good(OpenMachine& machine, bool with_server, const StartWishes& wishes) {
  if (wishes.skip_start) return 0;
  if (!wishes.foreground && machine.services->is_there()) {
    DURE_CHECK(start_units(machine, with_server));
    return 0;
  }
  if (!wishes.foreground) printf("There is no systemd here, so that nothing is started at boot.\n");
  printf("Running in the foreground; Ctrl-C stops. Start it again with: %s\n\n",
         with_server ? "dure server & dure agent" : "dure agent");
  fflush(stdout);
  return run_in_foreground(with_server);
}

}  // namespace dure::cmd
