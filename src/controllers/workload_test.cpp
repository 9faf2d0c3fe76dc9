// Deployments, ReplicaSets, DaemonSets and Jobs against the real resource path.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <thread>

#include "controllers/conditions.h"
#include "controllers/job_plan.h"
#include "controllers/test_world.h"
#include "kinds/views/batch_v1.h"

namespace dure::controllers {
namespace {

std::string deployment_json(std::string_view name, int replicas, std::string_view more = "") {
  return R"({"metadata":{"name":")" + std::string(name) + R"("},"spec":{"replicas":)" + std::to_string(replicas) +
         R"(,"selector":{"matchLabels":{"app":")" + std::string(name) + R"("}},"template":)" + pod_template_json(name) +
         std::string(more) + "}}";
}

std::string new_image(std::string_view image) {
  return R"({"spec":{"template":{"spec":{"containers":[{"name":"c","image":")" + std::string(image) + R"("}]}}}})";
}

class Deployments : public ::testing::TestWithParam<uint64_t> {
 protected:
  World world{GetParam()};
  void SetUp() override {
    world.add_node("n1");
    world.add_node("n2");
  }
  apps::Deployment web() {
    deployment_ = world.server.get(apps::deployments, "web");
    return apps::Deployment(deployment_);
  }
  std::vector<Object> sets() { return world.server.list(apps::replicasets, "default"); }
  Object deployment_;
};
INSTANTIATE_TEST_SUITE_P(Seeds, Deployments, ::testing::Values(1, 2, 3));

TEST_P(Deployments, RunsItsPodsAndTellsSo) {
  world.server.make(apps::deployments, deployment_json("web", 3));
  world.converge();
  EXPECT_EQ(world.living("app=web").size(), 3u);
  const apps::Deployment view = web();
  EXPECT_EQ(view.status().replicas(), 3);
  EXPECT_EQ(view.status().updatedReplicas(), 3);
  EXPECT_EQ(view.status().readyReplicas(), 3);
  EXPECT_EQ(view.status().availableReplicas(), 3);
  EXPECT_EQ(view.status().unavailableReplicas(), 0);
  EXPECT_EQ(view.status().observedGeneration(), view.metadata().generation());
  EXPECT_EQ(find_condition(view.status().node(), "Available")->reason, "MinimumReplicasAvailable");
  EXPECT_EQ(find_condition(view.status().node(), "Progressing")->reason, "NewReplicaSetAvailable");
  EXPECT_EQ(view.metadata().annotations().get("deployment.kubernetes.io/revision"), "1");
  ASSERT_EQ(sets().size(), 1u);
  const Object set = sets().front();
  const std::string hash(client::label(set, "pod-template-hash"));
  EXPECT_EQ(client::name_of(set), "web-" + hash);
  EXPECT_EQ(client::label(world.living()[0], "pod-template-hash"), hash);
  EXPECT_EQ(apps::ReplicaSet(set).spec().selector().matchLabels().get("pod-template-hash"), hash);
}

TEST_P(Deployments, RollsWithinSurgeAndUnavailable) {
  world.server.make(apps::deployments, deployment_json("web", 4));
  world.converge();
  world.server.patch(apps::deployments, "web", new_image("nginx:2"));
  size_t most = 0, least = 99;
  for (int i = 0; i < 60; ++i) {
    world.server.executor.run_one();
    for (int steps = 0; steps < 20; ++steps) world.server.executor.run_one();
    most = std::max(most, world.living("app=web").size());
    size_t up = 0;
    for (const Object& pod : world.living("app=web")) up += is_ready(core::Pod(pod));
    least = std::min(least, up);
    world.play();
  }
  world.converge();
  EXPECT_LE(most, 5u);   // 25 % of 4, up
  EXPECT_GE(least, 3u);  // 25 % of 4, down
  EXPECT_EQ(world.living("app=web").size(), 4u);
  for (const Object& pod : world.living("app=web"))
    EXPECT_EQ(core::Pod(pod).spec().containers().front().image(), "nginx:2");
  EXPECT_EQ(sets().size(), 2u);
  EXPECT_EQ(web().metadata().annotations().get("deployment.kubernetes.io/revision"), "2");
}

TEST_P(Deployments, UndoGivesTheOldSetANewRevision) {
  world.server.make(apps::deployments, deployment_json("web", 2));
  world.converge();
  world.server.patch(apps::deployments, "web", new_image("nginx:2"));
  world.converge();
  world.server.patch(apps::deployments, "web", new_image("nginx:1"));
  world.converge();
  ASSERT_EQ(sets().size(), 2u);
  for (const Object& set : sets()) {
    const bool is_first = apps::ReplicaSet(set).spec().template_().spec().containers().front().image() == "nginx:1";
    EXPECT_EQ(client::annotation(set, "deployment.kubernetes.io/revision"), is_first ? "3" : "2");
    EXPECT_EQ(client::annotation(set, "deployment.kubernetes.io/revision-history"), is_first ? "1" : "");
    EXPECT_EQ(apps::ReplicaSet(set).spec().replicas(), is_first ? 2 : 0);
  }
  EXPECT_EQ(web().metadata().annotations().get("deployment.kubernetes.io/revision"), "3");
}

TEST_P(Deployments, PausedRollsNothingButScales) {
  world.server.make(apps::deployments, deployment_json("web", 2));
  world.converge();
  world.server.patch(apps::deployments, "web", R"({"spec":{"paused":true}})");
  world.server.patch(apps::deployments, "web", new_image("nginx:2"));
  world.converge();
  EXPECT_EQ(sets().size(), 1u);
  EXPECT_EQ(find_condition(web().status().node(), "Progressing")->reason, "DeploymentPaused");
  world.server.patch(apps::deployments, "web", R"({"spec":{"replicas":5}})");
  world.converge();
  EXPECT_EQ(world.living().size(), 5u);
  world.server.patch(apps::deployments, "web", R"({"spec":{"paused":false}})");
  world.converge();
  EXPECT_EQ(sets().size(), 2u);
  for (const Object& pod : world.living()) EXPECT_EQ(core::Pod(pod).spec().containers().front().image(), "nginx:2");
}

TEST_P(Deployments, RecreateStopsAllBeforeItStartsAny) {
  world.server.make(apps::deployments, deployment_json("web", 3, R"(,"strategy":{"type":"Recreate"})"));
  world.converge();
  world.dies_at_once = false;
  world.server.patch(apps::deployments, "web", new_image("nginx:2"));
  world.converge();
  EXPECT_EQ(world.living().size(), 0u);
  EXPECT_EQ(world.pods().size(), 3u);  // on their way out
  world.dies_at_once = true;
  world.converge();
  ASSERT_EQ(world.living().size(), 3u);
  EXPECT_EQ(core::Pod(world.living()[0]).spec().containers().front().image(), "nginx:2");
}

// Two ReplicaSets are active and remember 4 replicas: neither the switch nor the new number may stop the rollout.
TEST_P(Deployments, BecomeRecreateInMidRollWhileScaled) {
  world.server.make(apps::deployments, deployment_json("web", 4));
  world.converge();
  world.ready = false;
  world.server.patch(apps::deployments, "web", new_image("nginx:2"));
  world.converge();
  ASSERT_EQ(sets().size(), 2u);
  for (const Object& set : sets()) ASSERT_GT(apps::ReplicaSet(set).spec().replicas(), 0);
  world.server.patch(apps::deployments, "web",
                     R"({"spec":{"replicas":3,"strategy":{"type":"Recreate","rollingUpdate":null}}})");
  world.ready = true;
  world.converge();
  ASSERT_EQ(world.living("app=web").size(), 3u);
  for (const Object& pod : world.living("app=web"))
    EXPECT_EQ(core::Pod(pod).spec().containers().front().image(), "nginx:2");
  EXPECT_EQ(web().status().availableReplicas(), 3);
}

// The only ReplicaSet already has the new number, by somebody's hand: it must learn whose wish that is.
TEST_P(Deployments, RollAfterTheirSetWasScaledByHand) {
  world.server.make(apps::deployments, deployment_json("web", 2));
  world.converge();
  const std::string set(client::name_of(sets().front()));
  world.server.patch(apps::replicasets, set, R"({"spec":{"replicas":3}})");
  world.server.patch(apps::deployments, "web", R"({"spec":{"replicas":3}})");
  world.converge();
  world.server.patch(apps::deployments, "web", new_image("nginx:2"));
  world.converge();
  EXPECT_EQ(sets().size(), 2u);
  ASSERT_EQ(world.living("app=web").size(), 3u);
  for (const Object& pod : world.living("app=web"))
    EXPECT_EQ(core::Pod(pod).spec().containers().front().image(), "nginx:2");
}

TEST_P(Deployments, SaysWhenItsDeadlineHasPassed) {
  world.ready = false;
  world.server.make(apps::deployments, deployment_json("web", 1, R"(,"progressDeadlineSeconds":60)"));
  world.converge();
  world.pass(30s, 10s);
  EXPECT_NE(find_condition(web().status().node(), "Progressing")->reason, "ProgressDeadlineExceeded");
  world.pass(60s, 10s);
  const auto late = find_condition(web().status().node(), "Progressing");
  EXPECT_EQ(late->reason, "ProgressDeadlineExceeded");
  EXPECT_EQ(late->status, "False");
  world.ready = true;
  world.converge();
  EXPECT_EQ(find_condition(web().status().node(), "Progressing")->reason, "NewReplicaSetAvailable");
}

TEST_P(Deployments, KeepsAsMuchHistoryAsAsked) {
  world.server.make(apps::deployments, deployment_json("web", 1, R"(,"revisionHistoryLimit":1)"));
  world.converge();
  for (const char* image : {"nginx:2", "nginx:3", "nginx:4"}) {
    world.server.patch(apps::deployments, "web", new_image(image));
    world.converge();
  }
  ASSERT_EQ(sets().size(), 2u);
  std::set<std::string> revisions;
  for (const Object& set : sets()) revisions.emplace(client::annotation(set, "deployment.kubernetes.io/revision"));
  EXPECT_EQ(revisions, (std::set<std::string>{"3", "4"}));
}

TEST_P(Deployments, GoOnAfterARestartAtAnyStep) {
  world.server.make(apps::deployments, deployment_json("web", 5));
  for (int round = 0; round < 12; ++round) {
    if (round == 5) {
      world.settle();
      world.server.patch(apps::deployments, "web", new_image("nginx:2"));
    }
    const uint64_t steps = world.server.executor.random() % 500;
    for (uint64_t i = 0; i < steps; ++i) world.server.executor.run_one();
    world.play();
    EXPECT_LE(world.living().size(), 7u) << "seed " << world.server.seed;  // 5 and 25 % up
    world.restart();
  }
  world.converge();
  EXPECT_EQ(world.living().size(), 5u);
  EXPECT_EQ(sets().size(), 2u);
  for (const Object& pod : world.living()) EXPECT_EQ(core::Pod(pod).spec().containers().front().image(), "nginx:2");
  EXPECT_EQ(web().status().availableReplicas(), 5);
}

TEST(ReplicaSets, AdoptReleaseAndNeverTooMany) {
  World world;
  world.add_node("n1");
  world.server.make(core::pods, R"({"metadata":{"name":"stray","labels":{"app":"x"}},"spec":{"containers":[{"name":"c","image":"i"}]}})");
  world.server.make(apps::replicasets, R"({"metadata":{"name":"x"},"spec":{"replicas":3,"selector":{"matchLabels":{"app":"x"}},"template":)" +
                                           pod_template_json("x") + "}}");
  world.converge();
  ASSERT_EQ(world.living().size(), 3u);
  EXPECT_EQ(client::controller_of(world.server.get(core::pods, "stray")).name, "x");
  world.server.patch(core::pods, "stray", R"({"metadata":{"labels":{"app":"y"}}})");
  world.converge();
  EXPECT_EQ(client::controller_of(world.server.get(core::pods, "stray")).uid, "");
  EXPECT_EQ(world.living("app=x").size(), 3u);
  world.server.patch(apps::replicasets, "x", R"({"spec":{"replicas":1}})");
  world.converge();
  EXPECT_EQ(world.living("app=x").size(), 1u);
  std::set<std::string> reasons;
  for (const Object& event : world.server.list(core::events, "default")) reasons.emplace(core::Event(event).reason());
  EXPECT_TRUE(reasons.contains("SuccessfulCreate"));
  EXPECT_TRUE(reasons.contains("SuccessfulDelete"));
}

// Real threads: the same loops on a pool, as the server runs them.
TEST(Threads, RollAndSweepOnAPool) {
  client::TestServer server;
  auto pool = run::make_pool("loops", 4);
  auto watches = run::make_pool("watches", 1);
  auto client = plane::in_process_client(*server.api, server.user, *watches);
  auto caches = client::Caches::create(*client, *pool);
  auto runner = client::Runner::create(*caches, *pool);
  add_all(*runner, *client, *caches, {});
  auto eventually = [](auto condition) {
    for (int i = 0; i < 10000 && !condition(); ++i) std::this_thread::sleep_for(2ms);
    return condition();
  };
  for (int i = 0; i < 5; ++i) server.make(apps::deployments, deployment_json("d" + std::to_string(i), 10));
  EXPECT_TRUE(eventually([&] { return server.list(core::pods, "default").size() == 50; }));
  for (int i = 0; i < 5; ++i) server.patch(apps::deployments, "d" + std::to_string(i), R"({"spec":{"replicas":4}})");
  EXPECT_TRUE(eventually([&] { return server.list(core::pods, "default").size() == 20; }));
  for (int i = 0; i < 5; ++i) server.remove(apps::deployments, "d" + std::to_string(i));
  EXPECT_TRUE(eventually([&] { return server.list(core::pods, "default").empty(); }));
  EXPECT_TRUE(eventually([&] { return server.list(apps::replicasets, "default").empty(); }));
}

TEST(ReplicaSets, AHundredPodsOfADeployment) {
  World world;
  world.settle();
  const auto start = std::chrono::steady_clock::now();
  world.server.make(apps::deployments, deployment_json("big", 100));
  world.settle();
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - start).count();
  EXPECT_EQ(world.pods().size(), 100u);
  std::printf("a Deployment of 100: all pods made, counted and told in %.1f ms\n", double(micros) / 1000);
}

std::string daemon_json(std::string_view more = "") {
  return R"({"metadata":{"name":"d"},"spec":{"selector":{"matchLabels":{"app":"d"}},"template":)" + pod_template_json("d") +
         std::string(more) + "}}";
}

TEST(DaemonSets, OneOnEveryNodeThatFits) {
  World world;
  world.add_node("n1");
  world.add_node("n2");
  world.server.make(apps::daemonsets, daemon_json());
  world.converge();
  ASSERT_EQ(world.living().size(), 2u);
  std::set<std::string> on;
  for (const Object& pod : world.living()) on.emplace(core::Pod(pod).spec().nodeName());
  EXPECT_EQ(on, (std::set<std::string>{"n1", "n2"}));
  world.add_node("n3");
  world.converge();
  EXPECT_EQ(world.living().size(), 3u);
  const Object set = world.server.get(apps::daemonsets, "d");
  const auto status = apps::DaemonSet(set).status();
  EXPECT_EQ(status.desiredNumberScheduled(), 3);
  EXPECT_EQ(status.currentNumberScheduled(), 3);
  EXPECT_EQ(status.numberReady(), 3);
  EXPECT_EQ(status.numberAvailable(), 3);
  EXPECT_EQ(status.updatedNumberScheduled(), 3);
  world.server.patch(core::nodes, "n3", R"({"spec":{"taints":[{"key":"gone","effect":"NoExecute"}]}})");
  world.converge();
  EXPECT_EQ(world.living().size(), 2u);
}

TEST(DaemonSets, RollOneByOneAndRememberTheirTemplates) {
  World world;
  for (const char* node : {"n1", "n2", "n3"}) world.add_node(node);
  world.server.make(apps::daemonsets, daemon_json());
  world.converge();
  world.server.patch(apps::daemonsets, "d", new_image("nginx:2"));
  size_t fewest = 3;
  for (int i = 0; i < 30; ++i) {
    world.settle();
    fewest = std::min(fewest, world.living().size());
    world.play();
  }
  world.converge();
  EXPECT_GE(fewest, 2u);
  for (const Object& pod : world.living()) EXPECT_EQ(core::Pod(pod).spec().containers().front().image(), "nginx:2");
  auto revisions = world.server.list(apps::controllerrevisions, "default");
  ASSERT_EQ(revisions.size(), 2u);
  std::set<int64_t> numbers;
  for (const Object& revision : revisions) numbers.insert(apps::ControllerRevision(revision).revision());
  EXPECT_EQ(numbers, (std::set<int64_t>{1, 2}));
}

TEST(DaemonSets, OnDeleteWaitsForTheUser) {
  World world;
  world.add_node("n1");
  world.server.make(apps::daemonsets, daemon_json(R"(,"updateStrategy":{"type":"OnDelete"})"));
  world.converge();
  world.server.patch(apps::daemonsets, "d", new_image("nginx:2"));
  world.converge();
  ASSERT_EQ(world.living().size(), 1u);
  EXPECT_EQ(core::Pod(world.living()[0]).spec().containers().front().image(), "nginx:1");
  world.server.remove(core::pods, client::name_of(world.living()[0]));
  world.converge();
  ASSERT_EQ(world.living().size(), 1u);
  EXPECT_EQ(core::Pod(world.living()[0]).spec().containers().front().image(), "nginx:2");
}

namespace batch = kinds::batch_v1;

std::string job_json(std::string_view more) {
  return R"({"metadata":{"name":"j"},"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}})" +
         std::string(more) + "}}";
}

