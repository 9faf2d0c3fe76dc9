// Progress: whether a peer takes what was sent to it. Its owner looks once per period (ServerLimits::stall_timeout); a
// peer for whom bytes waited from one look to the next must have taken `bytes_min` of them in between, so that one byte
// a minute does not hold a connection. Without clock and I/O; thread: its owner's.
#pragma once

#include <cstdint>

namespace dure::wire {

class Progress {
 public:
  // One look. `taken`: bytes that the peer took since the beginning. True: it is stuck.
  bool stalled(uint64_t taken, bool some_wait) {
    const bool stuck = waited_ && some_wait && taken - taken_before_ < bytes_min;
    waited_ = some_wait;
    taken_before_ = taken;
    return stuck;
  }
  // Nothing waits at the moment.
  void all_taken() { waited_ = false; }

 private:
  static constexpr uint64_t bytes_min = 16 << 10;
  uint64_t taken_before_ = 0;
  bool waited_ = false;  // at the last look and ever since
};

}  // namespace dure::wire
