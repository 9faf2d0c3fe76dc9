#include "pods/node_status.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "cri/memory_runtime.h"
#include "pods/testing/world.h"

namespace dure::pods {
namespace {

NodeOptions options_of_n1() {
  NodeOptions options;
  options.name = "n1";
  options.ips = {"192.0.2.10"};
  return options;
}

TEST(NodeStatus, BecomesReadySoonAfterTheRuntimeDoesThoughNobodySaysSo) {
  run::VirtualExecutor executor;
  testing::TestApi api(executor);
  cri::MemoryRuntime runtime(executor);
  os::MemoryDisk disk;
  runtime.set_network_ready(false);
  const auto events = client::EventRecorder::create(*api.client, executor, "kubelet", "n1");
  NodeStatus status(*api.client, runtime, executor, executor, disk, *events, options_of_n1());
  status.start();
  executor.advance(150ms);
  executor.run_until_idle();
  EXPECT_FALSE(status.ready());
  runtime.set_network_ready(true);
  executor.advance(200ms);
  executor.run_until_idle();
  EXPECT_TRUE(status.ready());
  // Who stays unready is not asked all the time.
  runtime.set_network_ready(false);
  executor.advance(10s);
  executor.run_until_idle();
  const int before = runtime.calls("Status");
  executor.advance(60s);
  executor.run_until_idle();
  EXPECT_LE(runtime.calls("Status") - before, 65);
}

TEST(NodeStatus, TellsWhenItBecomesReadyAndWhenNoMore) {
  run::VirtualExecutor executor;
  testing::TestApi api(executor);
  cri::MemoryRuntime runtime(executor);
  os::MemoryDisk disk;
  runtime.set_network_ready(false);
  const auto events = client::EventRecorder::create(*api.client, executor, "kubelet", "n1");
  NodeStatus status(*api.client, runtime, executor, executor, disk, *events, options_of_n1());
  const auto told = [&] {
    executor.advance(20s);
    executor.run_until_idle();
    std::multiset<std::string> out;
    const auto list = api.client->list(kinds::core_v1::events, {});
    if (!list) return out;
    for (const schema::Object& object : list->items) {
      const kinds::core_v1::Event event(object);
      const auto about = event.involvedObject();
      if (about.kind() == "Node" && about.uid() == "n1")
        out.insert(fmt::format("{} {}: {}", event.type(), event.reason(), event.message()));
    }
    return out;
  };
  using Told = std::multiset<std::string>;
  status.start();
  EXPECT_EQ(told(), Told{}) << "it never was ready";
  runtime.set_network_ready(true);
  EXPECT_EQ(told(), Told{"Normal NodeReady: Node n1 status is now: NodeReady"});
  runtime.set_network_ready(false);
  EXPECT_EQ(told(), (Told{"Normal NodeReady: Node n1 status is now: NodeReady",
                          "Normal NodeNotReady: Node n1 status is now: NodeNotReady"}));
}

// The network comes up, and says so, just after the runtime was asked.
class ComingUp final : public cri::Runtime {
 public:
  explicit ComingUp(cri::MemoryRuntime& runtime) : runtime_(runtime) { runtime_.set_network_ready(false); }
  Result<schema::Document> call(std::string_view method, const schema::Document& request, Duration limit) override {
    auto answer = runtime_.call(method, request, limit);
    if (method != "Status" || std::exchange(asked_, true)) return answer;
    runtime_.set_network_ready(true);
    status->look_now();
    std::this_thread::sleep_for(50ms);  // what was posted has its turn meanwhile
    return answer;
  }
  Result<std::unique_ptr<run::Timer>> events(std::function<void(const schema::Document&)> on_event,
                                             std::function<void(Error)> on_end) override {
    return runtime_.events(std::move(on_event), std::move(on_end));
  }
  NodeStatus* status = nullptr;

 private:
  cri::MemoryRuntime& runtime_;
  bool asked_ = false;
};

// Time stands still: nothing happens by itself.
class NoTimers final : public run::Executor {
 public:
  explicit NoTimers(run::Executor& behind) : behind_(behind) {}
  void post(run::Work work) override { behind_.post(std::move(work)); }
  std::unique_ptr<run::Timer> after(Duration, run::Work) override { return nullptr; }
  Monotonic now() const override { return behind_.now(); }
  WallTime wall_now() const override { return behind_.wall_now(); }

 private:
  run::Executor& behind_;
};

TEST(NodeStatus, WhatChangesWhileItLooksIsNotMissed) {
  const auto pool = run::make_pool("jobs", 2);
  NoTimers timers(*pool);
  testing::TestApi api(*pool);
  cri::MemoryRuntime memory(timers);
  ComingUp runtime(memory);
  os::MemoryDisk disk;
  const auto events = client::EventRecorder::create(*api.client, timers, "kubelet", "n1");
  NodeStatus status(*api.client, runtime, timers, *pool, disk, *events, options_of_n1());
  runtime.status = &status;
  const auto begun = std::chrono::steady_clock::now();
  status.start();
  while (!status.ready() && std::chrono::steady_clock::now() - begun < 5s) std::this_thread::sleep_for(1ms);
  EXPECT_TRUE(status.ready());
  EXPECT_EQ(memory.calls("Status"), 2);
}

}  // namespace
}  // namespace dure::pods