struct Jobs : ::testing::Test {
  World world;
  void SetUp() override { world.add_node("n1"); }
  Object job_;
  batch::Job job() {
    job_ = world.server.get(batch::jobs, "j");
    return batch::Job(job_);
  }
  bool is(std::string_view type) { return is_condition_true(job().status().node(), type); }
};

TEST_F(Jobs, CompleteWhenEnoughHaveSucceeded) {
  world.server.make(batch::jobs, job_json(R"(,"completions":5,"parallelism":2)"));
  world.converge();
  EXPECT_EQ(world.living("job-name=j").size(), 2u);
  world.phase_of = [](const Object&) { return std::optional<std::string>("Succeeded"); };
  world.converge();
  EXPECT_TRUE(is("Complete"));
  EXPECT_TRUE(is("SuccessCriteriaMet"));
  EXPECT_EQ(job().status().succeeded(), 5);
  EXPECT_EQ(job().status().active(), 0);
  EXPECT_FALSE(job().status().completionTime().empty());
  EXPECT_EQ(world.pods().size(), 5u);
  for (const Object& pod : world.pods()) EXPECT_FALSE(client::has_finalizer(pod, job_tracking));
}

TEST_F(Jobs, FailAfterTheBackOffLimitWithGrowingPauses) {
  world.phase_of = [](const Object&) { return std::optional<std::string>("Failed"); };
  world.server.make(batch::jobs, job_json(R"(,"backoffLimit":2)"));
  world.converge();
  EXPECT_EQ(job().status().failed(), 1);
  world.pass(5s);
  EXPECT_EQ(world.pods().size(), 1u);
  world.pass(8s);
  EXPECT_EQ(world.pods().size(), 2u);
  world.pass(1min);
  EXPECT_TRUE(is("Failed"));
  EXPECT_EQ(find_condition(job().status().node(), "Failed")->reason, "BackoffLimitExceeded");
  EXPECT_EQ(job().status().failed(), 3);
}

