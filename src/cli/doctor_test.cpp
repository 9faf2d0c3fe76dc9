#include "cli/doctor.h"

#include <gtest/gtest.h>

#include <functional>

#include "kinds/views/core_v1.h"
#include "schema/json.h"

namespace dure::cli {
namespace {

namespace core = kinds::core_v1;

schema::Object node(const std::string& name, const std::string& cidr, const std::string& machine,
                    const std::string& uuid) {
  auto decoded = schema::decode_json(
      SharedBytes(R"({"metadata":{"name":")" + name + R"("},"spec":{"podCIDR":")" + cidr +
                  R"("},"status":{"conditions":[{"type":"Ready","status":"True"}],"nodeInfo":{"machineID":")" +
                  machine + R"(","systemUUID":")" + uuid + R"("}}})"),
      core::Node::schema_type());
  EXPECT_TRUE(decoded);
  return schema::share(std::move(*decoded));
}

Examination healthy() {
  Examination out;
  out.view.now = *parse_time("2026-11-27T12:00:00Z");
  out.view.nodes = {node("pi", "10.244.0.0/24", "m1", "u1"), node("attic", "10.244.1.0/24", "m2", "u2")};
  for (const char* name : {"pi", "attic"})
    out.answers.push_back({.node = name,
                           .version = "v1",
                           .ahead = 3ms,
                           .uncertainty = 10ms,
                           .certificates = {{"kubelet.conf", *parse_time("2027-06-01T00:00:00Z")}}});
  return out;
}

std::vector<std::string> codes(const Examination& seen) {
  std::vector<std::string> out;
  for (const auto& one : diagnose(seen)) out.push_back(one.code);
  return out;
}

TEST(Doctor, AHealthyClusterHasNoFindings) { EXPECT_EQ(codes(healthy()), std::vector<std::string>{}); }

TEST(Doctor, EachBreakGivesExactlyItsCode) {
  using Severity = bootstrap::Finding::Severity;
  const std::vector<std::pair<const char*, std::function<void(Examination&)>>> breaks = {
      {"NodeUnanswered", [](Examination& e) { e.answers[1] = {.node = "attic", .silence = "no tunnel"}; }},
      {"ClockSkew", [](Examination& e) { e.answers[0].ahead = 3s; }},
      {"ClockSkew", [](Examination& e) { e.answers[0].ahead = -90s; }},
      {"VersionSkew", [](Examination& e) { e.answers[0].version = "v2"; }},
      {"CertificateEnds", [](Examination& e) { e.answers[0].certificates[0].ends = e.view.now + 24h; }},
      {"CertificateEnded", [](Examination& e) { e.answers[0].certificates[0].ends = e.view.now - 24h; }},
      {"DuplicateMachineId", [](Examination& e) { e.view.nodes[1] = node("attic", "10.244.1.0/24", "m1", "u2"); }},
      {"DuplicateSystemUuid", [](Examination& e) { e.view.nodes[1] = node("attic", "10.244.1.0/24", "m2", "u1"); }},
      {"PodRangeOverlap", [](Examination& e) { e.view.nodes[1] = node("attic", "10.244.0.0/24", "m2", "u2"); }},
      {"RuncMissing",
       [](Examination& e) { e.answers[0].findings = {{"RuncMissing", Severity::refuse, "no runc", "install it"}}; }},
  };
  for (const auto& [code, mutate] : breaks) {
    Examination seen = healthy();
    mutate(seen);
    EXPECT_EQ(codes(seen), std::vector<std::string>{code});
  }
}

TEST(Doctor, WhatSeveralNodesSayIsSaidOnce) {
  using Severity = bootstrap::Finding::Severity;
  Examination seen = healthy();
  for (NodeAnswer& answer : seen.answers) answer.findings = {{"SwapOn", Severity::note, "swap is on", ""}};
  seen.answers[1].findings.push_back({"RuncMissing", Severity::refuse, "no runc", "install it"});
  const auto findings = diagnose(seen);
  ASSERT_EQ(findings.size(), 2u);
  EXPECT_EQ(findings[0].sentence, "pi, attic: swap is on");
  EXPECT_EQ(findings[1].sentence, "attic: no runc");
}

TEST(Doctor, SlowAnswersAreNoSkew) {
  Examination seen = healthy();
  seen.answers[0].ahead = 3s;
  seen.answers[0].uncertainty = 1500ms;  // a three-second round trip says no more than that
  EXPECT_EQ(codes(seen), std::vector<std::string>{});
}

TEST(Doctor, WhatANodeSays) {
  const WallTime asked = *parse_time("2026-11-27T12:00:00Z");
  const auto answer = read_node_answer(
      "pi",
      R"({"version":"v1","now":"2026-11-27T12:00:05.000000Z","findings":[{"code":"SwapOn","severity":"note","sentence":"s","fix":""}],"certificates":[{"name":"apiserver","ends":"2027-01-01T00:00:00Z"},{"name":"x","ends":"never"}]})",
      asked, asked + 2s);
  ASSERT_TRUE(answer);
  EXPECT_EQ(*answer->ahead, 4s);
  EXPECT_EQ(answer->uncertainty, 1s);
  EXPECT_EQ(answer->findings[0].severity, bootstrap::Finding::Severity::note);
  EXPECT_EQ(answer->certificates.size(), 1u);
  for (const char* text : {"", "[]", "{}", R"({"findings":7})", R"({"findings":[3],"certificates":[[]]})"})
    read_node_answer("pi", text, asked, asked).has_value();  // whatever comes, nothing breaks
}

}  // namespace
}  // namespace dure::cli
