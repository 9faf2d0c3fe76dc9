#include "tunnel/mux_core.h"

#include <gtest/gtest.h>

#include <random>

namespace dure::tunnel {
namespace {

using Event = MuxCore::Event;

std::vector<Event> events_of(MuxCore& core) {
  std::vector<Event> out;
  Event event;
  while (core.next_event(event)) out.push_back(event);
  return out;
}

TEST(MuxCore, DataArrivesOnTheStreamItWasSentOn) {
  MuxCore a(true), b(false);
  const uint32_t one = a.open(), two = a.open();
  a.send(two, "zwei");
  a.send(one, "eins");
  a.finish(one);
  ASSERT_TRUE(b.feed(a.take_output()));
  const auto events = events_of(b);
  ASSERT_EQ(events.size(), 5u);
  EXPECT_EQ(events[2].data, "zwei");
  EXPECT_EQ(events[2].stream, two);
  EXPECT_EQ(events[3].data, "eins");
  EXPECT_EQ(events[4].kind, Event::Kind::finished);
  EXPECT_EQ(events[4].stream, one);
}

TEST(MuxCore, CreditRunsOutAndComesBackWhenTheReaderTakes) {
  MuxCore a(true), b(false);
  const uint32_t id = a.open();
  a.send(id, std::string(MuxCore::window, 'x'));
  EXPECT_EQ(a.credit(id), 0u);
  ASSERT_TRUE(b.feed(a.take_output()));
  size_t got = 0;
  for (const Event& event : events_of(b)) got += event.data.size();
  EXPECT_EQ(got, MuxCore::window);
  b.consumed(id, got);
  ASSERT_TRUE(a.feed(b.take_output()));
  EXPECT_EQ(a.credit(id), MuxCore::window);
}

TEST(MuxCore, APeerThatIgnoresTheWindowIsCutOff) {
  MuxCore a(true), b(false);
  const uint32_t id = a.open();
  a.send(id, std::string(MuxCore::window, 'x'));
  ASSERT_TRUE(b.feed(a.take_output()));
  // The same amount again without a WINDOW frame: forged by a second sender with the same ids.
  MuxCore forger(true);
  forger.open();
  forger.send(id, "y");
  std::string frames = forger.take_output();
  const Status fed = b.feed(frames.substr(9));
  ASSERT_FALSE(fed);
  EXPECT_EQ(fed.error().reason, "MuxBroken");
}

TEST(MuxCore, StreamsAreForgottenWhenBothSidesFinished) {
  MuxCore a(true), b(false);
  const uint32_t id = a.open();
  a.finish(id);
  ASSERT_TRUE(b.feed(a.take_output()));
  b.finish(id);
  ASSERT_TRUE(a.feed(b.take_output()));
  EXPECT_EQ(a.open_streams(), 0u);
  EXPECT_EQ(b.open_streams(), 0u);
}

TEST(MuxCore, WrongIdsAndTypesBreak) {
  MuxCore b(false);
  EXPECT_FALSE(b.feed(std::string("\x01\0\0\0\x02\0\0\0\0", 9)));  // our own parity
  MuxCore c(false);
  EXPECT_FALSE(c.feed(std::string("\x63\0\0\0\x01\0\0\0\0", 9)));
  MuxCore d(false);
  EXPECT_FALSE(d.feed(std::string("\x02\0\0\0\x01\0\xff\0\0", 9)));  // data frame too long
}

TEST(MuxCore, RandomTrafficArrivesWholeHoweverItIsCut) {
  for (unsigned seed = 1; seed <= 30; ++seed) {
    std::mt19937 random(seed);
    MuxCore a(true), b(false);
    std::map<uint32_t, std::string> sent, got;
    std::string wire;
    for (int i = 0; i < 200; ++i) {
      if (sent.size() < 5) sent[a.open()];
      auto it = std::next(sent.begin(), static_cast<long>(random() % sent.size()));
      const size_t count = std::min<size_t>(a.credit(it->first), random() % 40'000);
      const std::string bytes(count, static_cast<char>('a' + random() % 26));
      a.send(it->first, bytes);
      it->second += bytes;
      wire += a.take_output();
      while (!wire.empty() && random() % 3) {
        const size_t part = std::min<size_t>(wire.size(), 1 + random() % 5000);
        ASSERT_TRUE(b.feed(std::string_view(wire).substr(0, part))) << "seed " << seed;
        wire.erase(0, part);
      }
      for (const Event& event : events_of(b)) {
        got[event.stream] += event.data;
        b.consumed(event.stream, event.data.size());
      }
      ASSERT_TRUE(a.feed(b.take_output()));
    }
    ASSERT_TRUE(b.feed(wire));
    for (const Event& event : events_of(b)) got[event.stream] += event.data;
    EXPECT_EQ(got, sent) << "seed " << seed;
  }
}

}  // namespace
}  // namespace dure::tunnel
