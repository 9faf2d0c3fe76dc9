#include "cli/path.h"

#include <gtest/gtest.h>

namespace dure::cli {
namespace {

constexpr std::string_view of_a =
    R"({"node":"a","paths":[{"node":"b","connected":true,"rung":"relay-udp","via":"pi","latencyMs":32.4,"loss":0.125,"mtu":1452,"seconds":310,
"rungs":[{"rung":"lan","why":"OtherNetwork","message":"not in a network of this node","via":"192.168.0.10:51820","triedSecondsAgo":4.2},
{"rung":"public","why":"NoCandidate","message":"there is no such address to try"},
{"rung":"punched","why":"SymmetricNat","message":"another port for every destination","via":"198.51.100.7:40001","triedSecondsAgo":12},
{"rung":"relay-udp","why":"Chosen","message":"this is the path in use","via":"pi"}]},
{"node":"pi","connected":true,"rung":"punched","via":"203.0.113.9:51820","latencyMs":8.25,"loss":0,"mtu":1500,"seconds":3,"rungs":[]}]})";
constexpr std::string_view of_b =
    R"({"node":"b","paths":[{"node":"a","connected":true,"rung":"relay-tls","via":"server","latencyMs":0,"loss":0,"mtu":0,"seconds":1,"rungs":[]}]})";

std::vector<NodePathsAnswer> answers() {
  return {{"a", "", *read_paths(of_a)}, {"b", "", *read_paths(of_b)}, {"pi", "the node has no tunnel", {}}};
}

TEST(Path, OfAPairWithTheReasons) {
  EXPECT_EQ(*pair_text(answers(), "a", "b"),
            "FROM   TO   RUNG        VIA      LATENCY   LOSS   MTU    AGE\n"
            "a      b    relay-udp   pi       32ms      12%    1452   5m10s\n"
            "b      a    relay-tls   server   -         0%     -      1s\n"
            "\n"
            "FROM   TO   RUNG      WHY NOT        TRIED     LAST                 EXPLANATION\n"
            "a      b    lan       OtherNetwork   4s ago    192.168.0.10:51820   not in a network of this node\n"
            "a      b    public    NoCandidate    never     -                    there is no such address to try\n"
            "a      b    punched   SymmetricNat   12s ago   198.51.100.7:40001   another port for every destination\n");
}

TEST(Path, OneSideThatIsSilentIsSaidAndTwoAreAnError) {
  const std::string text = *pair_text(answers(), "a", "pi");
  EXPECT_NE(text.find("a      pi   punched"), std::string::npos) << text;
  EXPECT_NE(text.find("pi does not say how it reaches a: the node has no tunnel\n"), std::string::npos) << text;
  const auto none = pair_text(answers(), "b", "nobody");
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().reason, "NoSuchPath");
}

TEST(Path, TheMatrix) {
  EXPECT_EQ(path_matrix_text(answers()),
            "FROM   a           b                pi\n"
            "a      -           relay-udp 32ms   punched 8.2ms\n"
            "b      relay-tls   -                ?\n"
            "pi     ?           ?                -\n"
            "pi did not answer: the node has no tunnel\n");
}

TEST(Path, WhatIsNotAnAnswerIsAnError) {
  for (const std::string_view text : {"", "nonsense", "[]", "{}", R"({"paths":{}})"}) {
    const auto read = read_paths(text);
    ASSERT_FALSE(read) << text;
    EXPECT_EQ(read.error().reason, "BadAnswer");
  }
}

}  // namespace
}  // namespace dure::cli
