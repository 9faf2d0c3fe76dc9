#include "cmd/memory.h"

#include <malloc.h>
#include <stdio.h>
#include <sys/mman.h>

#include <cinttypes>
#include <cstring>
#include <utility>
#include <vector>

namespace dure::cmd {
namespace {

using Range = std::pair<uintptr_t, uintptr_t>;

// Ranges of files mapped for reading (code, constants) without a page that this process changed (relocated tables). As
// /proc/self/smaps has them, proc(5).
std::vector<Range> untouched_file_ranges() {
  std::vector<Range> ranges;
  FILE* file = fopen("/proc/self/smaps", "re");
  if (!file) return ranges;
  Range range{};
  bool from_file = false;
  for (char line[512]; fgets(line, sizeof line, file);) {
    uintptr_t begin = 0, end = 0;
    unsigned long inode = 0;
    char mode[5] = {};
    if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s %*x %*s %lu", &begin, &end, mode, &inode) == 4) {
      range = {begin, end};
      from_file = inode != 0 && (strcmp(mode, "r-xp") == 0 || strcmp(mode, "r--p") == 0);
    } else if (from_file && strncmp(line, "Anonymous:", 10) == 0) {
      unsigned long kilobytes = 1;
      if (sscanf(line + 10, "%lu", &kilobytes) == 1 && kilobytes == 0) ranges.push_back(range);
    }
  }
  fclose(file);
  return ranges;
}

}  // namespace

void tune_memory() {
  mallopt(M_ARENA_MAX, 2);
  mallopt(M_MMAP_THRESHOLD, 128 << 10);
  mallopt(M_TRIM_THRESHOLD, 128 << 10);
}

void settle_memory() {
  malloc_trim(0);
  for (const auto& [begin, end] : untouched_file_ranges())
    madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace dure::cmd
