#include "cmd/signals.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <string_view>

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

void notify_ready() {
  const char* path = getenv("NOTIFY_SOCKET");
  sockaddr_un address{};
  if (!path || strlen(path) < 2 || strlen(path) >= sizeof address.sun_path) return;
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, path, strlen(path));
  if (path[0] == '@') address.sun_path[0] = 0;  // the abstract namespace
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  constexpr std::string_view words = "READY=1";
  if (sendto(fd, words.data(), words.size(), MSG_NOSIGNAL, reinterpret_cast<sockaddr*>(&address),
             static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + strlen(path))) < 0)
    log(LogLevel::warn, "cmd", "cannot tell the service manager that this runs");
  close(fd);
}

}  // namespace dure::cmd
