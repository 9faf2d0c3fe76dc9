// RateLimit: at most `burst` at once and `per_second` in the long run; for frames that cost us more than they cost
// the sender.
#pragma once

#include <algorithm>

#include "base/time.h"

namespace dure::wire {

class RateLimit {
 public:
  RateLimit(double burst, double per_second) : burst_(burst), per_second_(per_second), tokens_(burst) {}
  bool allow(Monotonic now) {
    if (last_.nanoseconds != 0)
      tokens_ = std::min(burst_, tokens_ + double((now - last_).count()) * 1e-9 * per_second_);
    last_ = now;
    if (tokens_ < 1) return false;
    tokens_ -= 1;
    return true;
  }

 private:
  const double burst_, per_second_;
  double tokens_;
  Monotonic last_;
};

}  // namespace dure::wire
