#include "kernel/links.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "base/time.h"
#include "kernel/namespace_fixture.h"

namespace dure::kernel {
namespace {

// One suite for every implementation; a world is an empty namespace and, for veth, a second one.
class LinuxWorld {
 public:
  LinuxWorld() : here_(must(NetNamespace::create())), there_(must(NetNamespace::create())) {
    links = must(open_links(&here_));
    other = must(open_links(&there_));
  }
  const NetNamespace* other_namespace() { return &there_; }
  std::unique_ptr<Links> links, other;

 private:
  NetNamespace here_, there_;
};

class LinksTest : public testing::Test {
 protected:
  void SetUp() override {
    DURE_NEEDS_NAMESPACES();
    world_.emplace();
  }
  Links& links() { return *world_->links; }
  Links& other() { return *world_->other; }
  std::optional<LinuxWorld> world_;
};

IpPrefix prefix(const char* text) { return *IpPrefix::parse(text); }
Ip ip(const char* text) { return *Ip::parse(text); }
Mac mac(const char* text) { return *Mac::parse(text); }

TEST_F(LinksTest, ANewNamespaceHasOnlyLoopback) {
  auto all = must(links().list());
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].name, "lo");
  EXPECT_TRUE(all[0].loopback);
  EXPECT_FALSE(all[0].up);
  must(links().change(all[0].index, {.up = true}));
  EXPECT_TRUE(must(links().get("lo")).up);
}

TEST_F(LinksTest, BridgeIsMadeChangedAndRemoved) {
  must(links().create_bridge({.name = "cni0", .mac = mac("02:00:00:00:00:01"), .mtu = 1450}));
  Link link = must(links().get("cni0"));
  EXPECT_EQ(link.kind, "bridge");
  EXPECT_EQ(link.mtu, 1450);
  EXPECT_EQ(link.mac.text(), "02:00:00:00:00:01");
  auto again = links().create_bridge({.name = "cni0"});
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().reason, "AlreadyExists");
  must(links().change(link.index, {.up = true, .mtu = 1400}));
  must(links().change(link.index, {.up = false}));
  must(links().change(link.index, {.name = "br7"}));
  EXPECT_EQ(must(links().get("br7")).mtu, 1400);
  EXPECT_EQ(links().get("cni0").error().reason, "NotFound");
  must(links().remove("br7"));
  must(links().remove("br7"));
  EXPECT_EQ(must(links().list()).size(), 1u);
}

TEST_F(LinksTest, RefusesNamesTheKernelCannotHold) {
  for (const char* name : {"", "a/b", "0123456789abcdef", "a b", ".."})
    EXPECT_EQ(links().create_bridge({.name = name}).error().reason, "BadRequest") << name;
}

TEST_F(LinksTest, VethEndsLiveInTwoNamespacesAndTheBridgeTakesOne) {
  must(links().create_bridge({.name = "cni0"}));
  must(links().create_veth({.name = "veth1",
                            .peer_name = "eth0",
                            .peer_namespace = world_->other_namespace(),
                            .peer_mac = mac("0a:58:0a:f4:01:02"),
                            .mtu = 1450}));
  Link here = must(links().get("veth1")), there = must(other().get("eth0"));
  EXPECT_EQ(here.kind, "veth");
  EXPECT_EQ(here.peer_index, there.index);
  EXPECT_EQ(there.mac.text(), "0a:58:0a:f4:01:02");
  EXPECT_EQ(there.mtu, 1450);
  int bridge = must(links().get("cni0")).index;
  must(links().change(here.index, {.up = true, .master = bridge, .hairpin = true}));
  must(other().change(there.index, {.up = true}));
  EXPECT_EQ(must(links().get("veth1")).master, bridge);
  must(links().change(here.index, {.master = 0}));
  EXPECT_EQ(must(links().get("veth1")).master, 0);
  must(other().remove("eth0"));  // the other end goes with it
  EXPECT_EQ(links().get("veth1").error().reason, "NotFound");
}

TEST_F(LinksTest, AddressesAndTheirRoutes) {
  must(links().create_bridge({.name = "cni0"}));
  int index = must(links().get("cni0")).index;
  must(links().change(index, {.up = true}));
  LinkAddress address{index, prefix("10.244.1.1/24")};
  must(links().put_address(address));
  must(links().put_address(address));
  auto all = must(links().addresses(index));
  std::erase_if(all, [](const LinkAddress& a) { return a.address.ip.v6; });
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].address.text(), "10.244.1.1/24");
  auto routes = must(links().routes());
  std::erase_if(routes, [](const Route& r) { return r.destination.ip.v6; });
  ASSERT_EQ(routes.size(), 1u);
  EXPECT_EQ(routes[0].destination.text(), "10.244.1.0/24");
  EXPECT_EQ(routes[0].protocol, route_protocol_kernel);
  must(links().remove_address(address));
  must(links().remove_address(address));

  must(links().put_address({index, prefix("10.244.1.1/24"), true}));
  routes = must(links().routes());
  std::erase_if(routes, [](const Route& r) { return r.destination.ip.v6; });
  EXPECT_TRUE(routes.empty());
}

