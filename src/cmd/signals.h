// How the long-running doors begin and end.
#pragma once

#include <signal.h>

#include <chrono>

#include "base/log.h"

namespace dure::cmd {

// SIGINT and SIGTERM are blocked in every thread made from now on; `serve` returns when one comes. When the start is
// over it gives the memory back that only the start needed.
struct StopSignals {
  sigset_t set;
  bool wait_for(std::chrono::seconds limit) const;  // true: one came
  void serve() const;
};
// Tells the service manager, when there is one, that this process is ready (sd_notify(3), "READY=1").
void notify_ready();

StopSignals block_stop_signals();

}  // namespace dure::cmd
