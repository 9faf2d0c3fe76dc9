#include "wire/dial_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

namespace dure::wire {
namespace {

std::vector<std::string> texts(const DialPlan& plan) {
  std::vector<std::string> out;
  for (const Way& way : plan.ways()) out.push_back(way.text());
  return out;
}

TEST(DialPlan, AddressesAsPeopleWriteThem) {
  EXPECT_EQ(server_url("192.0.2.1"), "https://192.0.2.1:6443");
  EXPECT_EQ(server_url("192.0.2.1:443"), "https://192.0.2.1:443");
  EXPECT_EQ(server_url("home.example.org"), "https://home.example.org:6443");
  EXPECT_EQ(server_url("2001:db8::1"), "https://[2001:db8::1]:6443");
  EXPECT_EQ(server_url("[2001:db8::1]"), "https://[2001:db8::1]:6443");
  EXPECT_EQ(server_url("[2001:db8::1]:443"), "https://[2001:db8::1]:443");
  EXPECT_EQ(server_url("https://a:1/"), "https://a:1");
  EXPECT_EQ(server_url("http://127.0.0.1:80"), "http://127.0.0.1:80");
  EXPECT_EQ(server_address("https://[2001:db8::1]:443"), "[2001:db8::1]:443");
}

TEST(DialPlan, WhatWorkedLastIsFirstAndWhatAPersonWroteComesBeforeWhatTheClusterSaid) {
  DialPlan plan({"home.example.org:443", "192.168.0.10"}, "", "", 1);
  plan.learn({"203.0.113.7:6443", "192.168.0.10:6443"});
  const std::vector<std::string> order = {"https://home.example.org:443", "https://192.168.0.10:6443",
                                          "https://203.0.113.7:6443"};
  EXPECT_EQ(texts(plan), order);
  plan.worked(plan.ways()[2]);
  EXPECT_EQ(texts(plan), (std::vector<std::string>{order[2], order[0], order[1]}));
  // The server moved and is not told of any more.
  plan.learn({});
  EXPECT_EQ(texts(plan), (std::vector<std::string>{order[0], order[1]}));
}

TEST(DialPlan, AProxyIsUsedAndTheDirectWayStaysBehindIt) {
  DialPlan plan({"home.example.org", "10.1.2.3"}, "http://u:p@proxy.corp:3128", ".corp,10.0.0.0/8", 1);
  EXPECT_EQ(texts(plan), (std::vector<std::string>{"https://home.example.org:6443 through the proxy proxy.corp:3128",
                                                   "https://10.1.2.3:6443", "https://home.example.org:6443"}));
  plan.worked(plan.ways()[2]);
  EXPECT_EQ(texts(plan)[0], "https://home.example.org:6443");
}

TEST(DialPlan, PausesGrowToTwoSecondsWithAScatter) {
  DialPlan plan({"a"}, "", "", 7);
  Duration longest = Duration::zero();
  for (int i = 0; i < 50; ++i) {
    const Duration pause = plan.pause();
    const Duration most = std::min<Duration>(DialPlan::pause_max, DialPlan::pause_first * (1 << std::min(i, 10)));
    EXPECT_LE(pause, most) << i;
    EXPECT_GE(pause, most / 2) << i;
    longest = std::max(longest, pause);
  }
  EXPECT_GT(longest, 1500ms);
  plan.reset();
  EXPECT_LE(plan.pause(), DialPlan::pause_first);
}

TEST(DialPlan, ScattersDifferByNode) {
  DialPlan one({"a"}, "", "", 1), two({"a"}, "", "", 2);
  int same = 0;
  for (int i = 0; i < 20; ++i) same += one.pause() == two.pause();
  EXPECT_LT(same, 5);
}

// A world in virtual time: what becomes of a try, by host; nothing: it hangs. Says when the first one answers.
class Dials {
 public:
  explicit Dials(std::vector<std::string> hosts) {
    std::vector<Way> ways;
    for (const std::string& host : hosts) ways.push_back({"https://" + host + ":1", {}});
    turns_.begin(std::move(ways));
  }
  void refuses(const std::string& host, Duration after) { refusals_["https://" + host + ":1"] = after; }
  // "0 a, 250 b": in milliseconds.
  std::string begun_within(Duration time) {
    std::string out;
    Monotonic now{}, next = now;
    std::multimap<Monotonic, Way> ends;
    const auto turn = [&] {
      const DialTurns::Turn turn = turns_.next(now);
      next = now + turn.wait;
      if (!turn.way) return;
      out += (out.empty() ? "" : ", ") + std::to_string((now - Monotonic{}) / 1ms) + " " + turn.way->url.substr(8, 1);
      if (const auto found = refusals_.find(turn.way->url); found != refusals_.end())
        ends.emplace(now + found->second, *turn.way);
    };
    while (true) {
      const bool failure = !ends.empty() && ends.begin()->first <= next;
      now = failure ? ends.begin()->first : next;
      if (now - Monotonic{} > time) return out;
      if (failure) {
        turns_.failed(ends.begin()->second, unavailable("refused"));
        ends.erase(ends.begin());
        if (turns_.all_had_theirs()) continue;
      }
      turn();
    }
  }
  DialTurns& turns() { return turns_; }

 private:
  DialTurns turns_;
  std::map<std::string, Duration> refusals_;
};

TEST(DialTurns, AWayThatSwallowsPacketsCostsTheNextAHeadStart) {
  EXPECT_EQ(Dials({"a", "b", "c"}).begun_within(1s), "0 a, 250 b, 500 c");
}

TEST(DialTurns, AFailureIsTheNextOnesTurn) {
  Dials dials({"a", "b", "c"});
  dials.refuses("a", 30ms);
  dials.refuses("b", 10ms);
  EXPECT_EQ(dials.begun_within(1s), "0 a, 30 b, 40 c");
  const auto failures = dials.turns().failures();
  ASSERT_EQ(failures.size(), 2u);
  EXPECT_EQ(failures[0].first.url, "https://a:1");
  EXPECT_EQ(failures[1].second.message, "refused");
}

TEST(DialTurns, WhatHangsGetsCompany) {
  EXPECT_EQ(Dials({"a", "b"}).begun_within(5s), "0 a, 250 b, 2250 a, 4250 b");
}

TEST(DialTurns, ANewRoundForgetsWaysThatAreGone) {
  Dials dials({"a", "b"});
  dials.refuses("a", 0s);
  dials.refuses("b", 0s);
  dials.begun_within(0s);
  dials.turns().begin({{"https://b:1", {}}});
  dials.turns().add({{"https://b:1", {}}, {"https://c:1", {}}});
  ASSERT_EQ(dials.turns().failures().size(), 1u);
  EXPECT_EQ(dials.turns().next(Monotonic{}).way->url, "https://b:1");
  EXPECT_EQ(dials.turns().next(Monotonic{}).way->url, "https://c:1");
  EXPECT_TRUE(dials.turns().all_had_theirs());
}

}  // namespace
}  // namespace dure::wire
