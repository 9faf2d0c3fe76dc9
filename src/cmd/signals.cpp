#include "cmd/signals.h"

#include <pthread.h>

#include "cmd/memory.h"

namespace dure::cmd {
namespace {

constexpr std::chrono::seconds settled_after{10};  // a start is over: leases taken, caches filled

}  // namespace

StopSignals block_stop_signals() {
  StopSignals stop;
  sigemptyset(&stop.set);
  sigaddset(&stop.set, SIGINT);
  sigaddset(&stop.set, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &stop.set, nullptr);
  signal(SIGPIPE, SIG_IGN);
  return stop;
}

bool StopSignals::wait_for(std::chrono::seconds limit) const {
  const timespec time{.tv_sec = limit.count(), .tv_nsec = 0};
  return sigtimedwait(&set, nullptr, &time) > 0;
}

void StopSignals::serve() const {
  if (!wait_for(settled_after)) {
    settle_memory();
    int number = 0;
    sigwait(&set, &number);
  }
  log(LogLevel::info, "cmd", "stopping");
}

}  // namespace dure::cmd
