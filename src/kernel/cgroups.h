// Cgroups: groups of processes with limits, on machines with cgroup v1, hybrid (v1 controllers and an empty v2 tree) or
// v2, behind one face. Paths are relative to the parent given on opening ("besteffort/pod123"); nothing outside the
// parent is ever changed. Thread: any.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace dure::kernel {

enum class CgroupVersion { v1, hybrid, v2 };

struct CgroupOptions {
  std::string root = "/sys/fs/cgroup";
  std::string parent;               // "kubepods", "dure-lab/7": made when it is not there
  bool below_own_group = false;     // the parent lies in the group this process is in, otherwise at the top
  std::string own_group_text = {};  // what /proc/self/cgroup would say; empty: read it
};

struct CgroupLimits {                       // what is not set stays
  std::optional<int64_t> memory_bytes_max;  // -1: no limit
  std::optional<int64_t> cpu_shares;        // v1's unit: 1024 is one CPU's worth; turned into a weight on v2
  std::optional<int64_t> cpu_quota_us;      // per period; -1: no limit
  std::optional<int64_t> cpu_period_us;
  std::optional<int64_t> pids_max;  // -1: no limit
  std::optional<std::string> cpuset_cpus;
};

struct CgroupStat {
  Duration cpu{};
  int64_t memory_bytes = 0;              // all that is charged
  int64_t memory_working_set_bytes = 0;  // without file pages that were not used of late
  int64_t memory_rss_bytes = 0;
  int64_t memory_limit_bytes = -1;  // -1: none
  int64_t pids = 0;
  int64_t oom_kills = 0;
  int64_t cpu_throttled_periods = 0;
};

class Cgroups {
 public:
  virtual ~Cgroups() = default;
  virtual CgroupVersion version() const = 0;
  virtual std::vector<std::string> controllers() const = 0;  // the ones that can be used here
  virtual Status create(std::string_view path) = 0;          // with its parents; idempotent
  virtual Status set_limits(std::string_view path, const CgroupLimits&) = 0;
  virtual Status add_process(std::string_view path, pid_t pid) = 0;
  virtual Result<std::vector<pid_t>> processes(std::string_view path) = 0;  // below it too
  virtual Status kill(std::string_view path) = 0;  // SIGKILL to all of them, until none is left or 2 s are over
  virtual Status remove(
      std::string_view path) = 0;  // with what is below it; idempotent; "Conflict" while processes are in it
  virtual Result<CgroupStat> stat(std::string_view path) = 0;  // NotFound
  virtual std::vector<std::string> children(std::string_view path) = 0;
};

Result<std::unique_ptr<Cgroups>> open_cgroups(const CgroupOptions& options);

// v1 shares (2..262144) to a v2 weight (1..10000), as container runtimes do it.
int64_t cgroup_weight(int64_t cpu_shares);

}  // namespace dure::kernel
