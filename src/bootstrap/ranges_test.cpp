#include "bootstrap/ranges.h"

#include <gtest/gtest.h>

#include <random>

namespace dure::bootstrap {
namespace {

using Severity = Finding::Severity;

MachineNetwork network(std::string_view range, std::string what, bool is_host = false) {
  return {IpPrefix::parse(range).value(), std::move(what), is_host};
}

std::vector<MachineNetwork> home_pc() {
  return {network("192.168.0.0/24", "eth0"), network("192.168.0.10/32", "address of eth0", true),
          network("192.168.0.1/32", "gateway", true), network("0.0.0.0/0", "default route"),
          network("127.0.0.53/32", "name server in /etc/resolv.conf", true)};
}

std::vector<std::string> codes(const RangePlan& plan) {
  std::vector<std::string> out;
  for (const Finding& finding : plan.findings) out.push_back(finding.code);
  return out;
}

using Codes = std::vector<std::string>;

TEST(Ranges, ACleanMachineGetsTheUsualOnes) {
  const RangePlan plan = pick_ranges(home_pc(), {});
  EXPECT_TRUE(plan.findings.empty());
  EXPECT_EQ(plan.pods.text(), "10.244.0.0/16");
  EXPECT_EQ(plan.services.text(), "10.96.0.0/12");
  EXPECT_EQ(plan.nodes.text(), "10.245.0.0/16");
}

TEST(Ranges, EachDefaultMovesAndSaysWhy) {
  auto networks = home_pc();
  networks.push_back(network("10.244.3.0/24", "docker0"));
  networks.push_back(network("10.100.0.0/16", "route by tun0"));
  networks.push_back(network("10.245.0.53/32", "name server in /etc/resolv.conf", true));
  const RangePlan plan = pick_ranges(networks, {});
  ASSERT_EQ(codes(plan), (Codes{"RangeMoved", "RangeMoved", "RangeMoved"}));
  EXPECT_EQ(
      plan.findings[0].sentence,
      "pods get addresses of 10.255.0.0/16: the usual 10.244.0.0/16 overlaps 10.244.3.0/24 of this machine (docker0)");
  EXPECT_EQ(plan.findings[0].severity, Severity::note);
  EXPECT_NE(plan.findings[1].sentence.find("route by tun0"), std::string::npos);
  EXPECT_NE(plan.findings[2].sentence.find("name server"), std::string::npos);
  EXPECT_FALSE(plan.pods.overlaps(plan.services) || plan.pods.overlaps(plan.nodes) ||
               plan.services.overlaps(plan.nodes));
}

TEST(Ranges, ADefaultMakesRoomForAGivenOne) {
  WantedRanges wanted;
  wanted.services = {"10.240.0.0/12", true};
  const RangePlan plan = pick_ranges(home_pc(), wanted);
  EXPECT_EQ(codes(plan), (Codes{"RangeMoved", "RangeMoved"}));
  EXPECT_EQ(plan.services.text(), "10.240.0.0/12");
  EXPECT_FALSE(plan.pods.overlaps(plan.services));
}

TEST(Ranges, AGivenOneThatCollidesIsRefusedWithAFreeOne) {
  WantedRanges wanted;
  wanted.pods = {"192.168.0.0/16", true};
  const RangePlan plan = pick_ranges(home_pc(), wanted);
  ASSERT_EQ(codes(plan), (Codes{"RangeCollides"}));
  EXPECT_EQ(plan.findings[0].severity, Severity::refuse);
  EXPECT_EQ(plan.findings[0].sentence,
            "--pod-network-cidr 192.168.0.0/16 collides with 192.168.0.0/24 of this machine (eth0)");
  EXPECT_EQ(plan.findings[0].fix, "--pod-network-cidr 10.255.0.0/16");
}

TEST(Ranges, AWideRouteOnlyWarnsAboutAGivenOneAndMovesADefault) {
  auto networks = home_pc();
  networks.push_back(network("10.0.0.0/8", "route by tun0"));
  const RangePlan moved = pick_ranges(networks, {});
  EXPECT_EQ(codes(moved), (Codes{"RangeMoved", "RangeMoved", "RangeMoved"}));
  EXPECT_EQ(moved.pods.text(), "172.31.0.0/16");
  WantedRanges wanted;
  wanted.pods = {"10.244.0.0/16", true};
  wanted.services = {"172.24.0.0/16", true};
  wanted.nodes = {"172.25.0.0/16", true};
  EXPECT_EQ(codes(pick_ranges(networks, wanted)), Codes{"RangeShadows"});
}

TEST(Ranges, WhatIsNoRangeIsSaid) {
  const struct {
    const char *pods, *services, *nodes, *code;
  } rows[] = {
      {"10.244.0.0", "10.96.0.0/12", "10.245.0.0/16", "BadRange"},
      {"10.244.1.0/16", "10.96.0.0/12", "10.245.0.0/16", "BadRange"},  // host bits set
      {"fd00::/48", "10.96.0.0/12", "10.245.0.0/16", "BadRange"},
      {"10.244.0.0/25", "10.96.0.0/12", "10.245.0.0/16", "RangeTooSmall"},
      {"10.244.0.0/16", "10.96.0.0/29", "10.245.0.0/16", "RangeTooSmall"},
      {"10.244.0.0/16", "10.96.0.0/12", "10.245.0.0/24", "RangeTooSmall"},  // 256 nodes and the range's own address
      {"10.244.0.0/16", "10.244.128.0/20", "10.245.0.0/16", "RangesOverlap"},
  };
  for (const auto& row : rows) {
    const WantedRanges wanted{{row.pods, true}, {row.services, true}, {row.nodes, true}};
    EXPECT_EQ(codes(pick_ranges(home_pc(), wanted)), Codes{row.code}) << row.pods << " " << row.services;
  }
}

TEST(Ranges, NothingFreeIsSaid) {
  const std::vector<MachineNetwork> everything = {network("10.0.0.0/8", "a"), network("172.16.0.0/12", "b")};
  const RangePlan plan = pick_ranges(everything, {});
  EXPECT_EQ(codes(plan), (Codes{"NoFreeRange", "NoFreeRange", "NoFreeRange"}));
}

TEST(Ranges, WhatIsPickedNeverOverlapsAnything) {
  for (uint32_t seed = 1; seed <= 300; ++seed) {
    std::mt19937 random(seed);
    std::vector<MachineNetwork> networks = home_pc();
    for (int i = static_cast<int>(random() % 40); i > 0; --i) {
      const int length = static_cast<int>(12 + random() % 21);
      const uint32_t base = random() % 3 ? 0x0a000000 | (random() & 0xffffff) : 0xac100000 | (random() & 0xfffff);
      networks.push_back({IpPrefix{Ip::v4(base), length}.network(), "random", random() % 2 == 0});
    }
    const RangePlan plan = pick_ranges(networks, {});
    if (refusal(plan.findings)) continue;
    for (const IpPrefix& range : {plan.pods, plan.services, plan.nodes}) {
      for (const MachineNetwork& one : networks)
        EXPECT_EQ(clash(range, one), Clash::none) << "seed " << seed << " " << range.text() << " " << one.range.text();
    }
    EXPECT_FALSE(plan.pods.overlaps(plan.services) || plan.pods.overlaps(plan.nodes) ||
                 plan.services.overlaps(plan.nodes))
        << "seed " << seed;
  }
}

}  // namespace
}  // namespace dure::bootstrap
