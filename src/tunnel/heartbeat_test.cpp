#include "tunnel/heartbeat.h"

#include <gtest/gtest.h>

namespace dure::tunnel {
namespace {

using Act = Heartbeat::Act;
constexpr Monotonic kStart{1'000'000'000'000};

// Looks as the mux does: whenever it is due. Answers when it was given up; pings are counted.
struct Look {
  Heartbeat& heart;
  int pings = 0;
  Monotonic until_dead(Monotonic now, Monotonic limit) {
    while (now <= limit) {
      const Act act = heart.act(now);
      if (act == Act::dead) return now;
      pings += act == Act::ping;
      EXPECT_GT(heart.due(), now);
      now = heart.due();
    }
    return limit;
  }
};

TEST(Heartbeat, AsksAfterASecondOfQuietAndGivesUpAfterFour) {
  Heartbeat heart(true, kStart);
  EXPECT_EQ(heart.act(kStart), Act::nothing);
  EXPECT_EQ(heart.due(), kStart + 1s);
  Look look{heart};
  EXPECT_EQ(look.until_dead(kStart + 1s, kStart + 60s), kStart + 4s);
  EXPECT_GE(look.pings, 2);
  EXPECT_FALSE(heart.alive(kStart + 4s));
}

TEST(Heartbeat, AnAnswerKeepsItAlive) {
  Heartbeat heart(true, kStart);
  int pings = 0;
  Monotonic now = kStart;
  for (int i = 0; i < 100; ++i, now = heart.due()) {
    const Act act = heart.act(now);
    ASSERT_NE(act, Act::dead);
    if (act == Act::ping) {
      ++pings;
      heart.heard(now + 50ms);
    }
  }
  EXPECT_TRUE(heart.alive(now));
  // Idle costs one question a second and not much more looks than questions.
  EXPECT_NEAR(static_cast<double>((now - kStart) / 1ms) / 1000.0 / pings, 1.0, 0.2);
  EXPECT_GE(pings, 45);
}

TEST(Heartbeat, HearingAloneIsNotEnoughTheOtherSideListensToo) {
  Heartbeat heart(true, kStart);
  int pings = 0;
  for (Monotonic now = kStart; now < kStart + 20s; now = now + 100ms) {
    heart.heard(now);
    if (now >= heart.due()) pings += heart.act(now) == Act::ping;
  }
  EXPECT_GE(pings, 8);
}

TEST(Heartbeat, TheListeningSideNeverAsksAndGivesUpToo) {
  Heartbeat heart(false, kStart);
  EXPECT_EQ(heart.act(kStart), Act::nothing);
  EXPECT_EQ(heart.act(kStart + 3s), Act::nothing);
  heart.heard(kStart + 3s);
  EXPECT_EQ(heart.act(kStart + 6s), Act::nothing);
  EXPECT_EQ(heart.due(), kStart + 7s);
  EXPECT_EQ(heart.act(kStart + 7s), Act::dead);
}

TEST(Heartbeat, ASuspicionAsksAtOnceAndWaitsTwoSeconds) {
  Heartbeat heart(true, kStart);
  heart.heard(kStart + 1s);
  heart.suspect(kStart + 1s);
  EXPECT_EQ(heart.act(kStart + 1s), Act::ping);
  Look look{heart};
  EXPECT_EQ(look.until_dead(heart.due(), kStart + 60s), kStart + 3s);
}

TEST(Heartbeat, AnAnswerClearsTheSuspicion) {
  Heartbeat heart(true, kStart);
  heart.suspect(kStart);
  EXPECT_EQ(heart.act(kStart), Act::ping);
  heart.heard(kStart + 100ms);
  EXPECT_EQ(heart.act(kStart + 3s), Act::ping);
  EXPECT_NE(heart.act(kStart + 4s), Act::dead);
  EXPECT_EQ(heart.act(kStart + 4s + 100ms), Act::dead);
}

TEST(Heartbeat, SuspicionsDoNotPutTheEndOff) {
  Heartbeat heart(true, kStart);
  Monotonic now = kStart;
  for (; now < kStart + 10s; now = now + 500ms) {
    heart.suspect(now);
    if (heart.act(now) == Act::dead) break;
  }
  EXPECT_EQ(now, kStart + 2s);
}

// The machine slept, or the process was frozen: the peer's bytes may lie unread.
TEST(Heartbeat, WhoOversleptAsksOnceMore) {
  Heartbeat heart(true, kStart);
  EXPECT_EQ(heart.act(kStart), Act::nothing);
  EXPECT_EQ(heart.act(kStart + 600s), Act::ping);
  Look look{heart};
  EXPECT_EQ(look.until_dead(heart.due(), kStart + 700s), kStart + 602s);
}

}  // namespace
}  // namespace dure::tunnel
