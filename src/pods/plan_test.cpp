#include "pods/plan.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "schema/json.h"

namespace dure::pods {
namespace {

constexpr WallTime now{1'700'000'000'000'000'000};

struct Case {
  schema::Object object;
  RuntimePod runtime;
  PodMemory memory;

  explicit Case(const std::string& spec) {
    auto document = schema::decode_json(
        SharedBytes(R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"d","uid":"u"},"spec":{)" + spec + "}}"),
        kinds::core_v1::Pod::schema_type());
    EXPECT_TRUE(document) << document.error().message;
    object = schema::share(*std::move(document));
  }
  kinds::core_v1::Pod pod() const { return kinds::core_v1::Pod(object); }

  Case& sandbox(uint32_t attempt = 0, bool ready = true) {
    RuntimeSandbox s{fmt::format("s{}", attempt), attempt, ready};
    s.created_at = now - 100s;
    s.ips = {"10.0.0.1"};
    runtime.sandboxes.insert(runtime.sandboxes.begin(), s);
    return *this;
  }
  // In the newest sandbox.
  Case& container(const std::string& name, ContainerState state, int exit_code = 0, uint32_t attempt = 0, Duration ended_ago = 1s) {
    RuntimeContainer c;
    c.id = name + std::to_string(attempt);
    c.name = name;
    c.sandbox_id = runtime.sandboxes.front().id;
    c.state = state;
    c.exit_code = exit_code;
    c.attempt = attempt;
    c.finished_at = now - ended_ago;
    for (auto spec : pod().spec().containers())
      if (spec.name() == name) c.hash = container_hash(spec);
    for (auto spec : pod().spec().initContainers())
      if (spec.name() == name) c.hash = container_hash(spec);
    runtime.containers.insert(runtime.containers.begin(), c);
    return *this;
  }
  // "stop; sandbox 1; kill a0 liveness; start a 1; hold a": what the plan says, in one line.
  std::string text() const {
    const Plan p = plan(pod(), runtime, memory, now);
    std::string out;
    const auto add = [&](std::string part) { out += (out.empty() ? "" : "; ") + std::move(part); };
    if (p.stop_everything) add("stop");
    if (p.create_sandbox) add(fmt::format("sandbox {}", p.sandbox_attempt));
    for (const auto& k : p.kills) add(fmt::format("kill {} {}", k.id, k.reason));
    for (const auto& s : p.starts) add(fmt::format("start {} {}", s.name, s.attempt));
    for (const auto& [name, why] : p.backoffs) add("hold " + name);
    return out;
  }
};

const std::string one = R"("containers":[{"name":"a","image":"i"}])";
const std::string two = R"("containers":[{"name":"a","image":"i"},{"name":"b","image":"i"}])";
const std::string with_init = R"("initContainers":[{"name":"x","image":"i"},{"name":"y","image":"i"}],)" + one;
const std::string with_sidecar = R"("initContainers":[{"name":"s","image":"i","restartPolicy":"Always"}],"restartPolicy":"Never",)" + one;
using enum ContainerState;

TEST(Plan, ANewPodGetsASandboxThenItsContainers) {
  EXPECT_EQ(Case(two).text(), "sandbox 0");
  EXPECT_EQ(Case(two).sandbox().text(), "start a 0; start b 0");
  EXPECT_EQ(Case(two).sandbox().container("a", running).text(), "start b 0");
  EXPECT_EQ(Case(two).sandbox().container("a", running).container("b", running).text(), "");
}

TEST(Plan, ASandboxWithoutAnAddressIsReplacedUnlessItIsTheHosts) {
  Case c(one);
  c.sandbox();
  c.runtime.sandboxes[0].ips.clear();
  EXPECT_EQ(c.text(), "stop");
  Case host(R"("hostNetwork":true,)" + one);
  host.sandbox();
  host.runtime.sandboxes[0].ips.clear();
  EXPECT_EQ(host.text(), "start a 0");
}

