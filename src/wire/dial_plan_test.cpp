#include "wire/dial_plan.h"

#include <gtest/gtest.h>

#include <algorithm>

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

}  // namespace
}  // namespace dure::wire
