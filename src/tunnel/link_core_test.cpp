#include "tunnel/link_core.h"

#include <gtest/gtest.h>

#include <random>

namespace dure::tunnel {
namespace {

// One end: what it wrote to the present connection and the other one has not read; and what it heard.
struct End {
  LinkCore core;
  std::string out, heard, said;

  void say(const std::string& text) {
    said += text;
    out += core.keep(text).view();
  }
  Status hear(std::string_view bytes) {
    const Status fed = core.feed(bytes, [this](std::string_view payload) -> Status {
      heard += payload;
      return {};
    });
    if (core.owes_ack()) out += core.ack();
    return fed;
  }
};

void connect_again(End& a, End& b) {
  for (auto [one, other] : {std::pair(&a, &b), std::pair(&b, &a)}) {
    one->out.clear();  // what was on its way is lost
    ASSERT_TRUE(one->core.can_resume(other->core.received()));
    one->core.begin();
    one->core.resume(other->core.received());
    for (const SharedBytes& record : one->core.kept()) one->out += record.view();
  }
}

// Connections end at any byte: everything comes once and in order, and what both have is not kept.
TEST(LinkCore, NothingIsLostOrDoubledHoweverOftenTheConnectionBreaks) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    std::mt19937_64 random(seed);
    End ends[2];
    for (int step = 0; step < 200; ++step) {
      End& one = ends[random() % 2];
      End& other = &one == &ends[0] ? ends[1] : ends[0];
      switch (random() % 8) {
        case 0:
          connect_again(ends[0], ends[1]);
          break;
        case 1:
        case 2:
          one.say(std::string(1 + random() % 5000, static_cast<char>('a' + step % 26)));
          break;
        default: {
          const size_t part = random() % (one.out.size() + 1);
          ASSERT_TRUE(other.hear(one.out.substr(0, part))) << "seed " << seed;
          one.out.erase(0, part);
        }
      }
    }
    connect_again(ends[0], ends[1]);
    while (!ends[0].out.empty() || !ends[1].out.empty())
      for (int i = 0; i < 2; ++i) ASSERT_TRUE(ends[1 - i].hear(std::exchange(ends[i].out, {})));
    for (int i = 0; i < 2; ++i) {
      ASSERT_EQ(ends[i].heard, ends[1 - i].said) << "seed " << seed;
      ASSERT_TRUE(ends[1 - i].hear(ends[i].core.ping()));
      EXPECT_EQ(ends[1 - i].core.kept_bytes(), 0u) << "a ping says how much came";
    }
  }
}

TEST(LinkCore, LooseRecordsAreNotCounted) {
  End a, b;
  ASSERT_TRUE(b.hear(LinkCore::loose("packet")));
  EXPECT_EQ(b.heard, "packet");
  EXPECT_EQ(b.core.received(), 0u);
}

TEST(LinkCore, APeerThatKnowsMoreThanWasSentIsRefused) {
  End a, b;
  a.say("one");
  EXPECT_FALSE(a.core.can_resume(2));
  b.say("x");
  ASSERT_TRUE(a.hear(b.out));
  End forger;
  for (int i = 0; i < 9; ++i) {
    End source;
    source.say("y");
    ASSERT_TRUE(forger.hear(source.out));
  }
  const Status fed = a.hear(forger.core.ack());
  ASSERT_FALSE(fed);
  EXPECT_TRUE(fed.error().is("LinkBroken"));
}

TEST(LinkCore, WhatIsNoRecordEndsTheLink) {
  for (const std::string& bytes : {std::string(4, '\0'), std::string("\x01\xff\xff\xff", 4),
                                   std::string("\x09\0\0\1x", 5), std::string("\x03\0\0\2xx", 6)}) {
    End end;
    EXPECT_FALSE(end.hear(bytes));
  }
}

}  // namespace
}  // namespace dure::tunnel
