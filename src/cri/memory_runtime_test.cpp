#include "cri/memory_runtime.h"

#include <gtest/gtest.h>

#include "cri/conformance.h"
#include "run/virtual_executor.h"

namespace dure::cri {
namespace {

TEST(MemoryRuntime, ConformsToWhatEveryRuntimeDoes) {
  run::VirtualExecutor executor;
  MemoryRuntime runtime(executor);
  runtime.add_image("busybox:1");
  RuntimeCheck({runtime, "busybox:1", "/logs", [&] { executor.advance(1s); }}).all();
}

TEST(MemoryRuntime, PullsOnlyWhatTheRegistryHas) {
  run::VirtualExecutor executor;
  MemoryRuntime runtime(executor);
  runtime.add_registry_image("web:1");
  for (const char* name : {"web:1", "nothing:1"}) {
    schema::Document request(v1::PullImageRequest::type());
    v1::PullImageRequest(request).mutable_image().set_image(name);
    EXPECT_EQ(runtime.call("PullImage", request, 1s).has_value(), std::string_view(name) == "web:1");
  }
}

TEST(MemoryRuntime, EventsTellOfStartsAndStops) {
  run::VirtualExecutor executor;
  MemoryRuntime runtime(executor);
  int events = 0, ends = 0;
  auto handle = runtime.events([&](const schema::Document&) { ++events; }, [&](Error) { ++ends; });
  ASSERT_TRUE(handle);
  schema::Document request(v1::RunPodSandboxRequest::type());
  v1::RunPodSandboxRequest(request).mutable_config().mutable_metadata().set_name("a");
  ASSERT_TRUE(runtime.call("RunPodSandbox", request, 1s));
  executor.run_until_idle();
  EXPECT_EQ(events, 1);
  runtime.set_down(true);
  executor.run_until_idle();
  EXPECT_EQ(ends, 1);
  EXPECT_EQ(runtime.call("Version", schema::Document(v1::VersionRequest::type()), 1s).error().reason, "Unavailable");
}

}  // namespace
}  // namespace dure::cri
