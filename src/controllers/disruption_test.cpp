// PodDisruptionBudgets: the arithmetic alone, and evictions against the real resource path.
#include "controllers/disruption_plan.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "controllers/conditions.h"
#include "controllers/test_world.h"

namespace dure::controllers {
namespace {

Object read(const schema::Type& type, const std::string& json) {
  auto decoded = schema::decode_json(SharedBytes(json), type);
  EXPECT_TRUE(decoded) << (decoded ? "" : decoded.error().message);
  return schema::share(std::move(*decoded));
}

Object pod(std::string_view name, bool ready, std::string_view more = "") {
  return read(core::Pod::schema_type(),
              fmt::format(R"({{"metadata":{{"name":"{}","ownerReferences":[{{"uid":"rs","kind":"ReplicaSet","name":"rs","controller":true}}]{}}},
                              "status":{{"conditions":[{{"type":"Ready","status":"{}"}}]}}}})",
                          name, more, ready ? "True" : "False"));
}

std::vector<Object> ready_pods(int count) {
  std::vector<Object> pods;
  for (int i = 0; i < count; ++i) pods.push_back(pod(fmt::format("p{}", i), true));
  return pods;
}

Expectation expect(const std::string& spec, int pods, int64_t replicas) {
  const Object budget = read(policy::PodDisruptionBudget::schema_type(), fmt::format(R"({{"spec":{}}})", spec));
  auto out = expectation_of(policy::PodDisruptionBudget(budget), ready_pods(pods),
                            [&](const Object&) -> Result<std::optional<Scale>> { return Scale{"rs", replicas}; });
  EXPECT_TRUE(out) << (out ? "" : out.error().message);
  return out ? *out : Expectation{};
}

int64_t allowed(const std::string& spec, int pods, int64_t replicas) {
  return disruptions_allowed(expect(spec, pods, replicas), pods);
}

TEST(Budgets, CountLikeUpstream) {
  EXPECT_EQ(expect(R"({"minAvailable":2})", 3, 10).expected, 3) << "an integer asks no workload";
  EXPECT_EQ(allowed(R"({"minAvailable":2})", 3, 3), 1);
  EXPECT_EQ(allowed(R"({"minAvailable":5})", 3, 3), 0);
  EXPECT_EQ(expect(R"({"minAvailable":"50%"})", 3, 7).desired, 4) << "rounded up";
  EXPECT_EQ(allowed(R"({"minAvailable":"50%"})", 7, 7), 3);
  EXPECT_EQ(allowed(R"({"maxUnavailable":1})", 3, 3), 1);
  EXPECT_EQ(allowed(R"({"maxUnavailable":1})", 2, 3), 0) << "one is missing already";
  EXPECT_EQ(expect(R"({"maxUnavailable":"30%"})", 7, 7).desired, 4) << "30% of 7, rounded up, may be missing";
  EXPECT_EQ(allowed(R"({"maxUnavailable":9})", 3, 3), 3);
  EXPECT_EQ(allowed(R"({"maxUnavailable":1})", 0, 0), 0) << "nothing may go while no pod is expected";
  EXPECT_EQ(allowed("{}", 3, 3), 0);
}

TEST(Budgets, AskEachWorkloadOnce) {
  const Object budget = read(policy::PodDisruptionBudget::schema_type(), R"({"spec":{"maxUnavailable":1}})");
  int asked = 0;
  const auto two = [&](const Object& one) -> Result<std::optional<Scale>> {
    ++asked;
    return client::name_of(one) == "p0" ? Scale{"a", 1} : Scale{"b", 4};
  };
  const auto sum = expectation_of(policy::PodDisruptionBudget(budget), ready_pods(3), two);
  ASSERT_TRUE(sum);
  EXPECT_EQ(sum->expected, 5);
  const auto gone = [](const Object&) -> Result<std::optional<Scale>> { return std::nullopt; };
  const auto none = expectation_of(policy::PodDisruptionBudget(budget), ready_pods(1), gone);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().message, "found no controllers for pod \"p0\"");
}

TEST(Budgets, AnEvictedPodDoesNotCountUntilItsTimeIsOver) {
  const WallTime evicted = *parse_time("2025-01-01T00:00:00Z");
  const Object budget = read(policy::PodDisruptionBudget::schema_type(),
                             R"({"status":{"disruptedPods":{"p0":"2025-01-01T00:00:00Z","gone":"2025-01-01T00:00:00Z","leaving":"2025-01-01T00:00:00Z"}}})");
  std::vector<Object> pods = ready_pods(2);
  pods.push_back(pod("leaving", true, R"(,"deletionTimestamp":"2025-01-01T00:00:01Z")"));
  pods.push_back(pod("sick", false));
  const Evictions soon = pending_evictions(policy::PodDisruptionBudget(budget), pods, evicted + 30s);
  EXPECT_EQ(soon.pending.size(), 1u);
  EXPECT_EQ(soon.look_again, Duration(90s));
  EXPECT_EQ(count_healthy(pods, soon), 1);
  const Evictions later = pending_evictions(policy::PodDisruptionBudget(budget), pods, evicted + 3min);
  EXPECT_TRUE(later.pending.empty());
  EXPECT_EQ(later.not_deleted.size(), 1u);
  EXPECT_EQ(count_healthy(pods, later), 2);
}

