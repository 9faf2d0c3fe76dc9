#include "os/clock.h"

#include <errno.h>
#include <sys/random.h>
#include <time.h>

#include <algorithm>
#include <cstring>
#include <mutex>

#include "base/result.h"
#include "base/text.h"

namespace dure::os {
namespace {

int64_t read_clock(clockid_t id) {
  timespec value;
  clock_gettime(id, &value);
  return int64_t(value.tv_sec) * 1'000'000'000 + value.tv_nsec;
}

class SystemClock final : public Clock {
 public:
  Monotonic now() const override { return {read_clock(CLOCK_MONOTONIC)}; }
  WallTime wall_now() const override { return {read_clock(CLOCK_REALTIME)}; }
};

class SystemRandom final : public Random {
 public:
  void fill(std::span<char> bytes) override {
    while (!bytes.empty()) {
      const ssize_t got = getrandom(bytes.data(), std::min<size_t>(bytes.size(), 256), 0);
      if (got < 0) {
        DURE_ASSERT(errno == EINTR);
        continue;
      }
      bytes = bytes.subspan(size_t(got));
    }
  }
};

class SeededRandom final : public Random {
 public:
  explicit SeededRandom(uint64_t seed) : state_(seed) {}
  void fill(std::span<char> bytes) override {
    std::lock_guard lock(mutex_);
    while (!bytes.empty()) {
      const uint64_t word = draw();
      const size_t count = std::min(bytes.size(), sizeof word);
      std::memcpy(bytes.data(), &word, count);
      bytes = bytes.subspan(count);
    }
  }

 private:
  uint64_t draw() {  // splitmix64
    uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  std::mutex mutex_;
  uint64_t state_;
};

}  // namespace

uint64_t Random::number() {
  uint64_t value;
  fill({reinterpret_cast<char*>(&value), sizeof value});
  return value;
}
std::string Random::bytes(size_t count) {
  std::string out(count, '\0');
  fill(out);
  return out;
}
std::string Random::text(size_t count, std::string_view alphabet) {
  // Bytes above the last whole multiple are thrown away, so that no character is likelier than
  // another.
  const size_t usable = 256 / alphabet.size() * alphabet.size();
  std::string out;
  while (out.size() < count)
    for (const unsigned char byte : bytes(count - out.size() + 8))
      if (byte < usable && out.size() < count) out += alphabet[byte % alphabet.size()];
  return out;
}
std::string Random::uuid() {
  std::string raw = bytes(16);
  raw[6] = char((raw[6] & 0x0f) | 0x40);
  raw[8] = char((raw[8] & 0x3f) | 0x80);
  std::string hex = hex_encode(raw);
  for (const size_t at : {20, 16, 12, 8}) hex.insert(at, 1, '-');
  return hex;
}

std::unique_ptr<Clock> make_clock() { return std::make_unique<SystemClock>(); }
std::unique_ptr<Random> make_random() { return std::make_unique<SystemRandom>(); }
std::unique_ptr<Random> make_seeded_random(uint64_t seed) { return std::make_unique<SeededRandom>(seed); }

}  // namespace dure::os
