#include "bootstrap/join_verdicts.h"

#include "bootstrap/checks/checks.h"

#include <gtest/gtest.h>

#include <functional>

namespace dure::bootstrap {
namespace {

using Severity = Finding::Severity;

constexpr std::string_view ca_pin = "sha256:aa";

MachineIdentity machine(char which) {
  return {std::string(32, which),
          std::string("4c4c4544-0000-1000-8000-00000000000") + which,
          std::string("pc-") + which,
          {Mac::parse(std::string("02:00:00:00:00:0") + which).value()},
          false};
}

MachineNetwork network(std::string_view range, std::string what, bool is_host = false) {
  return {IpPrefix::parse(range).value(), std::move(what), is_host};
}

struct Scene {
  MachineIdentity identity = machine('a');
  Newcomer newcomer;
  ClusterView cluster;
  Scene() {
    newcomer.node_name = "pc-a";
    newcomer.version = "v1.34.0+dure0.1.0";
    newcomer.wireguard_key = "b3duIGtleSBvZiBwYy1h";
    newcomer.now = WallTime{1'700'000'000'000'000'000};
    newcomer.networks = {network("192.168.0.0/24", "eth0"), network("192.168.0.10/32", "address of eth0", true)};
    cluster = {"v1.34.0+dure0.1.0", newcomer.now + 2s,
               "10.244.0.0/16",     "10.96.0.0/12",
               "10.245.0.0/16",     {{"pi", fingerprint_of(machine('b'), ca_pin), 3s}, {"laptop", {}, 2h}}};
    cluster.members[0].wireguard_key = "a2V5IG9mIHBpIGl0c2VsZg==";
  }
  std::vector<Finding> verdicts() {
    newcomer.machine = fingerprint_of(identity, ca_pin);
    return join_verdicts(newcomer, cluster);
  }
};

TEST(JoinVerdicts, NoneOnACleanMachine) { EXPECT_TRUE(Scene().verdicts().empty()); }

TEST(JoinVerdicts, EachBreakageHasItsCodeAndNothingElse) {
  const struct {
    const char* code;
    Severity severity;
    std::function<void(Scene&)> break_it;
    const char *says, *fix;
  } rows[] = {
      {"SameMachineId", Severity::refuse, [](Scene& s) { s.identity.machine_id = machine('b').machine_id; }, "\"pi\"",
       "systemd-machine-id-setup"},
      {"SameProductUuid", Severity::refuse, [](Scene& s) { s.identity.product_uuid = machine('b').product_uuid; },
       "\"pi\"", "UUID"},
      {"SameMac", Severity::refuse, [](Scene& s) { s.identity.macs.push_back(machine('b').macs[0]); }, "\"pi\"", "MAC"},
      {"SameWireguardKey", Severity::refuse,
       [](Scene& s) { s.newcomer.wireguard_key = s.cluster.members[0].wireguard_key; }, "\"pi\"", "dure reset"},
      {"SameHostName", Severity::warn, [](Scene& s) { s.identity.host_name = "pc-b"; }, "\"pi\"", "set-hostname"},
      {"NodeNameTaken", Severity::refuse, [](Scene& s) { s.newcomer.node_name = "pi"; }, "is a member now",
       "--node-name"},
      {"NodeNameTaken", Severity::refuse,  // also when the other machine is only asleep
       [](Scene& s) {
         s.newcomer.node_name = "pi";
         s.cluster.members[0].silent_for = 48h;
       },
       "2d ago", "kubectl delete node pi"},
      {"NodeNameTaken", Severity::refuse,
       [](Scene& s) {
         s.newcomer.node_name = "pi";
         s.identity = machine('b');
       },
       "a clone of it, or was reset", "kubectl delete node pi"},
      {"NodeNameTaken", Severity::refuse,
       [](Scene& s) {
         s.newcomer.node_name = "laptop";
         s.cluster.members[1].silent_for = 5s;
       },
       "\"laptop\"", "--node-name"},
      {"NoMachineId", Severity::warn, [](Scene& s) { s.identity.machine_id.clear(); }, "machine-id",
       "systemd-machine-id-setup"},
      {"RangeCollides", Severity::refuse,
       [](Scene& s) { s.newcomer.networks.push_back(network("10.244.0.0/16", "cni-podman0")); },
       "10.244.0.0/16 of this machine (cni-podman0)", "--pod-network-cidr"},
      {"RangeCollides", Severity::refuse,
       [](Scene& s) { s.newcomer.networks.push_back(network("10.100.7.0/24", "route by tun0")); }, "for services",
       "--service-cidr"},
      {"RangeCollides", Severity::refuse,
       [](Scene& s) {
         s.newcomer.networks.push_back(network("10.245.0.53/32", "name server in /etc/resolv.conf", true));
       },
       "for nodes", "--node-network-cidr"},
      {"RangeShadows", Severity::warn,
       [](Scene& s) {
         s.newcomer.networks.push_back(network("10.244.0.0/14", "route by tun0")), s.cluster.node_cidr = "";
       },
       "lies inside 10.244.0.0/14", "nothing"},
      {"ClockOff", Severity::refuse, [](Scene& s) { s.newcomer.now = s.newcomer.now + 3h; }, "ahead", "timedatectl"},
      {"ClockOff", Severity::refuse, [](Scene& s) { s.newcomer.now = WallTime{0}; }, "behind", "timedatectl"},
      {"KernelLacks", Severity::refuse, [](Scene& s) { s.newcomer.kernel_missing = {"overlay", "nf_tables"}; },
       "overlay, nf_tables", "linux-image"},
      {"VersionSkew", Severity::refuse, [](Scene& s) { s.newcomer.version = "v1.35.0+dure0.2.0"; }, "not newer",
       "upgrade the server"},
      {"VersionSkew", Severity::refuse, [](Scene& s) { s.newcomer.version = "v1.30.4+dure0.0.1"; }, "three versions",
       "install the server's version"},
  };
  for (const auto& row : rows) {
    Scene scene;
    row.break_it(scene);
    const auto findings = scene.verdicts();
    ASSERT_EQ(findings.size(), 1u) << row.code << "\n" << findings_text(findings);
    EXPECT_EQ(findings[0].code, row.code);
    EXPECT_EQ(findings[0].severity, row.severity) << row.code;
    EXPECT_NE(findings[0].sentence.find(row.says), std::string::npos) << findings[0].sentence;
    EXPECT_NE(findings[0].fix.find(row.fix), std::string::npos) << findings[0].fix;
  }
}

TEST(JoinVerdicts, TheSameMachineComesBackOnceItsFormerSelfIsSilent) {
  Scene scene;
  scene.newcomer.node_name = "pi";
  scene.identity = machine('b');
  scene.cluster.members[0].silent_for = 2min;
  EXPECT_TRUE(scene.verdicts().empty());
  // A node of before fingerprints, asleep: nothing tells it from the newcomer, the name decides.
  scene.newcomer.node_name = "laptop";
  scene.identity = machine('a');
  EXPECT_TRUE(scene.verdicts().empty());
}

TEST(JoinVerdicts, AWideCompanyRouteWarnsForEachRange) {
  Scene scene;
  scene.newcomer.networks.push_back(network("10.0.0.0/8", "route by tun0"));
  const auto findings = scene.verdicts();
  ASSERT_EQ(findings.size(), 3u);
  for (const Finding& finding : findings) EXPECT_EQ(finding.code, "RangeShadows");
}

TEST(Fingerprint, SurvivesItsTextAndTellsNothing) {
  const Fingerprint one = fingerprint_of(machine('a'), ca_pin);
  const std::string text = fingerprint_text(one);
  EXPECT_EQ(*parse_fingerprint(text), one);
  EXPECT_EQ(text.find(machine('a').machine_id), std::string::npos);
  EXPECT_EQ(text.find("02:00"), std::string::npos);
  EXPECT_NE(fingerprint_of(machine('a'), "sha256:bb"), one);  // another cluster
  EXPECT_EQ(id_of_proof(machine_proof(machine('a'), ca_pin)), one.id);
  EXPECT_FALSE(parse_fingerprint("id=xyz"));
  EXPECT_TRUE(parse_fingerprint("later=1 " + text));
}

TEST(Fingerprint, SharedAndBorrowedUuidsDoNotCount) {
  MachineIdentity board = machine('a');
  board.product_uuid = "03000200-0400-0500-0006-000700080009";
  EXPECT_EQ(fingerprint_of(board, ca_pin).uuid, "");
  MachineIdentity container = machine('a');
  container.is_container = true;
  EXPECT_EQ(fingerprint_of(container, ca_pin).uuid, "");
}

TEST(JoinWire, WhatIsSentIsWhatIsRead) {
  Scene scene;
  scene.newcomer.machine = fingerprint_of(scene.identity, ca_pin);
  scene.newcomer.kernel_missing = {"overlay"};
  const auto again = parse_newcomer(newcomer_json(scene.newcomer));
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(*again, scene.newcomer);
  const std::vector<Finding> findings = {{"ClockOff", Severity::refuse, "it is \"off\"", "set it"},
                                         {"SameHostName", Severity::warn, "x", ""}};
  EXPECT_EQ(*parse_findings(findings_json(findings)), findings);
}

TEST(JoinWire, StrangersMaySendAnything) {
  for (const char* text : {"", "[]", "null", "{}", "{\"nodeName\":1}", R"({"nodeName":"x","machine":"id=1"})"})
    EXPECT_FALSE(parse_newcomer(text)) << text;
  EXPECT_TRUE(parse_newcomer(R"({"nodeName":"x","networks":{"a":1},"kernelMissing":[{}],"more":[[]]})"));
  EXPECT_TRUE(parse_findings(R"({"findings":[1,{"severity":"later"}]})"));
}

}  // namespace
}  // namespace dure::bootstrap