struct Budgeted : ::testing::Test {
  World world;
  void SetUp() override { world.add_node("n1"); }
  void deployment(int replicas) {
    world.server.make(apps::deployments, fmt::format(R"({{"metadata":{{"name":"web"}},"spec":{{"replicas":{},
        "selector":{{"matchLabels":{{"app":"web"}}}},"template":{}}}}})", replicas, pod_template_json("web")));
  }
  void budget(std::string_view wish) {
    world.server.make(policy::poddisruptionbudgets, fmt::format(R"({{"metadata":{{"name":"web"}},"spec":{{{},
        "selector":{{"matchLabels":{{"app":"web"}}}}}}}})", wish));
  }
  policy::PodDisruptionBudgetStatus status() {
    object = world.server.get(policy::poddisruptionbudgets, "web");
    return policy::PodDisruptionBudget(object).status();
  }
  std::string numbers() {
    const auto s = status();
    return fmt::format("{} of {} healthy, {} needed, {} may go", s.currentHealthy(), s.expectedPods(), s.desiredHealthy(), s.disruptionsAllowed());
  }
  // Empty: it may go.
  std::string evict(const Object& pod) {
    Document body(policy::Eviction::schema_type());
    body.set(body.member(body.root(), "apiVersion"), "policy/v1");
    body.set(body.member(body.root(), "kind"), "Eviction");
    policy::Eviction(body).mutable_metadata().set_name(client::name_of(pod));
    auto done = world.server.client->create_subresource(core::pods, client::key_of(pod), "eviction", body);
    if (done) return {};
    return done.error().message + (done.error().causes.empty() ? "" : " " + done.error().causes.front().message);
  }
  Object object;
};

TEST_F(Budgeted, OnePodAfterTheOtherMayGo) {
  deployment(3);
  budget(R"("minAvailable":2)");
  world.converge();
  EXPECT_EQ(numbers(), "3 of 3 healthy, 2 needed, 1 may go");
  auto condition = find_condition(object->root()->find("status"), "DisruptionAllowed");
  ASSERT_TRUE(condition);
  EXPECT_EQ(condition->status + " " + condition->reason, "True SufficientPods");
  EXPECT_EQ(status().observedGeneration(), 1);

  world.dies_at_once = false;
  const std::vector<Object> pods = world.living();
  EXPECT_EQ(evict(pods[0]), "");
  EXPECT_EQ(evict(pods[1]), "Cannot evict pod as it would violate the pod's disruption budget. "
                            "The disruption budget web needs 2 healthy pods and has 3 currently");
  world.settle();
  EXPECT_EQ(numbers(), "2 of 4 healthy, 2 needed, 0 may go") << "one leaves, its successor is not ready";
  EXPECT_EQ(evict(pods[1]), "Cannot evict pod as it would violate the pod's disruption budget. "
                            "The disruption budget web needs 2 healthy pods and has 2 currently");
  condition = find_condition(object->root()->find("status"), "DisruptionAllowed");
  EXPECT_EQ(condition->status + " " + condition->reason, "False InsufficientPods");
  world.dies_at_once = true;
  world.converge();
  EXPECT_EQ(numbers(), "3 of 3 healthy, 2 needed, 1 may go");
  EXPECT_TRUE(status().disruptedPods().empty());
  EXPECT_EQ(evict(pods[1]), "");
}

TEST_F(Budgeted, APercentageIsOfWhatTheDeploymentWants) {
  world.ready = false;
  deployment(4);
  budget(R"("maxUnavailable":"50%")");
  world.converge();
  EXPECT_EQ(numbers(), "0 of 4 healthy, 2 needed, 0 may go");
  world.ready = true;
  world.converge();
  EXPECT_EQ(numbers(), "4 of 4 healthy, 2 needed, 2 may go");
  world.server.patch(apps::deployments, "web", R"({"spec":{"paused":true,"replicas":6}})");
  world.schedules = false;
  world.converge();
  EXPECT_EQ(numbers(), "4 of 6 healthy, 3 needed, 1 may go");
  world.server.patch(policy::poddisruptionbudgets, "web", R"({"spec":{"maxUnavailable":1}})");
  world.settle();
  EXPECT_EQ(numbers(), "4 of 6 healthy, 5 needed, 0 may go");
  EXPECT_EQ(status().observedGeneration(), 2);
}

TEST_F(Budgeted, WhatCannotBeWorkedOutAllowsNothingAndSaysWhy) {
  world.server.make(apps::daemonsets, R"({"metadata":{"name":"web"},"spec":{"selector":{"matchLabels":{"app":"web"}},"template":)" +
                                          pod_template_json("web") + "}}");
  budget(R"("maxUnavailable":1)");
  world.converge();
  EXPECT_EQ(status().disruptionsAllowed(), 0);
  const auto condition = find_condition(object->root()->find("status"), "DisruptionAllowed");
  ASSERT_TRUE(condition);
  EXPECT_EQ(condition->reason, "SyncFailed");
  EXPECT_EQ(condition->message, "daemonsets.apps does not implement the scale subresource");
}

TEST_F(Budgeted, AnEvictionThatCameToNothingIsForgotten) {
  budget(R"("minAvailable":0)");
  world.server.make(core::pods, R"({"metadata":{"name":"solo","labels":{"app":"web"},"finalizers":["example.com/wait"]},"spec":{"containers":[{"name":"c","image":"i"}]}})");
  world.converge();
  EXPECT_EQ(numbers(), "1 of 1 healthy, 0 needed, 1 may go");
  // As the API server leaves it when the deletion does not follow.
  world.server.patch(policy::poddisruptionbudgets, "web",
                     R"({"status":{"disruptionsAllowed":0,"disruptedPods":{"solo":")" + world.now() + R"("}}})", "status");
  world.settle();
  EXPECT_EQ(numbers(), "0 of 1 healthy, 0 needed, 0 may go");
  world.pass(3min, 10s);
  EXPECT_EQ(numbers(), "1 of 1 healthy, 0 needed, 1 may go");
}

}  // namespace
}  // namespace dure::controllers
