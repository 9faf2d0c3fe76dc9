#include "overlay/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "overlay/node_fixture.h"

namespace dure::overlay {
namespace {

using testing::ElementsAre;

IpPrefix prefix(const char* text) { return *IpPrefix::parse(text); }
Ip ip(const char* text) { return *Ip::parse(text); }

Peer own_peer(const char* node, const char* cidr) { return {"2026-01-01T00:00:00Z", node, prefix(cidr), "own"}; }

VxlanPeer vxlan(const char* node, const char* cidr, const char* public_ip, const char* mac) {
  return {{"", node, prefix(cidr), std::string("MAC ") + mac}, ip(public_ip), *Mac::parse(mac)};
}

kernel::WgKey key(uint8_t seed) {
  kernel::WgKey out;
  out.bytes.fill(seed);
  return out;
}

const Ranges ranges{{Ip::v4(0x0af40000), 16}, {Ip::v4(0x0af50000), 16}};

WireguardPeer wireguard(const char* node, const char* cidr, uint8_t seed, const char* created = "",
                        std::optional<Path> path = {}) {
  return {{created, node, prefix(cidr), "WireGuard key " + key(seed).text()},
          *node_address(ranges, prefix(cidr)),
          key(seed),
          path};
}

std::vector<std::string> names(const auto& peers) {
  std::vector<std::string> out;
  for (const Peer& peer : peers) out.push_back(peer.node);
  return out;
}

Plan vxlan_plan_of(std::vector<VxlanPeer> peers) {
  leave_out_claims(own_peer("a", "10.244.1.0/24"), peers);
  return vxlan_plan(peers, 7);
}

TEST(Plan, OneVxlanPeerIsThreeEntries) {
  Plan plan = vxlan_plan_of({vxlan("b", "10.244.2.0/24", "192.168.0.2", "02:00:00:00:00:02")});
  ASSERT_EQ(plan.routes.size(), 1u);
  EXPECT_EQ(plan.routes[0].destination.text(), "10.244.2.0/24");
  EXPECT_EQ(plan.routes[0].gateway->text(), "10.244.2.0");
  EXPECT_TRUE(plan.routes[0].onlink);
  EXPECT_EQ(plan.neighbours[0].ip.text(), "10.244.2.0");
  EXPECT_EQ(plan.fdb[0].destination.text(), "192.168.0.2");
}

TEST(Plan, OneWireguardPeerIsAKeyAndTwoRoutes) {
  WireguardDevice device{.link = 7, .mtu = 1420, .node_ip = ip("10.245.0.2")};
  Plan plan = wireguard_plan({wireguard("b", "10.244.2.0/24", 2, "", Path{{ip("192.168.0.2"), 51821}})}, device);
  ASSERT_EQ(plan.routes.size(), 2u);
  EXPECT_EQ(plan.routes[0].destination.text(), "10.244.2.0/24");
  EXPECT_EQ(plan.routes[1].destination.text(), "10.245.0.3/32");
  EXPECT_EQ(plan.routes[1].source->text(), "10.245.0.2");
  EXPECT_EQ(plan.routes[1].mtu, 0);
  ASSERT_EQ(plan.peers.size(), 1u);
  EXPECT_THAT(plan.peers[0].allowed_ips, ElementsAre(prefix("10.244.2.0/24"), prefix("10.245.0.3/32")));
  EXPECT_EQ(plan.peers[0].endpoint->text(), "192.168.0.2:51821");
}

TEST(Plan, ANarrowPathNarrowsItsRoutesOnly) {
  WireguardDevice device{.link = 7, .mtu = 1420, .node_ip = ip("10.245.0.2")};
  Plan plan = wireguard_plan({wireguard("b", "10.244.2.0/24", 2, "", Path{{ip("192.168.0.2"), 1}, 1280}),
                              wireguard("c", "10.244.3.0/24", 3, "", Path{{ip("192.168.0.3"), 1}, 9000})},
                             device);
  std::vector<int> mtus;
  for (const kernel::Route& route : plan.routes) mtus.push_back(route.mtu);
  EXPECT_THAT(mtus, ElementsAre(1280, 1280, 0, 0));
}

TEST(Plan, ANodesAddressFollowsItsPodRange) {
  EXPECT_EQ(node_address(ranges, prefix("10.244.0.0/24"))->text(), "10.245.0.1");
  EXPECT_EQ(node_address(ranges, prefix("10.244.255.0/24"))->text(), "10.245.1.0");
  EXPECT_EQ(node_address(ranges, prefix("10.244.1.128/25"))->text(), "10.245.0.4");
  EXPECT_FALSE(node_address(ranges, prefix("10.200.0.0/24"))) << "not of this cluster";
  EXPECT_FALSE(node_address(ranges, prefix("10.0.0.0/8"))) << "more than this cluster";
  EXPECT_FALSE(node_address({ranges.pods, prefix("10.245.0.0/28")}, prefix("10.244.15.0/24"))) << "range is full";
  EXPECT_EQ(node_address({ranges.pods, prefix("10.245.0.0/28")}, prefix("10.244.14.0/24"))->text(), "10.245.0.15");
}

TEST(Plan, OurselvesAndOverlappingPeersAreLeftOut) {
  std::vector<VxlanPeer> peers{vxlan("a", "10.244.1.0/24", "192.168.0.1", "02:00:00:00:00:01"),
                               vxlan("c", "10.244.2.0/24", "192.168.0.3", "02:00:00:00:00:03"),
                               vxlan("b", "10.244.2.0/24", "192.168.0.2", "02:00:00:00:00:02"),
                               vxlan("e", "10.244.3.0/24", "192.168.0.5", "02:00:00:00:00:02"),
                               vxlan("d", "10.244.1.128/25", "192.168.0.4", "02:00:00:00:00:04")};
  auto refused = leave_out_claims(own_peer("a", "10.244.1.0/24"), peers);
  EXPECT_THAT(names(peers), ElementsAre("b"));
  std::vector<std::string> why;
  for (const Refusal& one : refused) why.push_back(one.message);
  EXPECT_THAT(why, ElementsAre("node c claims the pod range 10.244.2.0/24 of node b",
                               "node d claims the pod range 10.244.1.128/25 of node a",
                               "node e claims the MAC 02:00:00:00:00:02 of node b"));
  EXPECT_EQ(refused[1].holder, "a");
}

TEST(Plan, TheOlderNodeKeepsWhatAYoungerOneClaims) {
  std::vector<WireguardPeer> peers{wireguard("b", "10.244.2.0/24", 2, "2026-03-01T00:00:00Z"),
                                   wireguard("thief", "10.244.9.0/24", 2, "2026-04-01T00:00:00Z"),
                                   wireguard("alpha", "10.244.3.0/24", 2, "2026-05-01T00:00:00Z")};
  auto refused = leave_out_claims(own_peer("z", "10.244.1.0/24"), peers);
  EXPECT_THAT(names(peers), ElementsAre("b")) << "names do not matter, age does";
  ASSERT_EQ(refused.size(), 2u);
  EXPECT_EQ(refused[0].node, "thief");
  EXPECT_EQ(refused[0].message, "node thief claims the WireGuard key " + key(2).text() + " of node b");
}

TEST(Plan, OurOwnKeyIsNobodyElses) {
  Peer own = own_peer("a", "10.244.1.0/24");
  own.identity = "WireGuard key " + key(1).text();
  std::vector<WireguardPeer> peers{wireguard("b", "10.244.2.0/24", 1)};
  auto refused = leave_out_claims(own, peers);
  EXPECT_TRUE(peers.empty());
  ASSERT_EQ(refused.size(), 1u);
  EXPECT_EQ(refused[0].holder, "a");
}

TEST(Plan, DiffPutsWhatChangedAndRemovesOnlyPlacesThatAreGone) {
  Plan before = vxlan_plan_of({vxlan("b", "10.244.2.0/24", "192.168.0.2", "02:00:00:00:00:02"),
                               vxlan("c", "10.244.3.0/24", "192.168.0.3", "02:00:00:00:00:03")});
  Plan after = vxlan_plan_of({vxlan("b", "10.244.2.0/24", "192.168.0.99", "02:00:00:00:00:02")});
  Change change = diff(before, after);
  EXPECT_EQ(change.put.fdb.size(), 1u);
  EXPECT_TRUE(change.put.routes.empty());
  EXPECT_TRUE(change.put.neighbours.empty());
  EXPECT_EQ(change.remove.routes.size(), 1u);
  EXPECT_EQ(change.remove.fdb.size(), 1u);
  EXPECT_TRUE(diff(after, after).empty());
}

TEST(Plan, AMovedPeerIsNoDifferenceAndIsMovedBackOnlyWhenWeChangedOurMind) {
  WireguardDevice device{.link = 7, .mtu = 1420, .node_ip = ip("10.245.0.2")};
  auto at = [&](const char* address) {
    return wireguard_plan({wireguard("b", "10.244.2.0/24", 2, "", Path{{ip(address), 51820}})}, device);
  };
  Plan wanted = at("192.168.0.2"), roamed = at("203.0.113.9"), unknown = wanted;
  unknown.peers[0].endpoint.reset();
  Told told{{key(2), *wanted.peers[0].endpoint}};
  EXPECT_TRUE(diff(roamed, wanted).empty());
  EXPECT_TRUE(moves(roamed, wanted, told).empty()) << "it knows better where its packets come from";
  EXPECT_EQ(moves(wanted, at("192.168.0.7"), told).size(), 1u);
  unknown.peers[0].keepalive_seconds = 0;
  ASSERT_EQ(diff(unknown, wanted).put.peers.size(), 1u);
  EXPECT_EQ(diff(unknown, wanted).put.peers[0], wanted.peers[0]) << "it is put with its endpoint, so that it calls";
  EXPECT_EQ(moves(roamed, wanted, {}).size(), 1u) << "after a restart what is wanted holds";
  EXPECT_TRUE(moves(wanted, wanted, {}).empty());
  EXPECT_TRUE(moves(wanted, unknown, told).empty());
  EXPECT_EQ(diff(Plan{}, wanted).put.peers, wanted.peers);
  EXPECT_EQ(diff(wanted, Plan{}).remove.peers.size(), 1u);
}

TEST(Plan, VxlanPeersComeFromFlannelsAnnotations) {
  std::map<std::string, std::string> annotations{
      {std::string(backend_data_annotation), backend_data(1, *Mac::parse("02:00:00:00:00:02"))},
      {std::string(backend_type_annotation), "vxlan"},
      {std::string(public_ip_annotation), "192.168.0.2"}};
  EXPECT_EQ(annotations[std::string(backend_data_annotation)], R"({"VNI":1,"VtepMAC":"02:00:00:00:00:02"})");
  auto object = node_object("b", "10.244.2.0/24", "192.168.0.2", annotations);
  EXPECT_EQ(vxlan_peer_of(kinds::core_v1::Node(object)),
            vxlan("b", "10.244.2.0/24", "192.168.0.2", "02:00:00:00:00:02"));
  EXPECT_FALSE(vxlan_peer_of(kinds::core_v1::Node(node_object("b", "", "192.168.0.2", annotations))));
  EXPECT_FALSE(vxlan_peer_of(kinds::core_v1::Node(node_object("b", "10.244.2.0/24", "192.168.0.2"))));
}

TEST(Plan, WireguardPeersComeFromOurAnnotations) {
  std::map<std::string, std::string> annotations{{std::string(wireguard_key_annotation), key(2).text()},
                                                 {std::string(wireguard_endpoint_annotation), "192.168.0.2:51821"}};
  auto read = [&](const std::string& cidr) {
    return wireguard_peer_of(kinds::core_v1::Node(node_object("b", cidr, "192.168.0.2", annotations)), ranges);
  };
  EXPECT_EQ(read("10.244.2.0/24"), wireguard("b", "10.244.2.0/24", 2, "", Path{{ip("192.168.0.2"), 51821}}));
  EXPECT_FALSE(read("")) << "no pod range yet";
  EXPECT_FALSE(read("10.99.2.0/24")) << "a range outside the cluster's is nobody's";
  annotations[std::string(wireguard_endpoint_annotation)] = "nonsense";
  EXPECT_FALSE(read("10.244.2.0/24")->path);
  annotations[std::string(wireguard_key_annotation)] = "c2hvcnQ=";
  EXPECT_FALSE(read("10.244.2.0/24"));
}

}  // namespace
}  // namespace dure::overlay
