#include "svcproxy/proxy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <thread>

#include "kernel/probe_fixture.h"
#include "overlay/node_fixture.h"
#include "svcproxy/service_fixture.h"

namespace dure::svcproxy {
namespace {

using kernel::ask;
using kernel::ask_udp;
using kernel::must;
using kernel::output_in;
using kernel::ProbeServer;
using kernel::run_in;
using overlay::Lan;
using overlay::TestNode;
using overlay::TestPod;
using testing::HasSubstr;

class ProxyTest : public testing::Test {
 protected:
  void SetUp() override {
    DURE_NEEDS_NAMESPACES();
    lan_.emplace();
    overlay::OverlayOptions options;
    options.local_addresses = {*Ip::parse("10.96.0.10")};
    a_.emplace(*lan_, "a", "192.168.0.1", "10.244.1.0/24", options);
    b_.emplace(*lan_, "b", "192.168.0.2", "10.244.2.0/24", options);
    for (int round = 0; round < 2; ++round) {
      a_->sync({a_->object(), b_->object()});
      b_->sync({a_->object(), b_->object()});
    }
    conntrack_ = must(kernel::open_conntrack(&a_->ns));
    proxy_.emplace(options_for("a"), *a_->nft, conntrack_.get());
    must(proxy_->sync_all({}));
    client_ = a_->add_pod("client");
    near_ = a_->add_pod("near");
    far_ = b_->add_pod("far");
    near_server_.emplace(near_->ns, "near", 8080);
    far_server_.emplace(far_->ns, "far", 8080);
  }
  static ProxyOptions options_for(const std::string& node) {
    return {.rules = {.node_name = node, .local_addresses = {*Ip::parse("10.96.0.10")}}, .table = {}};
  }
  TestEndpoint near() const { return {near_->ip, "a"}; }
  TestEndpoint far() const { return {far_->ip, "b"}; }
  void put(TestService& service) { must(proxy_->sync(service.key(), service.rules(proxy_->options().rules))); }
  void gone(TestService& service) { must(proxy_->sync(service.key(), {})); }
  std::map<std::string, int> spread(const kernel::NetNamespace& from, const std::string& ip, uint16_t port, int times) {
    std::map<std::string, int> out;
    for (int i = 0; i < times; ++i) ++out[ask(from, ip, port)];
    return out;
  }
  std::string ruleset() { return output_in(a_->ns, "nft list table ip dure"); }

