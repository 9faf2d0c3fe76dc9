// How the long-running doors begin and end.
#pragma once

#include <signal.h>

#include "base/log.h"

namespace dure::cmd {

// SIGINT and SIGTERM are blocked in every thread made from now on; `wait` returns when one comes.
struct StopSignals {
  sigset_t set;
  void wait() const;
};
StopSignals block_stop_signals();

// glibc's allocator with fixed thresholds and few arenas: large buffers go back to the machine when they are freed.
void tune_memory();

}  // namespace dure::cmd
