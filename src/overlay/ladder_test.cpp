// The ladder alone: two or more ladders whose pings a test carries as it likes. Whole networks of NATs: sim/nat_zoo.
#include "overlay/ladder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <set>

namespace dure::overlay {
namespace {

os::Endpoint endpoint(std::string_view ip, uint16_t port) { return {*Ip::parse(ip), port}; }

// One ladder in a world that answers pings as `answers` says, after `trip`.
struct World {
  Monotonic now{100'000'000'000'000};
  Ladder ladder{LadderOptions{.first_transaction = 7}};
  OwnFacts own{.id = 1, .addresses = {*IpPrefix::parse("192.168.0.10/24")}, .port = 51820};
  std::vector<PeerFacts> table;
  std::function<bool(const Ladder::Ping&)> answers = [](const Ladder::Ping&) { return false; };
  std::function<os::Endpoint(const Ladder::Ping&)> seen = [](const Ladder::Ping&) {
    return endpoint("203.0.113.9", 51820);
  };
  Duration trip = 10ms;
  std::vector<Ladder::Choice> choices;
  std::vector<Ladder::Ping> pings;
  size_t polls = 0, reports = 0;
  std::vector<std::pair<Monotonic, Ladder::Ping>> on_the_way;

  World() {
    own.connected = true;
    own.public_ip = Ip::parse("203.0.113.9");
    ladder.set_own(own, now);
  }
  PeerFacts& peer(NodeId id) {
    for (PeerFacts& one : table)
      if (one.id == id) return one;
    table.push_back({.node = "n" + std::to_string(id), .id = id, .connected = true});
    return table.back();
  }
  void tell() { ladder.set_table(table, now); }
  void run(Duration duration) {
    const Monotonic end = now + duration;
    while (now < end) {
      const auto advice = ladder.poll(now);
      ++polls;
      reports += advice.report;
      for (const auto& choice : advice.choices) choices.push_back(choice);
      for (const auto& ping : advice.pings) {
        pings.push_back(ping);
        if (answers(ping)) on_the_way.emplace_back(now + trip, ping);
      }
      Monotonic next = std::min(end, ladder.next_poll(now));
      if (!on_the_way.empty()) next = std::min(next, on_the_way.front().first);
      now = std::max(next, now + 1ms);
      while (!on_the_way.empty() && on_the_way.front().first <= now) {
        const Ladder::Ping ping = on_the_way.front().second;
        on_the_way.erase(on_the_way.begin());
        const bool direct = ping.via.kind == Via::Kind::direct;
        ladder.on_pong(ping.to, ping.via, ping.transaction, direct ? std::optional(seen(ping)) : std::nullopt, now);
      }
    }
  }
  Rung rung(NodeId id) {
    const auto choice = ladder.chosen(id);
    return choice ? choice->rung : Rung::none;
  }
  Why why(NodeId id, Rung rung) {
    for (const PathReport& path : ladder.paths(now))
      if (path.id == id) return path.rungs[static_cast<size_t>(rung)].why;
    return Why::chosen;
  }
};

bool is_tunnel(const Ladder::Ping& ping) { return ping.via.kind == Via::Kind::tunnel; }

TEST(Ladder, TheTunnelIsTakenAtOnceAndTheLanSoonAfter) {
  World world;
  world.peer(2).lan = {endpoint("192.168.0.11", 51820)};
  world.answers = [](const Ladder::Ping& ping) { return is_tunnel(ping) || ping.size <= 1500; };
  world.tell();
  world.run(50ms);
  EXPECT_EQ(world.rung(2), Rung::relay_tls);
  world.run(950ms);
  EXPECT_EQ(world.rung(2), Rung::lan);
  world.run(2s);
  EXPECT_EQ(world.ladder.chosen(2)->mtu, 1500);
  EXPECT_EQ(world.ladder.report(world.now).lan_nodes, std::vector<std::string>{"n2"});
}

TEST(Ladder, ASilentRungIsLeftWithinThreeSecondsAndComesBackWhenItAnswers) {
  World world;
  world.peer(2).lan = {endpoint("192.168.0.11", 51820)};
  bool alive = true;
  world.answers = [&](const Ladder::Ping& ping) { return is_tunnel(ping) || alive; };
  world.tell();
  world.run(20s);
  ASSERT_EQ(world.rung(2), Rung::lan);
  alive = false;
  const Monotonic cut = world.now;
  world.choices.clear();
  while (world.rung(2) == Rung::lan && world.now - cut < 10s) world.run(100ms);
  EXPECT_EQ(world.rung(2), Rung::relay_tls);
  EXPECT_LE(world.now - cut, 3500ms);
  alive = true;
  const Monotonic healed = world.now;
  while (world.rung(2) != Rung::lan && world.now - healed < 10s) world.run(100ms);
  EXPECT_LE(world.now - healed, 3s);
}

TEST(Ladder, ARungThatKeepsDyingIsTakenLaterAndLater) {
  World world;
  world.peer(2).lan = {endpoint("192.168.0.11", 51820)};
  bool alive = true;
  world.answers = [&](const Ladder::Ping& ping) { return is_tunnel(ping) || alive; };
  world.tell();
  world.run(10s);
  for (int i = 0; i < 60; ++i) {  // five minutes of 4 s up, 1 s of nothing more than the patience
    alive = true;
    world.run(2s);
    alive = false;
    world.run(3s);
  }
  const auto flips = std::ranges::count_if(world.choices, [](const Ladder::Choice& one) { return !one.again; });
  EXPECT_LT(flips, 60);
  alive = true;
  world.run(70s);
  EXPECT_EQ(world.rung(2), Rung::lan);
}

TEST(Ladder, ReasonsAreTold) {
  World world;
  world.peer(2).lan = {endpoint("10.9.0.2", 51820)};
  world.peer(2).observed = {endpoint("198.51.100.7", 40001), endpoint("198.51.100.7", 40002)};
  world.peer(3).lan = {endpoint("192.168.0.33", 51820)};
  world.peer(3).observed = {endpoint("203.0.113.9", 51833)};
  world.peer(4);
  world.peer(5).lan = {endpoint("198.51.100.99", 51820)};
  world.peer(5).observed = {endpoint("198.51.100.99", 51820)};
  world.answers = [](const Ladder::Ping& ping) { return is_tunnel(ping) || ping.to == 5; };
  world.tell();
  world.run(10s);
  EXPECT_EQ(world.rung(2), Rung::relay_tls);
  EXPECT_EQ(world.why(2, Rung::lan), Why::other_network);
  EXPECT_EQ(world.why(2, Rung::public_), Why::no_candidate);
  EXPECT_EQ(world.why(2, Rung::punched), Why::symmetric_nat);
  EXPECT_EQ(world.why(2, Rung::relay_udp), Why::no_relay);
  EXPECT_EQ(world.why(2, Rung::relay_tls), Why::chosen);
  EXPECT_EQ(world.why(2, Rung::proxy), Why::no_proxy);
  EXPECT_EQ(world.why(3, Rung::lan), Why::no_answer);
  EXPECT_EQ(world.why(3, Rung::punched), Why::no_hairpin);
  EXPECT_EQ(world.why(4, Rung::lan), Why::no_candidate);
  EXPECT_EQ(world.why(4, Rung::punched), Why::udp_dropped);
  EXPECT_EQ(world.rung(5), Rung::public_);
  EXPECT_EQ(world.why(5, Rung::relay_tls), Why::works);
}

TEST(Ladder, WhoeverGetsNoUdpThroughSaysSo) {
  World world;
  world.peer(2).observed = {endpoint("198.51.100.7", 51820)};
  world.answers = is_tunnel;
  world.tell();
  world.run(10s);
  EXPECT_EQ(world.why(2, Rung::punched), Why::udp_dropped);
  EXPECT_EQ(world.why(2, Rung::relay_udp), Why::udp_dropped);
}

TEST(Ladder, ARelayIsTakenThatBothReachAndAnAlwaysOnOneBeforeANearerOne) {
  World world;
  for (const NodeId id : {NodeId{3}, NodeId{4}}) {
    world.peer(id).lan = {endpoint("198.51.100." + std::to_string(id), 51820)};
    world.peer(id).observed = world.peer(id).lan;
  }
  world.peer(4).always_on = true;
  world.peer(2).direct = {3, 4};
  world.answers = [](const Ladder::Ping& ping) { return ping.to != 2 || ping.via.kind != Via::Kind::direct; };
  world.tell();
  world.run(10s);
  ASSERT_EQ(world.rung(2), Rung::relay_udp);
  world.peer(4).connected = false;
  world.answers = [](const Ladder::Ping& ping) {
    return ping.to != 4 && ping.via.relay != 4 && (ping.to != 2 || ping.via.kind != Via::Kind::direct);
  };
  world.tell();
  world.run(5s);
  EXPECT_EQ(world.rung(2), Rung::relay_udp);
  EXPECT_EQ(world.ladder.chosen(2)->via.relay, 3u);
}

TEST(Ladder, TheMtuOfAPathIsFound) {
  for (const uint16_t limit : {1500, 1492, 1475, 1452, 1420, 1281, 1280}) {
    World world;
    world.peer(2).lan = {endpoint("192.168.0.11", 51820)};
    world.answers = [&](const Ladder::Ping& ping) { return is_tunnel(ping) || ping.size <= limit; };
    world.tell();
    world.run(15s);
    const uint16_t found = world.ladder.chosen(2)->mtu;
    EXPECT_LE(found, limit);
    const auto next = std::ranges::upper_bound(MtuSearch::sizes, found);
    EXPECT_TRUE(next == MtuSearch::sizes.end() || *next > limit) << found << " below " << limit;
  }
}

TEST(Ladder, APathOfTooSmallPacketsIsNotTaken) {
  World world;
  world.peer(2).lan = {endpoint("192.168.0.11", 51820)};
  world.answers = [&](const Ladder::Ping& ping) { return is_tunnel(ping) || ping.size <= 1200; };
  world.tell();
  world.run(15s);
  EXPECT_EQ(world.rung(2), Rung::relay_tls);
  EXPECT_EQ(world.why(2, Rung::lan), Why::mtu_too_small);
}

TEST(Ladder, LatencyAndLossAreMeasured) {
  World world;
  world.peer(2).lan = {endpoint("192.168.0.11", 51820)};
  world.trip = 40ms;
  size_t count = 0;
  world.answers = [&](const Ladder::Ping& ping) { return is_tunnel(ping) || ping.size || ++count % 8 != 0; };
  world.tell();
  world.run(200s);
  const PathReport report = world.ladder.paths(world.now).at(0);
  EXPECT_EQ(report.rung, Rung::lan);
  EXPECT_NEAR(std::chrono::duration<double>(report.latency).count(), 0.04, 0.01);
  EXPECT_NEAR(report.loss, 0.125, 0.06);
  EXPECT_EQ(report.via, "192.168.0.11:51820");
}

TEST(Ladder, AnIdleNodeWakesOnceASecondWhateverTheNumberOfPeers) {
  World world;
  for (NodeId id = 2; id < 22; ++id) world.peer(id).lan = {endpoint("192.168.0." + std::to_string(id + 20), 51820)};
  world.answers = [](const Ladder::Ping&) { return true; };
  world.tell();
  world.run(30s);
  world.polls = 0;
  world.pings.clear();
  world.on_the_way.clear();
  world.trip = 0ms;
  std::set<int64_t> wakes;
  const Monotonic end = world.now + 20s;
  while (world.now < end) {  // the polls that the ladder itself asks for
    const auto advice = world.ladder.poll(world.now);
    if (!advice.pings.empty() || !advice.choices.empty()) wakes.insert(world.now.nanoseconds);
    for (const auto& ping : advice.pings) {
      ++world.polls;
      world.ladder.on_pong(ping.to, ping.via, ping.transaction, endpoint("192.168.0.10", 51820), world.now);
    }
    world.now = std::max(world.ladder.next_poll(world.now), world.now + 1ms);
  }
  EXPECT_LE(wakes.size(), 22u);
  EXPECT_NEAR(static_cast<double>(world.polls), 20 * 20, 25);
}

TEST(Ladder, AThousandPeersStayWithinTheBounds) {
  World world;
  for (NodeId id = 2; id < 1002; ++id) {
    PeerFacts& peer = world.peer(id);
    for (int i = 0; i < 16; ++i)
      peer.observed.push_back({Ip::v4(0xcb007100 + static_cast<uint32_t>(id)), static_cast<uint16_t>(1000 + i)});
    peer.lan = {{Ip::v4(0x0a090000 + static_cast<uint32_t>(id)), 51820}};
  }
  world.answers = is_tunnel;
  world.tell();
  for (int i = 0; i < 300; ++i) {
    const auto advice = world.ladder.poll(world.now);
    EXPECT_LE(advice.pings.size(), Ladder::pings_per_poll);
    EXPECT_LE(world.ladder.outstanding(), Ladder::outstanding_max);
    world.now = world.now + 100ms;
  }
  for (NodeId id = 2; id < 1002; ++id) EXPECT_EQ(world.rung(id), Rung::relay_tls);
}

TEST(Ladder, PongsThatNobodyAskedForChangeNothing) {
  World world;
  world.peer(2).lan = {endpoint("192.168.0.11", 51820)};
  world.answers = is_tunnel;
  world.tell();
  world.run(2s);
  const auto found = std::ranges::find_if(world.pings, [](const auto& ping) { return !is_tunnel(ping); });
  ASSERT_NE(found, world.pings.end());
  const auto pinged = *found;  // a copy: more are sent below
  for (int i = 0; i < 3; ++i) {
    world.ladder.on_pong(2, Via::direct(endpoint("192.168.0.11", 51820)), 999, std::nullopt, world.now);
    world.ladder.on_pong(2, Via::direct(endpoint("192.168.0.66", 51820)), pinged.transaction, std::nullopt, world.now);
    world.ladder.on_pong(3, pinged.via, pinged.transaction, std::nullopt, world.now);
    world.run(1s);
  }
  EXPECT_EQ(world.rung(2), Rung::relay_tls);
}

TEST(Ladder, TheChoiceIsPutAgainAfterAChangeOfNetworks) {
  World world;
  world.peer(2).lan = {endpoint("192.168.0.11", 51820)};
  world.answers = [](const Ladder::Ping&) { return true; };
  world.tell();
  world.run(20s);
  world.choices.clear();
  world.own.addresses = {*IpPrefix::parse("192.168.0.77/24")};
  world.ladder.set_own(world.own, world.now);
  world.run(200ms);
  ASSERT_FALSE(world.choices.empty());
  EXPECT_TRUE(world.choices.front().again);
  EXPECT_EQ(world.rung(2), Rung::lan);
}

}  // namespace
}  // namespace dure::overlay
