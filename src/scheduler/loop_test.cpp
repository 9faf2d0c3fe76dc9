// The loop against the real resource path: what it binds, what it says, and when it tries again.
#include "scheduler/loop.h"

#include <gtest/gtest.h>

#include "client/cache.h"
#include "client/test_server.h"

namespace dure::scheduler {
namespace {

namespace core = kinds::core_v1;

struct Loop : ::testing::Test {
  void SetUp() override {
    runner->add(scheduling(*server.client, *caches, *events, server.executor));
    server.executor.run_until_idle();
  }
  void add_node(const std::string& name) {
    server.make(core::nodes, R"({"metadata":{"name":")" + name + R"("}})");
    server.patch(core::nodes, name, R"({"status":{"allocatable":{"cpu":"1","memory":"1Gi","pods":"110"}}})", "status");
  }
  void add_pod(const std::string& name, const std::string& cpu) {
    server.make(core::pods, R"({"metadata":{"name":")" + name + R"("},"spec":{"containers":[{"name":"c","image":"i","resources":{"requests":{"cpu":")" +
                                cpu + R"("}}}]}})");
    server.executor.run_until_idle();
  }
  std::string node_of(const std::string& name) { return std::string(core::Pod(server.get(core::pods, name)).spec().nodeName()); }
  std::string why(const std::string& name) {
    for (auto c : core::Pod(server.get(core::pods, name)).status().conditions())
      if (c.type() == "PodScheduled") return std::string(c.message());
    return {};
  }
  client::TestServer server;
  std::unique_ptr<client::Caches> caches = client::Caches::create(*server.client, server.executor);
  std::unique_ptr<client::EventRecorder> events = client::EventRecorder::create(*server.client, server.executor, "default-scheduler");
  std::unique_ptr<client::Runner> runner = client::Runner::create(*caches, server.executor);
};

TEST_F(Loop, PodsThatFindNoRoomAreToldWhyAndPlacedWhenThereIsSome) {
  add_node("a");
  add_pod("first", "700m");
  add_pod("second", "700m");
  EXPECT_EQ(node_of("first"), "a");
  EXPECT_EQ(node_of("second"), "");
  EXPECT_EQ(why("second"), "0/1 nodes are available: 1 Insufficient cpu.");
  add_node("b");
  server.executor.run_until_idle();
  EXPECT_EQ(node_of("second"), "b");
}

TEST_F(Loop, ABindingThatFailsIsTriedAgainSoon) {
  add_node("a");
  int refusals = 4;
  apiserver::ApiGuards guards;
  guards.authorize = [&](const apiserver::User&, const apiserver::Attributes& what) {
    return apiserver::Verdict{what.subresource != "binding" || refusals-- <= 0, "not now"};
  };
  server.api->set_guards(std::move(guards));
  add_pod("p", "100m");
  server.executor.advance(5s);
  EXPECT_EQ(node_of("p"), "a");
}

}  // namespace
}  // namespace dure::scheduler