TEST(Plan, ALostSandboxIsMadeAgainForWhatShallRun) {
  EXPECT_EQ(Case(one).sandbox(0, false).container("a", running).text(), "stop");
  EXPECT_EQ(Case(one).sandbox(0, false).container("a", exited, 255).text(), "sandbox 1");
  EXPECT_EQ(Case(R"("restartPolicy":"Never",)" + one).sandbox(0, false).container("a", exited, 255).text(), "");
  EXPECT_EQ(Case(R"("restartPolicy":"OnFailure",)" + one).sandbox(0, false).container("a", exited, 0).text(), "");
  EXPECT_EQ(Case(R"("restartPolicy":"OnFailure",)" + one).sandbox(0, false).container("a", exited, 1).text(), "sandbox 1");
}

TEST(Plan, RestartPolicies) {
  for (auto [policy, code, wanted] : {std::tuple{"Always", 0, "start a 1"}, {"Always", 1, "start a 1"}, {"OnFailure", 0, "stop"},
                                      {"OnFailure", 1, "start a 1"}, {"Never", 0, "stop"}, {"Never", 1, "stop"}}) {
    Case c(fmt::format(R"("restartPolicy":"{}",)", policy) + one);
    EXPECT_EQ(c.sandbox().container("a", exited, code).text(), wanted) << policy << code;
  }
}

TEST(Plan, ARestartIsHeldBackFromItsSecondTime) {
  Case c(one);
  c.sandbox().container("a", exited, 1, 1, 4s);
  EXPECT_EQ(c.text(), "start a 2") << "nothing remembered: at once";
  c.memory.containers["a"].restart = next_backoff({}, now - 5s);
  EXPECT_EQ(c.text(), "hold a");
  EXPECT_EQ(*plan(c.pod(), c.runtime, c.memory, now).look_again, 6s);
  EXPECT_EQ(plan(c.pod(), c.runtime, c.memory, now).backoffs.at("a").message, "back-off 10s restarting failed container=a pod=p_d(u)");
  c.runtime.containers[0].finished_at = now - 11s;
  EXPECT_EQ(c.text(), "start a 2");
}

TEST(Plan, BackOffDoublesToFiveMinutesAndIsForgottenAfterTen) {
  Backoff b;
  std::vector<int64_t> seconds;
  for (int i = 0; i < 7; ++i) {
    b = next_backoff(b, now);
    seconds.push_back(b.delay / 1s);
  }
  EXPECT_EQ(seconds, (std::vector<int64_t>{10, 20, 40, 80, 160, 300, 300}));
  EXPECT_EQ(next_backoff(b, now + 601s).delay, 10s);
  // A container that ran well for long is not held back when it ends.
  Case c(one);
  c.sandbox().container("a", exited, 1, 3, 1s);
  c.memory.containers["a"].restart = {300s, now - 700s};
  EXPECT_EQ(c.text(), "start a 4");
}

TEST(Plan, InitContainersOneAfterTheOther) {
  EXPECT_EQ(Case(with_init).sandbox().text(), "start x 0");
  EXPECT_EQ(Case(with_init).sandbox().container("x", running).text(), "");
  EXPECT_EQ(Case(with_init).sandbox().container("x", exited, 0).text(), "start y 0");
  EXPECT_EQ(Case(with_init).sandbox().container("x", exited, 1).text(), "start x 1");
  EXPECT_EQ(Case(with_init).sandbox().container("x", exited, 0).container("y", exited, 0).text(), "start a 0");
  // Once the pod runs, init containers that were removed since do not matter.
  EXPECT_EQ(Case(with_init).sandbox().container("a", running).text(), "");
  EXPECT_EQ(Case(R"("restartPolicy":"Never",)" + with_init).sandbox().container("x", exited, 1).text(), "stop");
  // In a new sandbox they run again.
  EXPECT_EQ(Case(with_init).sandbox().container("x", exited, 0).container("y", exited, 0).container("a", exited, 255).sandbox(1).text(), "start x 1");
}

