// Zoos from seeds for a bounded time. DURE_SEED: only that one, with its history. DURE_TEST_LONG=1: five minutes.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "base/text.h"
#include "overlay/path.h"
#include "sim/nat_zoo.h"

namespace dure::sim {
namespace {

struct Sums {
  size_t zoos = 0, pairs = 0, faults = 0, rungs[7] = {};
  double gap_seconds_max = 0;
};

void run_zoo(uint64_t seed, Sums& sums, bool log) {
  NatZoo zoo({.seed = seed, .log = log});
  const bool good = zoo.run();
  if (log)
    for (const std::string& line : zoo.history()) std::printf("%s\n", line.c_str());
  ++sums.zoos;
  sums.pairs += zoo.counts().pairs;
  sums.faults += zoo.counts().faults;
  sums.gap_seconds_max = std::max(sums.gap_seconds_max, zoo.counts().gap_seconds_max);
  for (size_t i = 0; i < 7; ++i) sums.rungs[i] += zoo.counts().rungs[i];
  if (good) return;
  std::string text;
  for (const std::string& what : zoo.violations()) text += what + "\n";
  ADD_FAILURE() << "seed " << seed << "\n" << text << "replay: DURE_SEED=" << seed << " zoo_test";
}

TEST(NatZoo, EveryPairHasAPathInTimeAndTheBestOneInTheEnd) {
  Sums sums;
  if (const char* only = std::getenv("DURE_SEED"))
    return run_zoo(static_cast<uint64_t>(parse_int(only).value_or(1)), sums, true);
  const char* wanted = std::getenv("DURE_TEST_LONG");
  const auto limit = std::chrono::seconds(wanted && wanted[0] == '1' ? 300 : 30);
  const auto begun = std::chrono::steady_clock::now();
  uint64_t seed = 1;
  std::printf("seeds from 1\n");
  while (std::chrono::steady_clock::now() - begun < limit && !::testing::Test::HasFailure())
    run_zoo(seed++, sums, false);
  std::printf("%zu zoos, %zu faults, %zu ordered pairs, longest gap %.1f s;", sums.zoos, sums.faults, sums.pairs,
              sums.gap_seconds_max);
  for (size_t i = 0; i < 7; ++i)
    std::printf(" %s %zu", std::string(overlay::rung_name(static_cast<overlay::Rung>(i))).c_str(), sums.rungs[i]);
  std::printf("\n");
  EXPECT_GT(sums.zoos, 0u);
}

}  // namespace
}  // namespace dure::sim
