// Worlds from seeds, for a bounded time. DURE_SEED: only that one. DURE_TEST_LONG=1: ten minutes.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "base/log.h"
#include "base/text.h"
#include "sim/world.h"

namespace dure::sim {
namespace {

std::string last_lines(const Journal& journal, size_t count) {
  std::string out;
  const auto& lines = journal.lines();
  for (size_t i = lines.size() > count ? lines.size() - count : 0; i < lines.size(); ++i) out += lines[i] + "\n";
  return out;
}

// Reproducible by its number alone: `sim_run --seed N --verbose`.
uint64_t run_world(uint64_t seed) {
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  std::fflush(stdout);
  World world({.seed = seed});
  set_log_sink([](LogLevel, std::string_view) {});
  if (!world.run()) {
    std::string text;
    for (const std::string& what : world.journal().violations()) text += what + "\n";
    ADD_FAILURE() << text << "replay: sim_run --seed " << seed << " --verbose\n" << last_lines(world.journal(), 60);
  }
  set_log_sink(nullptr);
  return world.journal().digest();
}

TEST(Sim, OneSeedIsOneHistory) { EXPECT_EQ(run_world(1), run_world(1)); }

TEST(Sim, WorldsSettleAfterFaults) {
  if (const char* only = std::getenv("DURE_SEED"))
    return (void)run_world(static_cast<uint64_t>(parse_int(only).value_or(1)));
  const char* length = std::getenv("DURE_TEST_LONG");
  const auto limit = std::chrono::seconds(length && std::string_view(length) == "1" ? 600 : 35);
  const auto begun = std::chrono::steady_clock::now();
  uint64_t seed = 2;
  while (std::chrono::steady_clock::now() - begun < limit && !::testing::Test::HasFailure()) run_world(seed++);
  std::printf("%llu worlds\n", static_cast<unsigned long long>(seed - 2));
}

}  // namespace
}  // namespace dure::sim