TEST(Plan, SidecarsStartFirstStayAndDoNotHoldThePod) {
  EXPECT_EQ(Case(with_sidecar).sandbox().text(), "start s 0");
  EXPECT_EQ(Case(with_sidecar).sandbox().container("s", running).container("a", running).text(), "");
  EXPECT_EQ(Case(with_sidecar).sandbox().container("s", exited, 1).container("a", running).text(), "start s 1");
  EXPECT_EQ(Case(with_sidecar).sandbox().container("s", running).container("a", exited, 0).text(), "stop");
  EXPECT_EQ(Case(with_sidecar).sandbox().container("s", exited, 0).container("a", exited, 0).text(), "stop");
}

TEST(Plan, FailedProbesKillAndTheRestartIgnoresTheExitCode) {
  Case c(R"("restartPolicy":"OnFailure",)" + one);
  c.sandbox().container("a", running);
  c.memory.containers["a"].probed_id = "a0";
  c.memory.containers["a"].failed_probe = "liveness";
  EXPECT_EQ(c.text(), "kill a0 liveness");
  c.memory.containers["a"].probed_id = "an older one";
  EXPECT_EQ(c.text(), "");
  c.memory.containers["a"].restart_id = "a0";
  c.runtime.containers[0].state = exited;
  EXPECT_EQ(c.text(), "start a 1");
}

TEST(Plan, AChangedImageRestartsOnlyItsContainer) {
  Case c(two);
  c.sandbox().container("a", running).container("b", running);
  c.runtime.containers[0].hash = "of another image";
  EXPECT_EQ(c.text(), "kill b0 changed");
}

TEST(Plan, ContainersThatWereNeverStartedAreMadeAgain) {
  EXPECT_EQ(Case(one).sandbox().container("a", created).text(), "start a 1");
  EXPECT_EQ(Case(with_init).sandbox().container("x", created).text(), "start x 1");
}

// Whatever runs, the plan never starts what runs already, never both stops and starts, and names only containers of the spec.
TEST(Plan, HoldsItsRulesForRandomPods) {
  const uint64_t seed = 20240607;
  SCOPED_TRACE(seed);
  uint64_t state = seed;
  const auto next = [&](uint64_t below) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (state >> 33) % below;
  };
  for (int round = 0; round < 20000; ++round) {
    const char* policies[] = {"Always", "OnFailure", "Never"};
    Case c(fmt::format(R"("restartPolicy":"{}",)", policies[next(3)]) +
           (next(2) ? R"("initContainers":[{"name":"x","image":"i"},{"name":"s","image":"i","restartPolicy":"Always"}],)" : "") + two);
    for (uint64_t i = next(3); i > 0; --i) c.sandbox(static_cast<uint32_t>(c.runtime.sandboxes.size()), next(4) > 0);
    if (!c.runtime.sandboxes.empty())
      for (const char* name : {"a", "b", "x", "s"})
        for (uint64_t i = next(3); i > 0; --i)
          c.container(name, static_cast<ContainerState>(next(4)), static_cast<int>(next(2)), static_cast<uint32_t>(c.runtime.containers.size()), std::chrono::seconds(next(100)));
    if (next(2)) c.memory.containers["a"].restart = {10s, now - 20s};
    const Plan p = plan(c.pod(), c.runtime, c.memory, now);
    EXPECT_FALSE(p.stop_everything && (!p.starts.empty() || p.create_sandbox)) << c.text();
    EXPECT_FALSE(p.create_sandbox && !p.starts.empty()) << c.text();
    EXPECT_TRUE(p.starts.empty() || c.runtime.ready_sandbox());
    for (const StartContainer& s : p.starts) {
      const RuntimeContainer* newest = c.runtime.newest(s.name);
      const bool old_sandbox = newest && newest->sandbox_id != c.runtime.sandboxes[0].id;
      EXPECT_TRUE(!newest || newest->state != running || old_sandbox) << c.text();
      for (const RuntimeContainer& other : c.runtime.containers)
        if (newest && other.name == s.name) EXPECT_GT(s.attempt, newest->attempt);
    }
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace dure::pods
