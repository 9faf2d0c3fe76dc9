#include "pods/status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pods/node_status.h"
#include "schema/json.h"

namespace dure::pods {
namespace {

using kinds::core_v1::Pod;
using kinds::core_v1::PodStatus;
using ::testing::HasSubstr;
constexpr WallTime now{1'700'000'000'000'000'000};

schema::Object pod_of(const std::string& spec, const std::string& status = "{}") {
  auto document = schema::decode_json(SharedBytes(R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"d","uid":"u","resourceVersion":"7","generation":2},"spec":{)" +
                                                  spec + R"(},"status":)" + status + "}"),
                                      Pod::schema_type());
  EXPECT_TRUE(document) << document.error().message;
  return schema::share(*std::move(document));
}

RuntimePod runtime_of(ContainerState state, int exit_code = 0, uint32_t attempt = 0) {
  RuntimePod out;
  out.sandboxes.push_back({"s", 0, true, now - 60s, {"10.0.0.5"}});
  RuntimeContainer c;
  c.id = "c1";
  c.name = "a";
  c.sandbox_id = "s";
  c.state = state;
  c.exit_code = exit_code;
  c.attempt = attempt;
  c.image = "i:1";
  c.image_id = "sha256:1";
  c.started_at = now - 50s;
  c.finished_at = state == ContainerState::exited ? now - 1s : WallTime{};
  c.created_at = now - 51s;
  out.containers.push_back(c);
  return out;
}

schema::Document status_of(const schema::Object& pod, const RuntimePod& runtime, const PodMemory& memory = {}, const StatusFacts& facts = {{"192.0.2.1"}}) {
  const Pod view(pod);
  return pod_status(view, runtime, memory, plan(view, runtime, memory, now), now, facts);
}

const std::string one = R"("containers":[{"name":"a","image":"i:1"}])";

TEST(Status, OfARunningPod) {
  const schema::Document document = status_of(pod_of(one), runtime_of(ContainerState::running));
  EXPECT_EQ(schema::to_json(document),
            R"({"observedGeneration":2,"phase":"Running","conditions":[)"
            R"({"type":"PodReadyToStartContainers","observedGeneration":2,"status":"True","lastProbeTime":null,"lastTransitionTime":"2023-11-14T22:13:20Z"},)"
            R"({"type":"Initialized","observedGeneration":2,"status":"True","lastProbeTime":null,"lastTransitionTime":"2023-11-14T22:13:20Z"},)"
            R"({"type":"Ready","observedGeneration":2,"status":"True","lastProbeTime":null,"lastTransitionTime":"2023-11-14T22:13:20Z"},)"
            R"({"type":"ContainersReady","observedGeneration":2,"status":"True","lastProbeTime":null,"lastTransitionTime":"2023-11-14T22:13:20Z"},)"
            R"({"type":"PodScheduled","observedGeneration":2,"status":"True","lastProbeTime":null,"lastTransitionTime":"2023-11-14T22:13:20Z"}],)"
            R"("hostIP":"192.0.2.1","hostIPs":[{"ip":"192.0.2.1"}],"podIP":"10.0.0.5","podIPs":[{"ip":"10.0.0.5"}],"startTime":"1970-01-01T00:00:00Z",)"
            R"("containerStatuses":[{"name":"a","state":{"running":{"startedAt":"2023-11-14T22:12:30Z"}},"lastState":{},"ready":true,"restartCount":0,)"
            R"("image":"i:1","imageID":"sha256:1","containerID":"containerd://c1","started":true}],"qosClass":"BestEffort"})");
}

TEST(Status, NothingToWriteWhenNothingChanged) {
  const schema::Object pod = pod_of(one);
  const RuntimePod runtime = runtime_of(ContainerState::running);
  const schema::Document first = status_of(pod, runtime);
  EXPECT_FALSE(status_patch(Pod(pod), first).empty());
  const schema::Object written = pod_of(one, schema::to_json(first));
  EXPECT_EQ(status_patch(Pod(written), status_of(written, runtime)), "");
}

TEST(Status, PatchHoldsOnlyWhatChangedAndIsBoundToTheObject) {
  const RuntimePod runtime = runtime_of(ContainerState::running);
  const schema::Object written = pod_of(one, schema::to_json(status_of(pod_of(one), runtime)));
  RuntimePod moved = runtime;
  moved.sandboxes[0].ips = {"10.0.0.6"};
  EXPECT_EQ(status_patch(Pod(written), status_of(written, moved)),
            R"({"status":{"podIP":"10.0.0.6","podIPs":[{"ip":"10.0.0.6"}]},"metadata":{"uid":"u","resourceVersion":"7"}})");
}

TEST(Status, ConditionsOfOthersStay) {
  const schema::Object pod = pod_of(one, R"({"conditions":[{"type":"DisruptionTarget","status":"True"}],"nominatedNodeName":"n9"})");
  const std::string json = schema::to_json(status_of(pod, runtime_of(ContainerState::running)));
  EXPECT_THAT(json, HasSubstr(R"({"type":"DisruptionTarget","status":"True")"));
  EXPECT_THAT(json, HasSubstr(R"("nominatedNodeName":"n9")"));
}

TEST(Status, PhasesByPolicyAndState) {
  struct Row {
    const char* policy;
    ContainerState state;
    int exit_code;
    const char* phase;
  };
  for (const Row& row : {Row{"Always", ContainerState::running, 0, "Running"}, Row{"Always", ContainerState::exited, 0, "Running"},
                         Row{"OnFailure", ContainerState::exited, 0, "Succeeded"}, Row{"OnFailure", ContainerState::exited, 1, "Running"},
                         Row{"Never", ContainerState::exited, 0, "Succeeded"}, Row{"Never", ContainerState::exited, 1, "Failed"},
                         Row{"Always", ContainerState::created, 0, "Pending"}}) {
    const schema::Object pod = pod_of(std::string(R"("restartPolicy":")") + row.policy + "\"," + one);
    const schema::Document document = status_of(pod, runtime_of(row.state, row.exit_code));
    EXPECT_EQ(PodStatus(document).phase(), row.phase) << row.policy << row.exit_code;
  }
}

TEST(Status, ATerminalPhaseStays) {
  const schema::Object pod = pod_of(one, R"({"phase":"Succeeded"})");
  EXPECT_EQ(PodStatus(status_of(pod, runtime_of(ContainerState::running))).phase(), "Succeeded");
}

TEST(Status, AnEndedPodHasNoContainerInDoubt) {
  const schema::Object pod = pod_of(one);
  const schema::Document document = status_of(pod, RuntimePod{}, {}, {.ended = true});
  EXPECT_EQ(PodStatus(document).phase(), "Failed");
  EXPECT_THAT(schema::to_json(document), HasSubstr("ContainerStatusUnknown"));
}

TEST(Status, WhatIsNotStartedAgainIsNotWaiting) {
  PodMemory memory;
  memory.containers["a"].waiting = Waiting{"RunContainerError", "no such program"};
  const auto seen = [&](const std::string& policy) {
    const schema::Object pod = pod_of(R"("restartPolicy":")" + policy + "\"," + one);
    const schema::Document document = status_of(pod, runtime_of(ContainerState::exited, 128), memory);
    const PodStatus status(document);
    const auto state = status.containerStatuses().front().state();
    return std::string(status.phase()) + (state.has_waiting() ? " waiting " : " ended ") + std::string(state.waiting().reason());
  };
  EXPECT_EQ(seen("Never"), "Failed ended ") << "phase and container say the same";
  EXPECT_EQ(seen("OnFailure"), "Running waiting RunContainerError");
  EXPECT_EQ(seen("Always"), "Running waiting RunContainerError");
}

TEST(Status, ContainersThatNeverHadTheirTurnAreNotLost) {
  const schema::Object pod = pod_of(R"("restartPolicy":"Never","initContainers":[{"name":"a","image":"i:1"},{"name":"b","image":"i:1"}],"containers":[{"name":"c","image":"i:1"}])");
  RuntimePod runtime = runtime_of(ContainerState::exited, 1);
  const schema::Document document = status_of(pod, runtime, {}, {.ended = true});
  EXPECT_EQ(PodStatus(document).phase(), "Failed");
  EXPECT_THAT(schema::to_json(document), Not(HasSubstr("ContainerStatusUnknown")));
  EXPECT_EQ(PodStatus(document).containerStatuses().front().state().waiting().reason(), "PodInitializing");
}

TEST(Status, ReadinessGatesAreWaitedFor) {
  const std::string gated = R"("readinessGates":[{"conditionType":"x/y"}],)" + one;
  const std::string json = schema::to_json(status_of(pod_of(gated), runtime_of(ContainerState::running)));
  EXPECT_THAT(json, HasSubstr(R"("reason":"ReadinessGatesNotReady","message":"corresponding condition of pod readiness gate \"x/y\" does not exist.")"));
  const schema::Object met = pod_of(gated, R"({"conditions":[{"type":"x/y","status":"True"}]})");
  EXPECT_THAT(schema::to_json(status_of(met, runtime_of(ContainerState::running))), Not(HasSubstr("ReadinessGatesNotReady")));
}

TEST(Status, LastStateSurvivesTheRemovalOfTheOldContainer) {
  const schema::Object pod = pod_of(one, R"({"containerStatuses":[{"name":"a","restartCount":2,"lastState":{"terminated":{"exitCode":9,"reason":"Error"}}}]})");
  EXPECT_THAT(schema::to_json(status_of(pod, runtime_of(ContainerState::running, 0, 3))), HasSubstr(R"("lastState":{"terminated":{"exitCode":9)"));
}

TEST(NodeDocument, ANodeWithoutAnAddressIsNotReadyAndSaysWhy) {
  NodeOptions options;
  options.name = "n1";
  RuntimeFacts runtime{"containerd", "1.6.20", true, true, true, "", ""};
  const std::string unready = schema::to_json(node_document({}, runtime, options, now, nullptr));
  EXPECT_THAT(unready, HasSubstr(R"("reason":"KubeletNotReady","message":"node address is not known yet)"));
  EXPECT_THAT(unready, HasSubstr(R"("addresses":[{"type":"Hostname","address":"n1"}])"));
  EXPECT_TRUE(options.ips.set({"10.245.0.1"}));
  EXPECT_FALSE(options.ips.set({"10.245.0.1"})) << "nothing new";
  const std::string ready = schema::to_json(node_document({}, runtime, options, now, nullptr));
  EXPECT_THAT(ready, HasSubstr(R"("reason":"KubeletReady")"));
  EXPECT_THAT(ready, HasSubstr(R"("addresses":[{"type":"InternalIP","address":"10.245.0.1"})"));
}

TEST(NodeDocument, ReadyFollowsTheRuntimeAndItsNetwork) {
  MachineFacts machine;
  machine.cpus = 4;
  machine.memory_bytes = 8ll << 30;
  machine.memory_available = 4ll << 30;
  machine.disk_free = 10ull << 30;
  machine.architecture = "amd64";
  NodeOptions options;
  options.name = "n1";
  options.ips = {"192.0.2.1"};
  RuntimeFacts runtime{"containerd", "1.6.20", true, true, false, "", "NetworkReady=false reason:NetworkPluginNotReady message:cni plugin not initialized"};
  const std::string unready = schema::to_json(node_document(machine, runtime, options, now, nullptr));
  EXPECT_THAT(unready, HasSubstr(R"("reason":"KubeletNotReady","message":"container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:cni plugin not initialized")"));
  runtime.network_ready = true;
  const schema::Document ready = node_document(machine, runtime, options, now, nullptr);
  EXPECT_THAT(schema::to_json(ready), HasSubstr(R"("reason":"KubeletReady","message":"kubelet is posting ready status")"));
  EXPECT_THAT(schema::to_json(ready), HasSubstr(R"("allocatable":{"cpu":"4","ephemeral-storage":"9663676416","memory":"8092Mi","pods":"110"})"));
  EXPECT_THAT(schema::to_json(ready), HasSubstr(R"("addresses":[{"type":"InternalIP","address":"192.0.2.1"},{"type":"Hostname","address":"n1"}])"));
}

}  // namespace
}  // namespace dure::pods