TEST_F(Jobs, EndAtTheDeadline) {
  world.server.make(batch::jobs, job_json(R"(,"activeDeadlineSeconds":30)"));
  world.converge();
  world.pass(40s);
  EXPECT_TRUE(is("Failed"));
  EXPECT_EQ(find_condition(job().status().node(), "Failed")->reason, "DeadlineExceeded");
  EXPECT_EQ(world.living().size(), 0u);
}

TEST_F(Jobs, SuspendAndResume) {
  world.server.make(batch::jobs, job_json(R"(,"parallelism":2,"completions":2)"));
  world.converge();
  world.server.patch(batch::jobs, "j", R"({"spec":{"suspend":true}})");
  world.converge();
  EXPECT_EQ(world.living().size(), 0u);
  EXPECT_TRUE(is("Suspended"));
  EXPECT_EQ(job().status().failed(), 0);
  world.server.patch(batch::jobs, "j", R"({"spec":{"suspend":false}})");
  world.converge();
  EXPECT_EQ(world.living().size(), 2u);
}

TEST_F(Jobs, EveryIndexOnce) {
  world.server.make(batch::jobs, job_json(R"(,"completionMode":"Indexed","completions":4,"parallelism":4)"));
  world.converge();
  std::set<int64_t> indexes;
  for (const Object& pod : world.living()) indexes.insert(index_of(pod));
  EXPECT_EQ(indexes, (std::set<int64_t>{0, 1, 2, 3}));
  world.phase_of = [](const Object&) { return std::optional<std::string>("Succeeded"); };
  world.converge();
  EXPECT_TRUE(is("Complete"));
  EXPECT_EQ(job().status().completedIndexes(), "0-3");
}

