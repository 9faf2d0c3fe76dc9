#include "lab/gateway_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dure::lab {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Topology world(const std::string& site) {
  auto t = read_topology("sites:\n  a: {subnet: 192.168.0.0/24, " + site + "}\nnodes:\n  n: {site: a, server: yes}\n");
  EXPECT_TRUE(t) << t.error().message;
  return *t;
}

std::vector<Gateway> gateways(const std::string& site) {
  const Topology t = world(site);
  return gateways_of(t, t.sites[0], 0, *Ip::parse("203.0.113.10"));
}

std::string rules(const std::string& site) { return gateway_rules(gateways(site)[0]); }

TEST(GatewayRules, HomeWithOneForwardIsThisText) {
  EXPECT_EQ(rules("nat: home, forward: tcp 443 to n 6443"),
            R"(table ip nat {}
delete table ip nat
table ip nat {
  chain pre {
    type nat hook prerouting priority dstnat;
    iifname "wan" tcp dport 443 dnat to 192.168.0.10:6443
  }
  chain post {
    type nat hook postrouting priority srcnat;
    oifname "wan" masquerade
  }
}
table ip filter {}
delete table ip filter
table ip filter {
  chain forward {
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    ct status dnat accept
    iifname "lan" accept
  }
  chain input {
    type filter hook input priority 0; policy accept;
    iifname "wan" ct state established,related accept
    iifname "wan" icmp type echo-request accept
    iifname "wan" drop
  }
}
)");
}

TEST(GatewayRules, KindsDiffer) {
  EXPECT_THAT(rules("nat: symmetric"), HasSubstr("masquerade fully-random"));
  EXPECT_THAT(rules("nat: company"),
              AllOf(HasSubstr("masquerade fully-random"), HasSubstr("iifname \"lan\" tcp dport 443 accept"),
                    Not(HasSubstr("iifname \"lan\" accept"))));
  EXPECT_THAT(rules("nat: full-cone"), AllOf(HasSubstr("dnat ip to udp dport map @cone"), HasSubstr("update @cone")));
  EXPECT_THAT(rules("nat: none"), Not(HasSubstr("masquerade")));
  EXPECT_THAT(rules("nat: home"), Not(HasSubstr("cone")));
}

TEST(GatewayRules, HairpinLeadsForwardsAndMappingsBackIn) {
  EXPECT_THAT(rules("nat: home, hairpin: yes, forward: tcp 443 to n 6443"),
              AllOf(HasSubstr("iifname \"lan\" ip daddr 203.0.113.10 tcp dport 443 dnat to 192.168.0.10:6443"),
                    HasSubstr("iifname \"lan\" ip daddr 203.0.113.10 dnat ip to udp dport map @cone"),
                    HasSubstr("oifname \"lan\" ct status dnat ip saddr 192.168.0.0/24 masquerade"),
                    Not(HasSubstr("iifname \"wan\" dnat ip to"))));
}

TEST(GatewayRules, TwoRoutersForDoubleAndCgnat) {
  const auto twice = gateways("nat: double, forward: tcp 443 to n 6443");
  ASSERT_EQ(twice.size(), 2u);
  EXPECT_EQ(twice[1].name, "modem-a");
  EXPECT_EQ(twice[1].outer.ip.text(), "203.0.113.10");
  EXPECT_EQ(twice[0].outer.text(), "192.168.1.2/24");
  EXPECT_EQ(twice[1].ports[0].to, "192.168.1.2:443") << "the outer one hands the port to the inner one";
  EXPECT_EQ(twice[0].ports[0].to, "192.168.0.10:6443");
  const auto carrier = gateways("nat: cgnat");
  ASSERT_EQ(carrier.size(), 2u);
  EXPECT_EQ(carrier[1].nat, Nat::symmetric);
  EXPECT_EQ(carrier[1].inner.text(), "100.64.0.1/24");
}

TEST(CutRules, PairsAreDroppedBothWays) {
  EXPECT_THAT(cut_rules({{"w1", "w2"}}),
              AllOf(HasSubstr("iifname \"w1\" oifname \"w2\" drop"), HasSubstr("iifname \"w2\" oifname \"w1\" drop")));
  EXPECT_THAT(cut_rules({{"w1", ""}}),
              AllOf(HasSubstr("    iifname \"w1\" drop"), HasSubstr("    oifname \"w1\" drop")));
  EXPECT_THAT(cut_rules({{"10.0.0.1", "203.0.113.1", true}}), HasSubstr("ip saddr 203.0.113.1 ip daddr 10.0.0.1 drop"));
  EXPECT_THAT(cut_rules({}), Not(HasSubstr(" drop\n")));
  EXPECT_THAT(bridge_cut_rules({{"p1", "p2"}}), HasSubstr("table bridge cut"));
}

}  // namespace
}  // namespace dure::lab
