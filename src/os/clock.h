// The machine's clocks and randomness, for code that has no Executor at hand. Thread: any.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/time.h"

namespace dure::os {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual Monotonic now() const = 0;
  virtual WallTime wall_now() const = 0;
};

class Random {
 public:
  virtual ~Random() = default;
  virtual void fill(std::span<char> bytes) = 0;  // does not fail

  uint64_t number();
  std::string bytes(size_t count);
  // Characters of `alphabet`, each equally likely.
  std::string text(size_t count, std::string_view alphabet);
  std::string uuid();  // version 4, lower case
};

std::unique_ptr<Clock> make_clock();
std::unique_ptr<Random> make_random();                      // getrandom: fit for keys
std::unique_ptr<Random> make_seeded_random(uint64_t seed);  // tests and the simulator only

}  // namespace dure::os