TEST_F(Jobs, AreSweptAfterTheirTime) {
  world.phase_of = [](const Object&) { return std::optional<std::string>("Succeeded"); };
  world.server.make(batch::jobs, job_json(R"(,"ttlSecondsAfterFinished":20)"));
  world.converge();
  ASSERT_TRUE(is("Complete"));
  world.pass(25s);
  world.converge();
  EXPECT_EQ(world.server.get(batch::jobs, "j"), nullptr);
  EXPECT_EQ(world.pods().size(), 0u);
}

TEST_F(Jobs, CountRightWhenKilledAtAnyStep) {
  for (const uint64_t seed : {11, 12, 13, 14}) {
    World world(seed);
    world.add_node("n1");
    world.phase_of = [](const Object&) { return std::optional<std::string>("Succeeded"); };
    world.server.make(batch::jobs, job_json(R"(,"completions":6,"parallelism":3)"));
    for (int round = 0; round < 25; ++round) {
      const uint64_t steps = world.server.executor.random() % 400;
      for (uint64_t i = 0; i < steps; ++i) world.server.executor.run_one();
      world.play();
      world.restart();
    }
    world.converge();
    const Object job = world.server.get(batch::jobs, "j");
    EXPECT_EQ(batch::Job(job).status().succeeded(), 6) << "seed " << world.server.seed;
    EXPECT_EQ(world.pods().size(), 6u) << "seed " << world.server.seed;
  }
}

}  // namespace
}  // namespace dure::controllers
