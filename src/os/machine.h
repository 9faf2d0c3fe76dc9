// What a machine says of itself that no file tells. Reading only. Thread: any.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"

namespace dure::os {

struct FileSystemFacts {
  uint64_t bytes = 0, bytes_free = 0;    // free: for anybody, without what is kept for root
  uint64_t inodes = 0, inodes_free = 0;  // 0 of 0 where the file system has no such limit
  bool read_only = false;
};
Result<FileSystemFacts> file_system_facts(const std::string& path);

bool is_root();                // effective user id 0
bool clock_is_synchronised();  // the kernel was told so by a time service (adjtimex)
uint64_t open_files_max();     // hard limit of this process
uint64_t processors();         // online
// Whether the machine's own resolver (/etc/hosts, DNS) has an address for it. May block for seconds.
bool host_resolves(const std::string& host);
std::vector<Ip> addresses_of(const std::string& host);  // the same, the addresses; empty: none

}  // namespace dure::os
