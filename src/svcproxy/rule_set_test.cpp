#include "svcproxy/rule_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "svcproxy/service_fixture.h"

namespace dure::svcproxy {
namespace {

const RuleOptions on_a{.node_name = "a", .local_addresses = {*Ip::parse("10.96.0.10")}};

// One line per rule: "10.96.0.1:443/6 -> 10.244.1.2:6443 10.244.2.2:6443".
std::string text(const ServiceRules& rules) {
  std::string out;
  auto list = [](const std::vector<Endpoint>& endpoints) {
    std::string text;
    for (const Endpoint& e : endpoints)
      text += " " + Ip::v4(e.ip).text() + ":" + std::to_string(e.port) + (e.local ? "*" : "");
    return text;
  };
  for (const auto& [f, t] : rules) {
    out += Ip::v4(f.ip).text() + ":" + std::to_string(f.port) + "/" + std::to_string(f.protocol) + " ->" +
           list(t.endpoints);
    if (t.has_inside) out += " | inside" + list(t.inside);
    if (t.endpoints.empty()) out += t.when_empty == WhenEmpty::reject ? " reject" : " drop";
    if (t.masquerade == Masquerade::always) out += " masquerade";
    if (t.affinity_seconds) out += " sticky " + std::to_string(t.affinity_seconds);
    out += "\n";
  }
  return out;
}

TEST(Rules, ClusterAddressLeadsToReadyEndpoints) {
  TestService web("web", "10.96.0.80");
  web.port(80, 8080, "TCP", "http").port(53, 53, "UDP", "dns");
  web.endpoints({{"10.244.2.2", "b"}, {"10.244.1.2", "a"}, {"10.244.2.3", "b", false, false}});
  EXPECT_EQ(text(web.rules(on_a)),
            "10.96.0.80:53/17 -> 10.244.1.2:53* 10.244.2.2:53\n"
            "10.96.0.80:80/6 -> 10.244.1.2:8080* 10.244.2.2:8080\n");
}

TEST(Rules, TerminatingEndpointsServeOnlyWhenThereAreNoOthers) {
  TestService web("web", "10.96.0.80");
  web.port(80, 8080).endpoints({{"10.244.1.2", "a", false, true, true}});
  EXPECT_EQ(text(web.rules(on_a)), "10.96.0.80:80/6 -> 10.244.1.2:8080*\n");
  web.endpoints({{"10.244.1.2", "a", false, true, true}, {"10.244.2.2", "b"}});
  EXPECT_EQ(text(web.rules(on_a)), "10.96.0.80:80/6 -> 10.244.2.2:8080\n");
}

TEST(Rules, HintsOfTheOwnZoneAreFollowedWhenAllEndpointsHaveThem) {
  TestService web("web", "10.96.0.80");
  const TestEndpoint home{"10.244.1.2", "b", true, true, false, "home"},
      farm{"10.244.2.2", "c", true, true, false, "farm"};
  const TestEndpoint unknown{"10.244.3.2", "d"};
  web.port(80, 8080).endpoints({home, farm});
  const std::string both = "10.96.0.80:80/6 -> 10.244.1.2:8080 10.244.2.2:8080\n";
  EXPECT_EQ(text(web.rules(on_a, {.zone = "home"})), "10.96.0.80:80/6 -> 10.244.1.2:8080\n");
  EXPECT_EQ(text(web.rules(on_a, {.zone = "office"})), both) << "nobody serves this zone";
  EXPECT_EQ(text(web.rules(on_a, {})), both) << "this node's zone is not known";
  web.endpoints({home, unknown});
  EXPECT_EQ(text(web.rules(on_a, {.zone = "home"})), "10.96.0.80:80/6 -> 10.244.1.2:8080 10.244.3.2:8080\n");
}

TEST(Rules, TheOwnNodeComesBeforeTheOwnZone) {
  TestService web("web", "10.96.0.80");
  const TestEndpoint here{"10.244.1.2", "a", true, true, false, "home", "a"},
      beside{"10.244.2.2", "b", true, true, false, "home", "b"}, far{"10.244.3.2", "c", true, true, false, "farm", "c"};
  web.port(80, 8080).endpoints({here, beside, far});
  EXPECT_EQ(text(web.rules(on_a, {.zone = "home"})), "10.96.0.80:80/6 -> 10.244.1.2:8080*\n");
  web.endpoints({beside, far});
  EXPECT_EQ(text(web.rules(on_a, {.zone = "home"})), "10.96.0.80:80/6 -> 10.244.2.2:8080\n");
}

TEST(Rules, NodesThatNoPathLeadsToAreUsedOnlyWhenThereIsNobodyElse) {
  TestService web("web", "10.96.0.80");
  web.port(80, 8080, "TCP", "", 30080).endpoints({{"10.244.1.2", "b"}, {"10.244.2.2", "c"}});
  EXPECT_EQ(text(web.rules(on_a, {.unreachable = {"c"}})),
            "0.0.0.0:30080/6 -> 10.244.1.2:8080 masquerade\n10.96.0.80:80/6 -> 10.244.1.2:8080\n");
  EXPECT_EQ(text(web.rules(on_a, {.unreachable = {"b", "c"}})),
            "0.0.0.0:30080/6 -> 10.244.1.2:8080 10.244.2.2:8080 masquerade\n"
            "10.96.0.80:80/6 -> 10.244.1.2:8080 10.244.2.2:8080\n");
}

TEST(Rules, NoEndpointsIsARefusal) {
  TestService web("web", "10.96.0.80");
  web.port(80, 8080);
  EXPECT_EQ(text(web.rules(on_a)), "10.96.0.80:80/6 -> reject\n");
}

TEST(Rules, HeadlessExternalNameAndOurOwnAddressesHaveNone) {
  EXPECT_TRUE(TestService("headless", "None").port(80, 80).rules(on_a).empty());
  EXPECT_TRUE(TestService("dns", "10.96.0.10").port(53, 53, "UDP").rules(on_a).empty());
  TestService alias("alias", "");
  alias.service().mutable_spec().set_type("ExternalName");
  EXPECT_TRUE(alias.port(80, 80).rules(on_a).empty());
}

TEST(Rules, NodePortAndExternalAddresses) {
  TestService web("web", "10.96.0.80");
  web.service().mutable_spec().set_type("LoadBalancer");
  web.service().mutable_spec().add_externalIPs("192.168.0.50");
  web.service().mutable_status().mutable_loadBalancer().add_ingress().set_ip("192.168.0.51");
  web.port(80, 8080, "TCP", "", 30080).endpoints({{"10.244.1.2", "a"}, {"10.244.2.2", "b"}});
  EXPECT_EQ(text(web.rules(on_a)),
            "0.0.0.0:30080/6 -> 10.244.1.2:8080* 10.244.2.2:8080 masquerade\n"
            "10.96.0.80:80/6 -> 10.244.1.2:8080* 10.244.2.2:8080\n"
            "192.168.0.50:80/6 -> 10.244.1.2:8080* 10.244.2.2:8080 masquerade\n"
            "192.168.0.51:80/6 -> 10.244.1.2:8080* 10.244.2.2:8080 masquerade\n");
}

TEST(Rules, ExternalTrafficPolicyLocalKeepsTheClientsAddress) {
  TestService web("web", "10.96.0.80");
  web.service().mutable_spec().set_externalTrafficPolicy("Local");
  web.port(80, 8080, "TCP", "", 30080).endpoints({{"10.244.1.2", "a"}, {"10.244.2.2", "b"}});
  EXPECT_EQ(text(web.rules(on_a)),
            "0.0.0.0:30080/6 -> 10.244.1.2:8080* | inside 10.244.1.2:8080* 10.244.2.2:8080\n"
            "10.96.0.80:80/6 -> 10.244.1.2:8080* 10.244.2.2:8080\n");
  RuleOptions on_c{.node_name = "c"};
  EXPECT_EQ(text(web.rules(on_c)),
            "0.0.0.0:30080/6 -> | inside 10.244.1.2:8080 10.244.2.2:8080 drop\n"
            "10.96.0.80:80/6 -> 10.244.1.2:8080 10.244.2.2:8080\n");
}

TEST(Rules, InternalTrafficPolicyLocal) {
  TestService web("web", "10.96.0.80");
  web.service().mutable_spec().set_internalTrafficPolicy("Local");
  web.port(80, 8080).endpoints({{"10.244.1.2", "a"}, {"10.244.2.2", "b"}});
  EXPECT_EQ(text(web.rules(on_a)), "10.96.0.80:80/6 -> 10.244.1.2:8080*\n");
  EXPECT_EQ(text(web.rules({.node_name = "c"})), "10.96.0.80:80/6 -> drop\n");
}

TEST(Rules, SessionAffinityHasItsTime) {
  TestService web("web", "10.96.0.80");
  web.service().mutable_spec().set_sessionAffinity("ClientIP");
  web.port(80, 8080).endpoints({{"10.244.1.2", "a"}});
  EXPECT_EQ(text(web.rules(on_a)), "10.96.0.80:80/6 -> 10.244.1.2:8080* sticky 10800\n");
  web.service().mutable_spec().mutable_sessionAffinityConfig().mutable_clientIP().set_timeoutSeconds(5);
  EXPECT_EQ(text(web.rules(on_a)), "10.96.0.80:80/6 -> 10.244.1.2:8080* sticky 5\n");
}

}  // namespace
}  // namespace dure::svcproxy
