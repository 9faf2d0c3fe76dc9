#include "cli/matrix.h"

#include <gtest/gtest.h>

namespace dure::cli {
namespace {

std::vector<Target> two_targets() {
  return {{"witness-0", "10.244.0.5", "10.96.3.4", "witness-0.dure-verify.svc.cluster.local"},
          {"witness-1", "10.244.1.7", "10.96.3.5", "witness-1.dure-verify.svc.cluster.local"}};
}

std::string answers(const std::vector<Target>& targets) {
  std::string out;
  for (const Target& target : targets) {
    out += "ping:" + target.pod_ip + " ok 420\n";
    out += "name:" + target.service_name + ":80 ok 900 " + target.pod + "\n";
    out += "tcp:" + target.service_ip + ":80 ok 800 " + target.pod + "\n";
  }
  return out;
}

Matrix green() {
  Matrix matrix({"pi", "attic"});
  for (size_t from = 0; from < 2; ++from) take_answers(matrix, from, two_targets(), answers(two_targets()));
  for (Seen& one : matrix.streams) one = {true, {}};
  return matrix;
}

TEST(Matrix, Green) {
  const Matrix matrix = green();
  EXPECT_TRUE(matrix.is_green());
  EXPECT_EQ(matrix_text(matrix),
            "FROM \\ TO  pi        attic     logs  exec  port-forward\n"
            "pi         ok 0.4ms  ok 0.4ms  ok    ok    ok\n"
            "attic      ok 0.4ms  ok 0.4ms  ok    ok    ok\n"
            "12 of 12 paths between nodes, 6 of 6 streams\n");
}

TEST(Matrix, NobodyAskedIsNotGreen) {
  EXPECT_FALSE(Matrix({"pi"}).is_green());
  EXPECT_FALSE(Matrix(std::vector<std::string>{}).is_green());
}

TEST(Matrix, EachRedCellSaysWhy) {
  Matrix matrix = green();
  take_answers(matrix, 0, two_targets(),
               "ping:10.244.0.5 ok 80\ntcp:10.96.3.4:80 ok 90 "
               "witness-0\nname:witness-0.dure-verify.svc.cluster.local:80 fail dns-timeout\n"
               "ping:10.244.1.7 fail timeout\ntcp:10.96.3.5:80 ok 90 witness-0\n");
  matrix.at(1, Stream::logs) = {false, "error dialing backend"};
  EXPECT_FALSE(matrix.is_green());
  EXPECT_EQ(matrix_text(matrix),
            "FROM \\ TO  pi        attic                logs  exec  port-forward\n"
            "pi         no dns    no ping,service,dns  ok    ok    ok\n"
            "attic      ok 0.4ms  ok 0.4ms             no    ok    ok\n"
            "pi -> pi: dns: dns-timeout\n"
            "pi -> attic: ping: timeout\n"
            "pi -> attic: service: answered by witness-0\n"
            "pi -> attic: dns: no answer from the probe\n"
            "attic: logs: error dialing backend\n"
            "8 of 12 paths between nodes, 5 of 6 streams\n");
}

TEST(Matrix, ANodeWithoutAPodIsRedForEverybody) {
  std::vector<Target> targets = two_targets();
  targets[1].pod_ip.clear();
  EXPECT_EQ(questions(targets).size(), 3u);
  Matrix matrix = green();
  take_answers(matrix, 0, targets, answers(two_targets()));
  take_silence(matrix, 1, "its pod does not run");
  EXPECT_EQ(matrix.at(0, 1, Probe::ping).why, "no pod there");
  EXPECT_EQ(matrix.at(1, 0, Probe::dns).why, "its pod does not run");
}

TEST(Matrix, StrangeAnswersAreRed) {
  for (const char* text :
       {"", "ping:10.244.0.5", "ping:10.244.0.5 ok", "ping:10.244.0.5 ok x", "\n\n \n", "ping:10.244.0.5 maybe 3"}) {
    Matrix matrix = green();
    take_answers(matrix, 0, two_targets(), text);
    EXPECT_FALSE(matrix.at(0, 0, Probe::ping).ok) << text;
  }
}

TEST(Matrix, Json) {
  Matrix matrix = green();
  EXPECT_TRUE(matrix_json(matrix).starts_with(R"({"green":true,"pairs":[{)")) << matrix_json(matrix);
  matrix.at(0, 1, Probe::ping) = {false, "timeout"};
  EXPECT_NE(matrix_json(matrix).find(R"("why":"timeout")"), std::string::npos);
}

}  // namespace
}  // namespace dure::cli
