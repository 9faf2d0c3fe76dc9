#include "os/machine.h"

#include <errno.h>
#include <netdb.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <unistd.h>

namespace dure::os {

Result<FileSystemFacts> file_system_facts(const std::string& path) {
  struct statvfs facts{};
  if (statvfs(path.c_str(), &facts) != 0) return fail(from_errno("statvfs " + path, errno));
  const uint64_t unit = facts.f_frsize;
  return FileSystemFacts{facts.f_blocks * unit, facts.f_bavail * unit, facts.f_files, facts.f_favail,
                         (facts.f_flag & ST_RDONLY) != 0};
}

bool is_root() { return geteuid() == 0; }

bool clock_is_synchronised() {
  timex state{};
  return adjtimex(&state) != TIME_ERROR && !(state.status & STA_UNSYNC);
}

uint64_t open_files_max() {
  rlimit limit{};
  return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_max : 0;
}

uint64_t processors() {
  const long count = sysconf(_SC_NPROCESSORS_ONLN);
  return count > 0 ? static_cast<uint64_t>(count) : 0;
}

bool host_resolves(const std::string& host) {
  addrinfo* found = nullptr;
  const int status = getaddrinfo(host.c_str(), nullptr, nullptr, &found);
  if (status == 0) freeaddrinfo(found);
  return status == 0;
}

}  // namespace dure::os
