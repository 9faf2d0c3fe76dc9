// Dice: every choice of a simulated world comes from here, so that a seed is a history. Thread: one.
#pragma once

#include <cstdint>
#include <string>

#include "base/time.h"

namespace dure::sim {

class Dice {
 public:
  explicit Dice(uint64_t seed) : state_(seed ^ 0x5851f42d4c957f2d) {}

  uint64_t next() {  // splitmix64
    uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  size_t below(size_t count) { return count == 0 ? 0 : next() % count; }
  int64_t between(int64_t first, int64_t last) {
    return first + static_cast<int64_t>(below(static_cast<size_t>(last - first + 1)));
  }
  Duration between(Duration least, Duration most) { return Duration(between(least.count(), most.count())); }
  bool one_in(size_t count) { return count > 0 && below(count) == 0; }
  template <class List>
  auto& pick(List& list) {
    return list[below(std::size(list))];
  }

 private:
  uint64_t state_;
};

}  // namespace dure::sim
