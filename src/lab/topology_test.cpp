#include "lab/topology.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dure::lab {
namespace {

using ::testing::HasSubstr;

std::string refusal(std::string_view text) {
  const auto topology = read_topology(text);
  return topology ? "accepted" : topology.error().message;
}

constexpr std::string_view kSmall =
    "sites:\n"
    "  home: {subnet: 192.168.0.0/24, nat: home, forward: tcp 443 to pi 6443}\n"
    "  office: {subnet: 192.168.0.0/24, nat: company, cable: {delay: 30ms, loss: 1%, rate: 20mbit, mtu: 1400}}\n"
    "nodes:\n"
    "  pi: {site: home, server: yes, class: always-on}\n"
    "  tv: {site: home, address: 192.168.0.10}\n"
    "  pc: {site: office, cpu: 4, memory: 8Gi}\n";

TEST(Topology, ReadsSitesAndNodes) {
  const auto t = read_topology(kSmall);
  ASSERT_TRUE(t) << t.error().message;
  ASSERT_EQ(t->sites.size(), 2u);
  EXPECT_EQ(t->site("office")->nat, Nat::company);
  EXPECT_EQ(t->site("office")->cable.text(), "delay=30ms loss=1% rate=20mbit mtu=1400");
  EXPECT_EQ(t->site("home")->forwards[0].node_port, 6443);
  EXPECT_EQ(t->server()->name, "pi");
  EXPECT_EQ(t->node("pi")->address, "192.168.0.11") << ".10 is taken by the node that asked for it";
  EXPECT_EQ(t->node("pc")->address, "192.168.0.10") << "two sites may have the same subnet and address";
}

TEST(Topology, EveryShippedOneIsGood) {
  const auto names = shipped_topologies();
  ASSERT_THAT(names, ::testing::IsSupersetOf({"one-lan", "scattered", "three-vms"}));
  for (const std::string& name : names) {
    const auto t = read_topology(shipped_topology(name));
    EXPECT_TRUE(t) << name << ": " << t.error().message;
  }
  EXPECT_EQ(shipped_topology("nothing"), "");
}

TEST(Topology, ScatteredIsWhatTheStoryTells) {
  const auto t = read_topology(shipped_topology("scattered"));
  ASSERT_TRUE(t);
  EXPECT_EQ(t->site("cottage")->subnet, t->site("countryside")->subnet);
  size_t forwards = 0;
  for (const SiteSpec& site : t->sites) forwards += site.forwards.size();
  EXPECT_EQ(forwards, 1u) << "one forwarded port in total";
}

TEST(Topology, FindingsNameLineAndField) {
  EXPECT_EQ(refusal("sites:\n  a: {subnet: 192.168.0.0/24, nat: homee}\nnodes:\n  n: {site: a, server: yes}\n"),
            "line 2: sites.a.nat: \"homee\" is not a kind of NAT; there are none, home, full-cone, symmetric, company, "
            "double, cgnat");
  EXPECT_THAT(refusal("sites:\n  a: {subnet: 192.168.0.0/33}\n"), HasSubstr("line 2: sites.a.subnet: "));
  EXPECT_THAT(refusal("sites:\n  a:\n    subnet: 10.0.0.0/24\n    color: red\n"),
              HasSubstr("line 4: sites.a.color: there is no such field; there are subnet, nat"));
  EXPECT_THAT(refusal("sites:\n  a: {subnet: 10.0.0.0/24, cable: {delay: fast}}\n"),
              HasSubstr("sites.a.cable.delay: \"fast\" is not a delay; write it like 30ms"));
  EXPECT_THAT(refusal("nodes: 3\n"), HasSubstr("line 1: nodes: must be a mapping"));
  EXPECT_THAT(refusal("sites: [\n"), HasSubstr("line 2: "));
  EXPECT_THAT(refusal("a: b: c\n"), HasSubstr("line 1: "));
  EXPECT_THAT(refusal(""), HasSubstr("empty"));
}

TEST(Topology, KindsOfNodes) {
  const std::string head = "sites:\n  a: {subnet: 10.0.0.0/24}\nnodes:\n  n: {site: a, server: yes, kind: ";
  EXPECT_EQ(read_topology(head + "systemd}\n")->nodes[0].kind, NodeKind::systemd);
  const auto vm = read_topology(head + "vm, disk: 20Gi}\n");
  ASSERT_TRUE(vm) << vm.error().message;
  EXPECT_EQ(vm->nodes[0].kind, NodeKind::vm);
  EXPECT_EQ(vm->nodes[0].disk, "20Gi");
  EXPECT_EQ(vm->nodes[0].memory, "1Gi") << "half of what the others say they have";
  EXPECT_THAT(refusal(head + "vm, cpu: 100m}\n"), HasSubstr("nodes.n.cpu: a vm has 1 to 8"));
  EXPECT_THAT(refusal(head + "vm, memory: 64Mi, disk: 1Mi}\n"),
              ::testing::AllOf(HasSubstr("nodes.n.memory: a vm has 512Mi"), HasSubstr("nodes.n.disk: a vm has 1Gi")));
  EXPECT_THAT(refusal(head + "ns, disk: 20Gi}\n"), HasSubstr("nodes.n.disk: only a node of kind vm"));
  EXPECT_THAT(refusal(head + "robot}\n"), HasSubstr("there are ns, systemd and vm"));
  std::string many = head + "vm}\n";
  for (const char* name : {"a1", "a2", "a3", "a4"}) many += std::string("  ") + name + ": {site: a, kind: vm}\n";
  EXPECT_THAT(refusal(many), HasSubstr("more than 4 of kind vm"));
}

TEST(Topology, AllFindingsComeAtOnce) {
  EXPECT_THAT(refusal("sites:\n  a: {subnet: x, nat: y}\nnodes:\n  n: {kind: robot, class: z}\n"),
              AllOf(HasSubstr("sites.a.subnet"), HasSubstr("sites.a.nat"), HasSubstr("nodes.n.kind"),
                    HasSubstr("nodes.n.class"), HasSubstr("nodes.n: needs a site")));
}

TEST(Topology, TheWholeIsLookedAt) {
  const std::string site = "sites:\n  a: {subnet: 192.168.0.0/24}\n";
  EXPECT_THAT(refusal(site + "nodes:\n  n: {site: b, server: yes}\n"),
              HasSubstr("nodes.n.site: there is no site \"b\""));
  EXPECT_THAT(refusal(site + "nodes:\n  n: {site: a}\n"), HasSubstr("one node must have server: yes"));
  EXPECT_THAT(refusal(site + "nodes:\n  n: {site: a, server: yes}\n  m: {site: a, server: yes}\n"),
              HasSubstr("more than one server"));
  EXPECT_THAT(refusal(site + "nodes:\n  n: {site: a, server: yes, address: 192.168.1.1}\n"),
              HasSubstr("is not an address of 192.168.0.0/24"));
  EXPECT_THAT(
      refusal(site +
              "nodes:\n  n: {site: a, server: yes, address: 192.168.0.9}\n  m: {site: a, address: 192.168.0.9}\n"),
      HasSubstr("belongs to another node"));
  EXPECT_THAT(refusal("sites:\n  a: {subnet: 10.244.0.0/24}\nnodes:\n  n: {site: a, server: yes}\n"),
              HasSubstr("overlaps the pod range"));
  EXPECT_THAT(refusal("sites:\n  a: {subnet: 10.0.0.0/24}\n  b: {subnet: 10.0.1.0/24}\nnodes:\n  n: {site: a, server: "
                      "yes}\n  m: {site: b}\n"),
              HasSubstr("nodes.m: has no way to the server: a needs forward: [tcp 443 to n 6443]"));
  EXPECT_THAT(refusal("sites:\n  a: {subnet: 10.0.0.0/24, nat: cgnat, forward: tcp 443 to n 6443}\nnodes:\n  n: {site: "
                      "a, server: yes}\n"),
              HasSubstr("a carrier's NAT forwards no ports"));
  EXPECT_THAT(refusal("sites:\n  a: {subnet: 10.0.0.0/24}\n  a: {subnet: 10.0.0.0/24}\n"), HasSubstr("is here twice"));
}

TEST(Topology, TheWayToTheServerDependsOnTheSite) {
  const auto t = read_topology(kSmall);
  ASSERT_TRUE(t);
  EXPECT_EQ(server_endpoint(*t, *t->server(), "home", "h"), "192.168.0.11:6443");
  EXPECT_EQ(server_endpoint(*t, *t->server(), "office", "h"), "h:443");
}

TEST(Topology, OneLanIsATopologyLikeOthers) {
  const Topology t = one_lan(3, 1);
  ASSERT_EQ(t.nodes.size(), 4u);
  EXPECT_TRUE(t.nodes[0].server);
  EXPECT_TRUE(t.nodes[3].bare);
  EXPECT_EQ(t.nodes[2].address, "192.168.35.13");
  EXPECT_EQ(t.sites.size(), 1u);
}

TEST(Cable, PartsAreBounded) {
  Cable cable;
  EXPECT_TRUE(set_cable_part(cable, "jitter", "5ms"));
  EXPECT_FALSE(cable.plain());
  EXPECT_FALSE(set_cable_part(cable, "delay", "11s"));
  EXPECT_FALSE(set_cable_part(cable, "loss", "0.01"));
  EXPECT_FALSE(set_cable_part(cable, "loss", "101%"));
  EXPECT_FALSE(set_cable_part(cable, "rate", "20"));
  EXPECT_FALSE(set_cable_part(cable, "rate", "1kbit"));
  EXPECT_FALSE(set_cable_part(cable, "mtu", "100"));
  EXPECT_FALSE(set_cable_part(cable, "colour", "red"));
}

TEST(Addresses, TheLowestFreeOne) {
  const IpPrefix subnet = *IpPrefix::parse("10.1.0.0/16");
  EXPECT_EQ(free_address(subnet, {})->text(), "10.1.0.10");
  EXPECT_EQ(free_address(subnet, {"10.1.0.10", "10.1.0.12"})->text(), "10.1.0.11");
}

}  // namespace
}  // namespace dure::lab
