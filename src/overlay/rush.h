// Rush: whether packets come so fast that they are better fetched in groups. To be woken up costs several times what a
// packet does; when many come, waiting a moment before looking again turns many wake-ups, here and wherever the packets
// go next, into one. A quiet path is never made to wait. Pure.
#pragma once

#include <algorithm>
#include <cstddef>

#include "base/time.h"

namespace dure::overlay {

class Rush {
 public:
  static constexpr Duration pause = std::chrono::microseconds(300);  // to wait before looking again, in a rush
  static constexpr Duration window = 10ms;                           // is looked at as a whole,
  static constexpr size_t packets_min = 40;                          // and so many in it are a rush: 4000 a second

  // `count` packets were fetched. Answers how long to wait before looking again.
  Duration fetched(Monotonic now, size_t count) {
    if (now - began_ >= window) {
      rush_ = count_ >= packets_min && now - began_ < 2 * window;
      began_ = now;
      count_ = 0;
    }
    count_ += count;
    return rush_ ? pause : Duration::zero();
  }
  bool on() const { return rush_; }

 private:
  Monotonic began_{};
  size_t count_ = 0;
  bool rush_ = false;
};

}  // namespace dure::overlay
