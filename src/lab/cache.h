// The lab's cache: what is made once and kept for later labs (root file systems), in folders whose names say what they
// were made from, so that another recipe makes another one.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace dure::lab {

// $DURE_LAB_CACHE, or `cache` beside the labs' folders.
std::string cache_folder();
// Where the thing made by this recipe belongs: "CACHE/NAME-<hash of the recipe>".
std::string cached(const std::string& name, const std::string& recipe);

// Held while something is made, so that two labs do not make it twice. Makes the cache's folder.
class CacheLock {
 public:
  CacheLock();
  ~CacheLock();
  CacheLock(const CacheLock&) = delete;
  CacheLock& operator=(const CacheLock&) = delete;

 private:
  int fd_ = -1;
};

// What one lab uses of the cache: nobody removes it while this lives, or a process that was cloned from it meanwhile (a
// node's pid 1 in a lab whose supervisor was killed).
class CacheHolds {
 public:
  CacheHolds() = default;
  ~CacheHolds();
  CacheHolds(const CacheHolds&) = delete;

  // False when it is not there (any more).
  bool take(const std::string& path);

 private:
  std::vector<int> fds_;
};

// Removes what former recipes of the same name made and no lab holds, and what was left half made; `current` stays.
// The CacheLock must be held.
void remove_former(const std::string& name, const std::string& current);

// Runs a program that makes something; its words go to CACHE/NAME.log. Errors: `missing` when it is not installed (with
// the Debian `package`), RootNotMade with the last lines of the log.
Status run_maker(const std::vector<std::string>& words, const std::string& package, const std::string& missing);

}  // namespace dure::lab
