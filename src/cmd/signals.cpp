#include "cmd/signals.h"

#include <malloc.h>
#include <pthread.h>

namespace dure::cmd {

StopSignals block_stop_signals() {
  StopSignals stop;
  sigemptyset(&stop.set);
  sigaddset(&stop.set, SIGINT);
  sigaddset(&stop.set, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &stop.set, nullptr);
  signal(SIGPIPE, SIG_IGN);
  return stop;
}

void StopSignals::wait() const {
  int number = 0;
  sigwait(&set, &number);
  log(LogLevel::info, "cmd", "stopping");
}

void tune_memory() {
  mallopt(M_ARENA_MAX, 2);
  mallopt(M_MMAP_THRESHOLD, 128 << 10);
  mallopt(M_TRIM_THRESHOLD, 128 << 10);
}

}  // namespace dure::cmd
