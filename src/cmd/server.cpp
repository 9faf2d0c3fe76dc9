#include "plane/server.h"

#include <memory>

#include "bootstrap/settings.h"
#include "cmd/door.h"
#include "cmd/memory.h"
#include "cmd/signals.h"
#include "cmd/version.h"
#include "os/disk.h"

namespace dure::cmd {

Door server_door() {
  auto verbose = std::make_shared<bool>(false);
  return {.name = "server",
          .summary = "Run the control plane that dure init prepared, in the foreground",
          .flags = {{"-v,--verbose", verbose.get(), "Log more"}},
          .run = [verbose]() -> Result<int> {
            const StopSignals stop = block_stop_signals();
            tune_memory();
            if (*verbose) set_log_level(LogLevel::debug);
            plane::ServerOptions options;
            options.git_version = kKubernetesVersion;
            const auto disk = os::make_disk();
            DURE_TRY(options.settings, bootstrap::read_server_settings(*disk, options.places));
            DURE_TRY(const auto server, plane::Server::start(std::move(options)));
            notify_ready();
            stop.serve();
            return 0;
          }};
}

}  // namespace dure::cmd
