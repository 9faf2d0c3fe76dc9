// Journal: what happened in a world, line by line with its virtual time, and what should not have happened.
//
// Owner: the World; outlives everything else in it. Thread: one.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"

namespace dure::sim {

class Journal {
 public:
  explicit Journal(std::function<Duration()> since_start) : since_start_(std::move(since_start)) {}

  void note(std::string_view line);
  // An invariant was broken. The first few are kept; the world ends at its next step.
  void violation(std::string_view what);

  void echo(std::function<void(std::string_view line)> sink) { sink_ = std::move(sink); }
  bool clean() const { return violations_.empty(); }
  const std::vector<std::string>& violations() const { return violations_; }
  const std::vector<std::string>& lines() const { return lines_; }
  uint64_t digest() const { return digest_; }  // of all lines: equal histories have equal digests

 private:
  std::function<Duration()> since_start_;
  std::function<void(std::string_view)> sink_;
  std::vector<std::string> lines_, violations_;
  uint64_t digest_ = 14695981039346656037u;
};

}  // namespace dure::sim
