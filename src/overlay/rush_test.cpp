#include "overlay/rush.h"

#include <gtest/gtest.h>

namespace dure::overlay {
namespace {

// The answer to the last of `seconds` at so many packets a second, one at a time.
Duration after(Rush& rush, Monotonic& now, int a_second, Duration time) {
  Duration pause{};
  for (const Monotonic end = now + time; now < end; now = now + Duration(1s) / a_second) pause = rush.fetched(now, 1);
  return pause;
}

TEST(Rush, WaitsOnlyWhenManyPacketsCome) {
  Rush rush;
  Monotonic now{5'000'000'000};
  EXPECT_EQ(after(rush, now, 10, 2s), Duration::zero());
  EXPECT_EQ(after(rush, now, 3000, 1s), Duration::zero());
  EXPECT_EQ(after(rush, now, 6000, 40ms), Rush::pause);
  EXPECT_TRUE(rush.on());
  EXPECT_EQ(after(rush, now, 1000, 40ms), Duration::zero());
}

TEST(Rush, ABurstAfterALongSilenceIsNone) {
  Rush rush;
  Monotonic now{5'000'000'000};
  rush.fetched(now, 128);
  EXPECT_EQ(rush.fetched(now + 1s, 128), Duration::zero());
  EXPECT_EQ(rush.fetched(now + 1s + 10ms, 1), Rush::pause);
}

}  // namespace
}  // namespace dure::overlay
