#include "os/machine.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stddef.h>
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

bool host_resolves(const std::string& host) { return !addresses_of(host).empty(); }

std::vector<Ip> addresses_of(const std::string& host) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  std::vector<Ip> out;
  if (getaddrinfo(host.c_str(), nullptr, &hints, &found) != 0) return out;
  for (const addrinfo* one = found; one; one = one->ai_next) {
    const auto* bytes = reinterpret_cast<const char*>(one->ai_addr);
    if (one->ai_family == AF_INET)
      out.push_back(Ip::from_raw({bytes + offsetof(sockaddr_in, sin_addr), 4}));
    else if (one->ai_family == AF_INET6)
      out.push_back(Ip::from_raw({bytes + offsetof(sockaddr_in6, sin6_addr), 16}));
  }
  freeaddrinfo(found);
  return out;
}

}  // namespace dure::os