  std::optional<Lan> lan_;
  std::optional<TestNode> a_, b_;
  std::unique_ptr<kernel::Conntrack> conntrack_;
  std::optional<Proxy> proxy_;
  std::unique_ptr<TestPod> client_, near_, far_;
  std::optional<ProbeServer> near_server_, far_server_;
};

TEST_F(ProxyTest, ClusterAddressFromPodsAndFromTheNode) {
  TestService web("web", "10.96.0.80");
  web.port(80, 8080).endpoints({near(), far()});
  put(web);
  auto from_pod = spread(client_->ns, "10.96.0.80", 80, 40);
  EXPECT_EQ(from_pod.size(), 2u) << ruleset();
  EXPECT_GT(from_pod["near " + client_->ip], 5) << "pods keep their address";
  EXPECT_GT(from_pod["far " + client_->ip], 5);
  auto from_node = spread(a_->ns, "10.96.0.80", 80, 40);
  EXPECT_GT(from_node["near 10.244.1.1"], 5);
  EXPECT_GT(from_node["far 10.244.1.0"], 5) << "the node is seen with an address the answer finds its way to";
}

TEST_F(ProxyTest, APodReachesItselfThroughItsService) {
  for (const char* bridge_rules : {"1", "0"}) {
    (void)a_->sysctl->set("net/bridge/bridge-nf-call-iptables", bridge_rules);
    TestService web(std::string("web") + bridge_rules, std::string("10.96.0.8") + bridge_rules);
    web.port(80, 8080).endpoints({near()});
    put(web);
    EXPECT_EQ(ask(near_->ns, std::string("10.96.0.8") + bridge_rules, 80), "near 10.244.1.1");
    EXPECT_EQ(ask(client_->ns, std::string("10.96.0.8") + bridge_rules, 80), "near " + client_->ip);
  }
}

TEST_F(ProxyTest, WithoutEndpointsAndWithoutServiceClientsAreRefusedAtOnce) {
  TestService web("web", "10.96.0.80");
  web.port(80, 8080, "TCP", "tcp", 30080).port(81, 8081, "UDP", "udp");
  put(web);
  EXPECT_EQ(ask(client_->ns, "10.96.0.80", 80), "refused");
  EXPECT_EQ(ask(a_->ns, "10.96.0.80", 80), "refused");
  EXPECT_EQ(ask_udp(client_->ns, "10.96.0.80", 81), "refused");
  EXPECT_EQ(ask(lan_->ns, "192.168.0.1", 30080), "refused");
  EXPECT_EQ(ask(client_->ns, "10.96.0.99", 80), "refused") << "an address of no Service";
  web.endpoints({near()});
  put(web);
  EXPECT_EQ(ask(client_->ns, "10.96.0.80", 80), "near " + client_->ip);
  gone(web);
  EXPECT_EQ(ask(client_->ns, "10.96.0.80", 80), "refused");
}

TEST_F(ProxyTest, NodePortFromOutsideFromPodsAndFromTheNode) {
  TestService web("web", "10.96.0.80");
  web.port(80, 8080, "TCP", "", 30080).endpoints({far()});
  put(web);
  EXPECT_EQ(ask(lan_->ns, "192.168.0.1", 30080), "far 10.244.1.0")
      << "masqueraded, so that the answer comes back through a";
  EXPECT_EQ(ask(client_->ns, "192.168.0.1", 30080).substr(0, 3), "far");
  EXPECT_EQ(ask(a_->ns, "192.168.0.1", 30080).substr(0, 3), "far");
}

TEST_F(ProxyTest, ExternalTrafficPolicyLocal) {
  TestService web("web", "10.96.0.80");
  web.service().mutable_spec().set_externalTrafficPolicy("Local");
  web.service().mutable_spec().add_externalIPs("192.168.0.50");
  web.port(80, 8080, "TCP", "", 30080).endpoints({near(), far()});
  put(web);
  run_in(lan_->ns, "ip route add 192.168.0.50/32 via 192.168.0.1");
  auto outside = spread(lan_->ns, "192.168.0.1", 30080, 10);
  EXPECT_EQ(outside["near 192.168.0.254"], 10) << "only pods of this node, and they see the client";
  EXPECT_EQ(ask(lan_->ns, "192.168.0.50", 80), "near 192.168.0.254");
  EXPECT_EQ(spread(client_->ns, "192.168.0.50", 80, 40).size(), 2u) << "clients inside get any endpoint";
  web.endpoints({far()});
  put(web);
  EXPECT_EQ(ask(lan_->ns, "192.168.0.1", 30080), "timeout") << "dropped: the load balancer shall try another node";
  EXPECT_EQ(ask(client_->ns, "192.168.0.50", 80), "far " + client_->ip);
  EXPECT_EQ(ask(a_->ns, "192.168.0.1", 30080).substr(0, 3), "far");
}

TEST_F(ProxyTest, AClientSticksToItsEndpointUntilItIsGone) {
  TestService web("web", "10.96.0.80");
  web.service().mutable_spec().set_sessionAffinity("ClientIP");
  web.port(80, 8080, "TCP", "", 30080).endpoints({near(), far()});
  put(web);
  auto many = spread(client_->ns, "10.96.0.80", 80, 30);
  ASSERT_EQ(many.size(), 1u) << ruleset();
  EXPECT_EQ(spread(lan_->ns, "192.168.0.1", 30080, 30).size(), 1u);
  EXPECT_EQ(spread(a_->ns, "10.96.0.80", 80, 30).size(), 1u);
  bool was_near = many.begin()->first.starts_with("near");
  web.endpoints({was_near ? far() : near()});
  put(web);
  EXPECT_THAT(ask(client_->ns, "10.96.0.80", 80), HasSubstr(was_near ? "far" : "near"));
  web.endpoints({near(), far()});
  put(web);
  auto later = spread(client_->ns, "10.96.0.80", 80, 20);
  EXPECT_EQ(later.size(), 1u);
  EXPECT_THAT(later.begin()->first, HasSubstr(was_near ? "far" : "near")) << "a new endpoint does not move a client";
}

TEST_F(ProxyTest, AffinityEndsWithItsTime) {
  TestService web("web", "10.96.0.80");
  web.service().mutable_spec().set_sessionAffinity("ClientIP");
  web.service().mutable_spec().mutable_sessionAffinityConfig().mutable_clientIP().set_timeoutSeconds(1);
  web.port(80, 8080).endpoints({near(), far()});
  put(web);
  ask(client_->ns, "10.96.0.80", 80);
  EXPECT_EQ(must(a_->nft->elements(affinity_map)).size(), 1u);
  for (int i = 0; i < 100 && !must(a_->nft->elements(affinity_map)).empty(); ++i) std::this_thread::sleep_for(50ms);
  EXPECT_TRUE(must(a_->nft->elements(affinity_map)).empty());
}

TEST_F(ProxyTest, UdpClientsThatKeepTheirPortMoveOn) {
  TestService dns("dns", "10.96.0.53");
  dns.port(53, 8080, "UDP").endpoints({near()});
  put(dns);
  int fd = -1;
  must(client_->ns.run([&] { fd = socket(AF_INET, SOCK_DGRAM, 0); }));
  EXPECT_EQ(ask_udp(client_->ns, "10.96.0.53", 53, fd), "near " + client_->ip);
  dns.endpoints({far()});
  put(dns);
  EXPECT_EQ(ask_udp(client_->ns, "10.96.0.53", 53, fd), "far " + client_->ip);
  close(fd);
}

TEST_F(ProxyTest, ARestartReadsBackAndRepairs) {
  TestService web("web", "10.96.0.80"), old("old", "10.96.0.81"), fresh("fresh", "10.96.0.82");
  web.port(80, 8080).endpoints({near(), far()});
  old.port(80, 8080).endpoints({near()});
  fresh.port(80, 8080).endpoints({far()});
  put(web), put(old);
  std::string before = ruleset();
  run_in(a_->ns, "nft flush chain ip dure svcproxy-in; nft flush map ip dure svcproxy-endpoints");
  Proxy again(options_for("a"), *a_->nft, conntrack_.get());
  auto rules = [&](TestService& s) { return std::pair{s.key(), s.rules(again.options().rules)}; };
  must(again.sync_all({rules(web), rules(fresh)}));
  EXPECT_EQ(spread(client_->ns, "10.96.0.80", 80, 30).size(), 2u);
  EXPECT_EQ(ask(client_->ns, "10.96.0.81", 80), "refused") << "a Service that went while we were away";
  EXPECT_EQ(ask(client_->ns, "10.96.0.82", 80), "far " + client_->ip);
  must(again.sync_all({rules(web), rules(old)}));
  EXPECT_EQ(ruleset(), before) << "the same table as before";
}

TEST_F(ProxyTest, AnAddressMayMoveBetweenServices) {
  TestService one("one", "10.96.0.80"), two("two", "10.96.0.80");
  one.port(80, 8080).endpoints({near()});
  two.port(80, 8080).endpoints({far()});
  put(one);
  // "two" got the address of "one", whose deletion was not looked at yet.
  must(proxy_->sync(two.key(), two.rules(proxy_->options().rules), [](const std::string&) { return ServiceRules{}; }));
  EXPECT_EQ(ask(client_->ns, "10.96.0.80", 80), "far " + client_->ip);
  gone(one);
  EXPECT_EQ(ask(client_->ns, "10.96.0.80", 80), "far " + client_->ip);
}

TEST_F(ProxyTest, WhatOneServiceGivesUpGoesToTheOneThatAskedForIt) {
  TestService one("one", "10.96.0.80"), two("two", "10.96.0.80");
  one.port(80, 8080).endpoints({near()});
  two.port(80, 8080).endpoints({far()});
  const auto rules_of = [&](const std::string& key) {
    return key == two.key() ? two.rules(proxy_->options().rules) : one.rules(proxy_->options().rules);
  };
  put(one);
  must(proxy_->sync(two.key(), rules_of(two.key()), rules_of));
  EXPECT_EQ(ask(client_->ns, "10.96.0.80", 80), "near " + client_->ip);
  must(proxy_->sync(one.key(), {}, rules_of));
  EXPECT_EQ(ask(client_->ns, "10.96.0.80", 80), "far " + client_->ip);
}

TEST_F(ProxyTest, ChangesReachTheDataPathAtOnceAndLeaveNoTrace) {
  std::string before = ruleset();
  TestService web("web", "10.96.0.80");
  web.port(80, 8080).port(90, 9090, "UDP", "x");
  for (int round = 0; round < 20; ++round) {
    web.endpoints(round % 3 == 0   ? std::vector{near(), far()}
                  : round % 3 == 1 ? std::vector{far()}
                                   : std::vector<TestEndpoint>{});
    put(web);
    EXPECT_EQ(ask(client_->ns, "10.96.0.80", 80) == "refused", round % 3 == 2);
  }
  gone(web);
  must(proxy_->sync_all({}));
  EXPECT_EQ(ruleset(), before);
  must(proxy_->remove_all());
  must(proxy_->remove_all());
  EXPECT_THAT(ruleset(), Not(HasSubstr("svcproxy"))) << "and the overlay's chains are still there:";
  EXPECT_THAT(ruleset(), HasSubstr("overlay-post"));
}

TEST_F(ProxyTest, TheClustersDnsAddressIsLeftToTheNode) {
  ProbeServer dns(a_->ns, "dns", 53, "10.96.0.10");
  TestService kube_dns("kube-dns", "10.96.0.10");
  kube_dns.port(53, 53, "UDP");
  put(kube_dns);
  EXPECT_EQ(ask_udp(client_->ns, "10.96.0.10", 53), "dns " + client_->ip);
}

}  // namespace
}  // namespace dure::svcproxy