TEST_F(LinksTest, RoutesAreReplacedAndRemoved) {
  must(links().create_bridge({.name = "cni0"}));
  int index = must(links().get("cni0")).index;
  must(links().change(index, {.up = true}));
  must(links().put_address({index, prefix("10.244.1.0/32")}));
  Route route{.destination = prefix("10.244.2.0/24"), .gateway = ip("10.244.2.0"), .link = index, .onlink = true};
  must(links().put_route(route));
  route.gateway = ip("10.244.2.9");
  must(links().put_route(route));
  auto routes = must(links().routes());
  std::erase_if(routes, [](const Route& r) { return r.protocol != route_protocol_dure; });
  EXPECT_THAT(routes, testing::ElementsAre(route));
  must(links().remove_route(route));
  must(links().remove_route(route));

  must(links().put_route(
      {.destination = prefix("0.0.0.0/0"), .gateway = ip("10.1.0.1"), .link = index, .onlink = true}));
  Route bad{.destination = prefix("10.9.0.0/16"), .gateway = ip("192.0.2.1"), .link = 999};
  EXPECT_FALSE(links().put_route(bad));
}

TEST_F(LinksTest, VxlanWithItsPeers) {
  must(links().create_bridge({.name = "eth0"}));
  int under = must(links().get("eth0")).index;
  must(links().change(under, {.up = true}));
  must(links().put_address({under, prefix("192.168.0.1/24")}));
  must(links().create_vxlan({.name = "flannel.1",
                             .vni = 1,
                             .port = 8472,
                             .local = ip("192.168.0.1"),
                             .underlay = under,
                             .mac = mac("02:00:00:00:00:aa"),
                             .mtu = 1450}));
  Link link = must(links().get("flannel.1"));
  EXPECT_EQ(link.kind, "vxlan");
  EXPECT_EQ(link.vni, 1u);
  EXPECT_EQ(link.port, 8472);
  EXPECT_EQ(link.local, ip("192.168.0.1"));
  EXPECT_EQ(link.underlay, under);
  EXPECT_FALSE(link.learning);
  must(links().change(link.index, {.up = true}));

  FdbEntry far{link.index, mac("02:00:00:00:00:bb"), ip("192.168.0.2")};
  must(links().put_fdb(far));
  far.destination = ip("192.168.0.3");  // the peer moved
  must(links().put_fdb(far));
  EXPECT_THAT(must(links().fdb(link.index)), testing::ElementsAre(far));
  Neighbour neighbour{link.index, ip("10.244.2.0"), mac("02:00:00:00:00:bb")};
  must(links().put_neighbour(neighbour));
  must(links().put_neighbour(neighbour));
  EXPECT_THAT(must(links().neighbours(link.index)), testing::ElementsAre(neighbour));
  must(links().remove_fdb(far));
  must(links().remove_fdb(far));
  must(links().remove_neighbour(neighbour));
  must(links().remove_neighbour(neighbour));
  EXPECT_TRUE(must(links().fdb(link.index)).empty());
  EXPECT_TRUE(must(links().neighbours(link.index)).empty());
}

TEST_F(LinksTest, TheUplinkIsWhereTheRouteLeads) {
  must(links().create_bridge({.name = "lan"}));
  must(links().create_bridge({.name = "wan"}));
  int lan = must(links().get("lan")).index, wan = must(links().get("wan")).index;
  for (int index : {lan, wan}) must(links().change(index, {.up = true}));
  must(links().put_address({lan, prefix("192.168.0.5/24")}));
  must(links().put_address({wan, prefix("198.51.100.2/30")}));
  EXPECT_EQ(find_uplink(links(), ip("8.8.8.8")).error().reason, "NotFound");
  must(links().put_route({.destination = prefix("0.0.0.0/0"), .gateway = ip("198.51.100.1"), .link = wan}));
  EXPECT_EQ(must(find_uplink(links(), ip("8.8.8.8"))).address, ip("198.51.100.2"));
  EXPECT_EQ(must(find_uplink(links(), ip("192.168.0.9"))).link.name, "lan");
}

TEST_F(LinksTest, WatchTellsOfChanges) {
  std::atomic<int> of_links{0}, of_addresses{0};
  auto watch = must(links().watch([&](LinkEvent event) {
    if (event.kind == LinkEvent::Kind::link) ++of_links;
    if (event.kind == LinkEvent::Kind::address) ++of_addresses;
  }));
  must(links().create_bridge({.name = "cni0"}));
  must(links().put_address({must(links().get("cni0")).index, prefix("10.0.0.1/24")}));
  for (int i = 0; i < 1000 && (!of_links || !of_addresses); ++i) std::this_thread::sleep_for(5ms);
  EXPECT_GT(of_links, 0);
  EXPECT_GT(of_addresses, 0);
}

TEST(NetNamespaceTest, ANewOneIsAnotherAndAMissingOneIsNotFound) {
  DURE_NEEDS_NAMESPACES();
  EXPECT_NE(must(NetNamespace::create()).inode(), must(NetNamespace::current()).inode());
  EXPECT_EQ(must(NetNamespace::open("/proc/self/ns/net")).inode(), must(NetNamespace::current()).inode());
  EXPECT_EQ(NetNamespace::open("/run/netns/no-such-namespace").error().reason, "NotFound");
}

}  // namespace
}  // namespace dure::kernel
