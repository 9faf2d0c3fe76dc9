#include "overlay/overlay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "overlay/node_fixture.h"

namespace dure::overlay {
namespace {

using kernel::ask;
using kernel::output_in;
using kernel::ProbeServer;
using kernel::run_in;

Peer peer(const char* node, const char* cidr, const char* ip, const char* mac) {
  return {node, *IpPrefix::parse(cidr), *Ip::parse(ip), *Mac::parse(mac)};
}

TEST(Plan, OnePeerIsThreeEntries) {
  Plan plan = make_plan("a", *IpPrefix::parse("10.244.1.0/24"),
                        {peer("b", "10.244.2.0/24", "192.168.0.2", "02:00:00:00:00:02")}, 7);
  ASSERT_EQ(plan.routes.size(), 1u);
  EXPECT_EQ(plan.routes[0].destination.text(), "10.244.2.0/24");
  EXPECT_EQ(plan.routes[0].gateway->text(), "10.244.2.0");
  EXPECT_TRUE(plan.routes[0].onlink);
  EXPECT_EQ(plan.neighbours[0].ip.text(), "10.244.2.0");
  EXPECT_EQ(plan.fdb[0].destination.text(), "192.168.0.2");
}

TEST(Plan, OurselvesAndOverlappingPeersAreLeftOut) {
  Plan plan = make_plan("a", *IpPrefix::parse("10.244.1.0/24"),
                        {peer("a", "10.244.1.0/24", "192.168.0.1", "02:00:00:00:00:01"),
                         peer("c", "10.244.2.0/24", "192.168.0.3", "02:00:00:00:00:03"),
                         peer("b", "10.244.2.0/24", "192.168.0.2", "02:00:00:00:00:02"),
                         peer("d", "10.244.1.128/25", "192.168.0.4", "02:00:00:00:00:04")},
                        7);
  ASSERT_EQ(plan.routes.size(), 1u);
  EXPECT_EQ(plan.fdb[0].destination.text(), "192.168.0.2");
}

TEST(Plan, DiffPutsWhatChangedAndRemovesOnlyPlacesThatAreGone) {
  auto own = *IpPrefix::parse("10.244.1.0/24");
  Plan before = make_plan("a", own,
                          {peer("b", "10.244.2.0/24", "192.168.0.2", "02:00:00:00:00:02"),
                           peer("c", "10.244.3.0/24", "192.168.0.3", "02:00:00:00:00:03")},
                          7);
  Plan after = make_plan("a", own, {peer("b", "10.244.2.0/24", "192.168.0.99", "02:00:00:00:00:02")}, 7);
  Change change = diff(before, after);
  EXPECT_EQ(change.put.fdb.size(), 1u);
  EXPECT_TRUE(change.put.routes.empty());
  EXPECT_TRUE(change.put.neighbours.empty());
  EXPECT_EQ(change.remove.routes.size(), 1u);
  EXPECT_EQ(change.remove.fdb.size(), 1u);
  EXPECT_TRUE(diff(after, after).empty());
}

TEST(Plan, PeersComeFromFlannelsAnnotations) {
  std::map<std::string, std::string> annotations{
      {std::string(backend_data_annotation), backend_data(1, *Mac::parse("02:00:00:00:00:02"))},
      {std::string(backend_type_annotation), "vxlan"},
      {std::string(public_ip_annotation), "192.168.0.2"}};
  EXPECT_EQ(annotations[std::string(backend_data_annotation)], R"({"VNI":1,"VtepMAC":"02:00:00:00:00:02"})");
  auto object = node_object("b", "10.244.2.0/24", "192.168.0.2", annotations);
  EXPECT_EQ(peer_of(kinds::core_v1::Node(object)), peer("b", "10.244.2.0/24", "192.168.0.2", "02:00:00:00:00:02"));
  EXPECT_FALSE(peer_of(kinds::core_v1::Node(node_object("b", "", "192.168.0.2", annotations))));
  EXPECT_FALSE(peer_of(kinds::core_v1::Node(node_object("b", "10.244.2.0/24", "192.168.0.2"))));
}

class OverlayTest : public testing::Test {
 protected:
  void SetUp() override {
    DURE_NEEDS_NAMESPACES();
    lan_.emplace();
    OverlayOptions options;
    options.local_addresses = {*Ip::parse("10.96.0.10")};
    for (int i = 1; i <= 3; ++i)
      nodes_.push_back(std::make_unique<TestNode>(*lan_, std::string(1, static_cast<char>('a' + i - 1)),
                                                  "192.168.0." + std::to_string(i),
                                                  "10.244." + std::to_string(i) + ".0/24", options));
  }
  std::vector<schema::Object> objects(size_t count) {
    std::vector<schema::Object> out;
    for (size_t i = 0; i < count; ++i) out.push_back(nodes_[i]->object());
    return out;
  }
  // Twice: the first sync makes the annotations, the second sees everybody's.
  void sync_all(size_t count) {
    for (int round = 0; round < 2; ++round)
      for (size_t i = 0; i < count; ++i) nodes_[i]->sync(objects(count));
  }
  std::optional<Lan> lan_;
  std::vector<std::unique_ptr<TestNode>> nodes_;
};

TEST_F(OverlayTest, PodsOnDifferentNodesTalkWithTheirOwnAddresses) {
  sync_all(2);
  auto one = nodes_[0]->add_pod("one"), two = nodes_[1]->add_pod("two");
  EXPECT_EQ(one->ip, "10.244.1.2");
  EXPECT_EQ(two->ip, "10.244.2.2");
  ProbeServer server(two->ns, "two", 8080), outside(lan_->ns, "lan", 9090), on_node(nodes_[1]->ns, "node", 9091);
  EXPECT_EQ(ask(one->ns, two->ip, 8080), "two 10.244.1.2");
  EXPECT_EQ(kernel::ask_udp(one->ns, two->ip, 8080), "two 10.244.1.2");
  EXPECT_EQ(ask(nodes_[0]->ns, two->ip, 8080), "two 10.244.1.0") << "the node speaks with its vxlan address";
  EXPECT_EQ(ask(one->ns, "192.168.0.254", 9090), "lan 192.168.0.1") << "outside the cluster: masqueraded";
  EXPECT_EQ(ask(one->ns, "192.168.0.2", 9091), "node 192.168.0.1");
  EXPECT_EQ(must(nodes_[0]->links->get("flannel.1")).mtu, 1450);
  EXPECT_EQ(run_in(one->ns, "ping -c1 -W2 -M do -s 1422 10.244.2.2"), 0) << "a full packet of 1450 bytes passes";
  EXPECT_EQ(nodes_[0]->annotations[std::string(public_ip_annotation)], "192.168.0.1");
}

TEST_F(OverlayTest, NothingChangesWhenNothingChanged) {
  sync_all(2);
  EXPECT_EQ(nodes_[0]->sync(objects(2)), 0u);
  int index = must(nodes_[0]->links->get("flannel.1")).index;
  // A restart: a new object, the same kernel.
  nodes_[0]->overlay = std::make_unique<Overlay>(
      nodes_[0]->options, OverlayWorld{*nodes_[0]->links, *nodes_[0]->nft, *nodes_[0]->sysctl, *nodes_[0]->disk});
  EXPECT_EQ(nodes_[0]->sync(objects(2)), 0u);
  EXPECT_EQ(must(nodes_[0]->links->get("flannel.1")).index, index);
}

TEST_F(OverlayTest, PeersComeAndGoOneByOne) {
  sync_all(2);
  nodes_[2]->sync(objects(3));
  EXPECT_EQ(nodes_[0]->sync(objects(3)), 3u) << "route, neighbour and forwarding entry of the new node";
  EXPECT_EQ(nodes_[0]->sync(objects(2)), 3u);
  std::string routes = output_in(nodes_[0]->ns, "ip route show dev flannel.1");
  EXPECT_EQ(routes, "10.244.2.0/24 via 10.244.2.0 proto 208 onlink \n");
}

TEST_F(OverlayTest, AForeignHandIsRepaired) {
  sync_all(2);
  run_in(
      nodes_[0]->ns,
      "ip route del 10.244.2.0/24; ip neigh flush dev flannel.1 nud permanent; nft flush chain ip dure overlay-post");
  EXPECT_GE(nodes_[0]->sync(objects(2)), 1u);
  auto one = nodes_[0]->add_pod("one"), two = nodes_[1]->add_pod("two");
  ProbeServer server(two->ns, "two", 8080), outside(lan_->ns, "lan", 9090);
  EXPECT_EQ(ask(one->ns, two->ip, 8080), "two 10.244.1.2");
  EXPECT_EQ(ask(one->ns, "192.168.0.254", 9090), "lan 192.168.0.1");
  run_in(nodes_[0]->ns, "ip link del flannel.1");
  EXPECT_EQ(nodes_[0]->sync(objects(2)), 3u);
  EXPECT_EQ(ask(one->ns, two->ip, 8080), "two 10.244.1.2");
}

TEST_F(OverlayTest, ANodeThatChangesItsAddressKeepsItsPods) {
  sync_all(2);
  auto one = nodes_[0]->add_pod("one"), two = nodes_[1]->add_pod("two");
  ProbeServer server(two->ns, "two", 8080);
  run_in(nodes_[0]->ns,
         "ip addr add 192.168.0.77/24 dev eth0; ip addr del 192.168.0.1/24 dev eth0; ip addr add 192.168.0.77/24 dev "
         "eth0; ip route replace default via 192.168.0.254");
  nodes_[0]->ip = "192.168.0.77";
  sync_all(2);
  EXPECT_EQ(nodes_[0]->annotations[std::string(public_ip_annotation)], "192.168.0.77");
  EXPECT_EQ(ask(one->ns, two->ip, 8080), "two 10.244.1.2");
}

TEST_F(OverlayTest, TheClustersLocalAddressAnswersPodsWithoutAnyRule) {
  sync_all(1);
  auto one = nodes_[0]->add_pod("one");
  ProbeServer dns(nodes_[0]->ns, "dns", 53, "10.96.0.10");
  EXPECT_EQ(kernel::ask_udp(one->ns, "10.96.0.10", 53), "dns 10.244.1.2");
  EXPECT_EQ(kernel::ask_udp(nodes_[0]->ns, "10.96.0.10", 53), "dns 10.96.0.10");
}

TEST_F(OverlayTest, RemoveAllLeavesNothing) {
  std::string before = output_in(nodes_[0]->ns, "ip addr show dev lo; ip route; ip -o link | wc -l");
  nodes_[0]->sync({nodes_[0]->object()});
  EXPECT_TRUE(nodes_[0]->disk->exists("/etc/cni/net.d/10-dure.conflist"));
  must(nodes_[0]->overlay->remove_all());
  must(nodes_[0]->overlay->remove_all());
  EXPECT_EQ(output_in(nodes_[0]->ns, "ip addr show dev lo; ip route; ip -o link | wc -l"), before);
  EXPECT_TRUE(must(nodes_[0]->nft->chains()).empty());
  EXPECT_FALSE(nodes_[0]->disk->exists("/etc/cni/net.d/10-dure.conflist"));
}

TEST_F(OverlayTest, WaitsForThePodCidr) {
  auto synced = must(nodes_[0]->overlay->sync({node_object("a", "", "192.168.0.1")}));
  EXPECT_FALSE(synced.ready);
  EXPECT_FALSE(nodes_[0]->disk->exists("/etc/cni/net.d/10-dure.conflist"));
}

}  // namespace
}  // namespace dure::overlay
