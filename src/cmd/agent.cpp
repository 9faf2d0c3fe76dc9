#include "host/agent.h"

#include <memory>

#include "cmd/door.h"
#include "cmd/memory.h"
#include "cmd/signals.h"
#include "cmd/version.h"
#include "os/disk.h"

namespace dure::cmd {

Door agent_door() {
  auto verbose = std::make_shared<bool>(false);
  return {.name = "agent",
          .summary = "Run the node that dure init or dure join prepared, in the foreground",
          .flags = {{"-v,--verbose", verbose.get(), "Log more"}},
          .run = [verbose]() -> Result<int> {
            const StopSignals stop = block_stop_signals();
            tune_memory();
            if (*verbose) set_log_level(LogLevel::debug);
            host::AgentOptions options;
            options.version = kKubernetesVersion;
            const auto disk = os::make_disk();
            DURE_TRY(options.settings, bootstrap::read_agent_settings(*disk, options.places));
            DURE_TRY(const auto agent, host::Agent::start(std::move(options)));
            notify_ready();
            stop.serve();
            return 0;
          }};
}

}  // namespace dure::cmd
