// What this machine is: read from the files the kernel and the distribution keep.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "os/disk.h"

namespace dure::pods {

struct MachineFacts {
  std::string machine_id, system_uuid, boot_id, kernel_version, os_image, architecture;
  int64_t cpus = 1;
  int64_t memory_bytes = 0, memory_available = 0, swap_bytes = 0;
  uint64_t disk_free = 0;
};

// `state_folder`: whose file system's free space counts.
MachineFacts read_machine_facts(os::Disk& disk, const std::string& state_folder);

// "MemTotal" of /proc/meminfo, in bytes; 0 when it is not there.
int64_t meminfo_value(std::string_view meminfo, std::string_view name);
// Value of KEY=value or KEY="value" lines, as os-release has them.
std::string release_value(std::string_view os_release, std::string_view key);
// The lowest oom_score_adj this process may give to others: -1000 with CAP_SYS_RESOURCE, otherwise its own.
int64_t lowest_oom_score_adj(os::Disk& disk);
// CPUs that /proc/cpuinfo lists.
int64_t count_cpus(std::string_view cpuinfo);

}  // namespace dure::pods
