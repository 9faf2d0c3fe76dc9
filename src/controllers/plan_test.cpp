// The pure parts: rollout arithmetic, ranking, selectors, tolerations, hashes, indexes.
#include <gtest/gtest.h>

#include "controllers/deployment_plan.h"
#include "controllers/job_plan.h"
#include "controllers/node_rules.h"
#include "controllers/pod_control.h"
#include "controllers/pod_facts.h"
#include "controllers/pod_template.h"
#include "controllers/selector.h"
#include "schema/json.h"

namespace dure::controllers {
namespace {

Object object(const schema::Type& type, std::string_view json) {
  auto decoded = schema::decode_json(SharedBytes(std::string(json)), type);
  EXPECT_TRUE(decoded) << (decoded ? "" : decoded.error().message);
  return schema::share(std::move(*decoded));
}

TEST(Rollout, RoundsLikeUpstream) {
  auto rollout = [](int replicas, std::string_view surge, std::string_view unavailable) {
    const Object deployment = object(apps::Deployment::schema_type(),
                                     R"({"spec":{"replicas":)" + std::to_string(replicas) +
                                         R"(,"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":)" + std::string(surge) +
                                         R"(,"maxUnavailable":)" + std::string(unavailable) + "}}}}");
    return rollout_of(apps::Deployment(deployment));
  };
  EXPECT_EQ(rollout(10, R"("25%")", R"("25%")").surge, 3);
  EXPECT_EQ(rollout(10, R"("25%")", R"("25%")").unavailable, 2);
  EXPECT_EQ(rollout(3, R"("0%")", R"("10%")").unavailable, 1);  // both zero would never move
  EXPECT_EQ(rollout(2, "0", "5").unavailable, 2);
  EXPECT_EQ(rollout(1, R"("25%")", R"("25%")").surge, 1);
  EXPECT_EQ(rollout(1, R"("25%")", R"("25%")").unavailable, 0);
}

TEST(Rollout, NewSetGrowsIntoTheSurge) {
  const Rollout rollout{.rolling = true, .replicas = 10, .surge = 2, .unavailable = 2};
  EXPECT_EQ(next_new_size(rollout, 10, 0), 2);
  EXPECT_EQ(next_new_size(rollout, 12, 2), 2);
  EXPECT_EQ(next_new_size(rollout, 9, 8), 10);
  EXPECT_EQ(next_new_size(rollout, 20, 15), 10);
}

TEST(Rollout, OldSetsGiveUnhealthyPodsFirst) {
  const Rollout rollout{.rolling = true, .replicas = 10, .surge = 2, .unavailable = 2};
  // 10 old of which 3 are down, 2 new not yet up: nothing healthy may go, the three may.
  const std::vector<SetSize> old{{.wanted = 10, .actual = 10, .ready = 7, .available = 7}};
  EXPECT_EQ(next_old_sizes(rollout, old, {.wanted = 2}), std::vector<int64_t>{8});
  const std::vector<SetSize> healthy{{.wanted = 10, .actual = 10, .ready = 10, .available = 10}};
  EXPECT_EQ(next_old_sizes(rollout, healthy, {.wanted = 2}), std::vector<int64_t>{8});
  EXPECT_EQ(next_old_sizes(rollout, healthy, {.wanted = 2, .available = 2}), std::vector<int64_t>{6});
}

TEST(Rollout, ScalesInProportion) {
  const Rollout rollout{.rolling = true, .replicas = 20, .surge = 4, .unavailable = 4};
  // Before: 10 replicas with surge 2.
  const std::vector<SetSize> active{{.wanted = 8, .desired_before = 10, .pods_max_before = 12},
                                    {.wanted = 4, .desired_before = 10, .pods_max_before = 12}};
  const auto sizes = proportional_sizes(rollout, active, 12);
  EXPECT_EQ(sizes, (std::vector<int64_t>{16, 8}));
  const Rollout to_zero{.rolling = true, .replicas = 0, .surge = 0, .unavailable = 0};
  EXPECT_EQ(proportional_sizes(to_zero, active, 12), (std::vector<int64_t>{0, 0}));
}

TEST(Rollout, EveryStepKeepsItsPromises) {
  // Random rollouts, step by step: never above the surge, never below the availability because of us, always an end.
  uint64_t state = 42;
  auto random = [&](int64_t bound) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<int64_t>((state >> 33) % static_cast<uint64_t>(bound));
  };
  for (int run = 0; run < 500; ++run) {
    Rollout rollout{.rolling = true, .replicas = 1 + random(30), .surge = random(5), .unavailable = random(5)};
    if (rollout.surge == 0 && rollout.unavailable == 0) rollout.unavailable = 1;
    rollout.unavailable = std::min(rollout.unavailable, rollout.replicas);
    SetSize fresh{};
    std::vector<SetSize> old{{.wanted = rollout.replicas, .available = rollout.replicas}};
    int steps = 0;
    while (fresh.available < rollout.replicas || old[0].wanted > 0) {
      ASSERT_LT(++steps, 500) << "run " << run;
      fresh.wanted = next_new_size(rollout, old[0].wanted + fresh.wanted, fresh.wanted);
      old[0].wanted = next_old_sizes(rollout, old, fresh)[0];
      old[0].available = std::min(old[0].available, old[0].wanted);
      ASSERT_LE(old[0].wanted + fresh.wanted, rollout.pods_max());
      ASSERT_GE(old[0].available + fresh.available, rollout.replicas - rollout.unavailable);
      fresh.available += random(fresh.wanted - fresh.available + 1);
    }
  }
}

TEST(Selectors, MatchLikeUpstream) {
  const Object rich = object(meta::LabelSelector::schema_type(),
      R"({"matchLabels":{"a":"1"},"matchExpressions":[{"key":"b","operator":"NotIn","values":["x"]},{"key":"c","operator":"DoesNotExist"}]})");
  const Selector selector = Selector::from(meta::LabelSelector(rich));
  auto pod = [](std::string_view labels) {
    return object(core::Pod::schema_type(), R"({"metadata":{"labels":)" + std::string(labels) + "}}");
  };
  EXPECT_TRUE(selector.matches(pod(R"({"a":"1"})")));
  EXPECT_TRUE(selector.matches(pod(R"({"a":"1","b":"y"})")));
  EXPECT_FALSE(selector.matches(pod(R"({"a":"1","b":"x"})")));
  EXPECT_FALSE(selector.matches(pod(R"({"a":"1","c":""})")));
  EXPECT_FALSE(Selector{}.matches(pod("{}")));
  EXPECT_TRUE(Selector::from(meta::LabelSelector(object(meta::LabelSelector::schema_type(), "{}"))).matches(pod("{}")));
}

TEST(Hash, DependsOnValuesAndCollisions) {
  auto hash = [](std::string_view json, std::optional<int64_t> collisions = {}) {
    return template_hash(object(core::PodTemplateSpec::schema_type(), json)->root(), collisions);
  };
  const std::string one = hash(R"({"spec":{"containers":[{"name":"a","image":"x"}]}})");
  EXPECT_EQ(one, hash(R"({"spec":{"containers":[{"image":"x","name":"a"}]}})"));
  EXPECT_NE(one, hash(R"({"spec":{"containers":[{"name":"a","image":"y"}]}})"));
  EXPECT_NE(one, hash(R"({"spec":{"containers":[{"name":"a","image":"x"}]}})", 1));
  EXPECT_EQ(one.find_first_not_of("bcdfghjklmnpqrstvwxz2456789"), std::string::npos);
}

TEST(Ranking, TakesTheLeastUsefulPodFirst) {
  const WallTime now = *parse_time("2025-01-02T00:00:00Z");
  auto pod = [](std::string_view uid, std::string_view node, std::string_view phase, bool ready, std::string_view cost = "0") {
    return object(core::Pod::schema_type(), R"({"metadata":{"uid":")" + std::string(uid) +
        R"(","creationTimestamp":"2025-01-01T00:00:00Z","annotations":{"controller.kubernetes.io/pod-deletion-cost":")" + std::string(cost) +
        R"("}},"spec":{"nodeName":")" + std::string(node) + R"("},"status":{"phase":")" + std::string(phase) +
        R"(","conditions":[{"type":"Ready","status":")" + (ready ? "True" : "False") +
        R"(","lastTransitionTime":"2025-01-01T12:00:00Z"}]}})");
  };
  std::vector<Object> pods{pod("good", "n1", "Running", true), pod("cheap", "n1", "Running", true, "-5"),
                           pod("pending", "n1", "Pending", false), pod("nowhere", "", "Pending", false),
                           pod("unready", "n2", "Running", false)};
  std::string order;
  for (const Object& each : in_deletion_order(pods, pods, now)) order += std::string(client::uid_of(each)) + " ";
  EXPECT_EQ(order, "nowhere pending unready cheap good ");
}

TEST(Indexes, AreWrittenShort) {
  EXPECT_EQ(format_indexes({0, 1, 2, 5, 7, 8}), "0-2,5,7,8");
  EXPECT_EQ(parse_indexes("0-2,5,7,8", 10), (std::set<int64_t>{0, 1, 2, 5, 7, 8}));
  EXPECT_EQ(parse_indexes("1-9999999999", 3), (std::set<int64_t>{1, 2}));
  EXPECT_TRUE(parse_indexes("x,-", 3).empty());
}

TEST(SlowStart, StopsEarlyWhenRefused) {
  size_t tried = 0;
  const Status done = slow_start(100, [&](size_t) -> Status {
    ++tried;
    return fail(forbidden("quota"));
  });
  EXPECT_FALSE(done);
  EXPECT_EQ(tried, 1u);
}

}  // namespace
}  // namespace dure::controllers
