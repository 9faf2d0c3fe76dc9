#include "cli/status.h"

#include <gtest/gtest.h>

#include "kinds/views/apps_v1.h"
#include "kinds/views/coordination_v1.h"
#include "kinds/views/core_v1.h"
#include "kinds/views/discovery_v1.h"
#include "schema/json.h"

namespace dure::cli {
namespace {

template <class Kind>
schema::Object object(const std::string& json) {
  auto decoded = schema::decode_json(SharedBytes(json), Kind::schema_type());
  EXPECT_TRUE(decoded) << json;
  return schema::share(std::move(*decoded));
}

namespace core = kinds::core_v1;
using core::Pod;

constexpr const char* kOld = R"("creationTimestamp":"2026-11-27T11:00:00Z")";

schema::Object node(const std::string& name, const std::string& status, const std::string& message = "") {
  return object<core::Node>(R"({"metadata":{"name":")" + name +
                            R"("},"status":{"conditions":[{"type":"Ready","status":")" + status + R"(","message":")" +
                            message + R"("}]}})");
}

schema::Object pod(const std::string& rest, const std::string& meta = "") {
  return object<Pod>(std::string(R"({"metadata":{"name":"web","namespace":"shop","uid":"u1","labels":{"app":"web"},)") +
                     kOld + meta + "}," + rest + "}");
}

ClusterView cluster() {
  ClusterView out;
  out.now = *parse_time("2026-11-27T12:00:00Z");
  out.nodes = {node("pi", "True"), node("attic", "True")};
  return out;
}

std::vector<std::string> told(const ClusterView& view) {
  std::vector<std::string> out;
  for (const StatusLine& line : explain(view))
    out.push_back(line.kind + " " + line.name + " " + line.state + ": " + line.why + " [" + line.code + "]");
  return out;
}

using Lines = std::vector<std::string>;

TEST(Status, AllIsWell) {
  ClusterView view = cluster();
  view.pods = {
      pod(R"("spec":{"nodeName":"pi"},"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]})")};
  EXPECT_EQ(told(view), Lines{});
  EXPECT_EQ(status_text(view, explain(view)), "all is well: 2 nodes Ready, 1 pods, 0 Services\n");
}

TEST(Status, Nodes) {
  ClusterView view = cluster();
  view.nodes = {
      node("pi", "Unknown", "Kubelet stopped posting node status."),
      node("attic", "False", "container runtime is down"), object<core::Node>(R"({"metadata":{"name":"new"}})"),
      object<core::Node>(R"({"metadata":{"name":"full"},"status":{"conditions":[{"type":"Ready","status":"True"},)"
                         R"({"type":"DiskPressure","status":"True","message":"2% free"}]}})")};
  view.leases = {object<kinds::coordination_v1::Lease>(
      R"({"metadata":{"name":"pi","namespace":"kube-node-lease"},"spec":{"renewTime":"2026-11-27T11:55:00.000000Z"}})")};
  view.answers = {{"pi", false}, {"attic", true}};
  EXPECT_EQ(
      told(view),
      (Lines{"node pi NotReady: its agent is silent; last heard of 5m ago; its tunnel is not connected [NodeSilent]",
             "node attic NotReady: container runtime is down; its tunnel is connected [NodeNotReady]",
             "node new NotReady: its agent never told how it is [NodeNeverReady]",
             "node full DiskPressure: 2% free [NodeDiskPressure]"}));
}

TEST(Status, PodsThatWait) {
  const std::vector<std::pair<std::string, std::string>> rows = {
      {R"("status":{"phase":"Pending","conditions":[{"type":"PodScheduled","status":"False","message":"0/2 nodes are available: 2 Insufficient cpu."}]})",
       "pod shop/web Pending: 0/2 nodes are available: 2 Insufficient cpu. [PodUnschedulable]"},
      {R"("status":{"phase":"Pending"})", "pod shop/web Pending: no scheduler has looked at it [PodUnseen]"},
      {R"("spec":{"volumes":[{"name":"d","persistentVolumeClaim":{"claimName":"data"}}]},"status":{"phase":"Pending"})",
       "pod shop/web Pending: its claim data has no volume [PodVolumeUnbound]"},
      {R"("spec":{"nodeName":"pi"},"status":{"phase":"Pending","containerStatuses":[{"name":"c","image":"nginx:x","state":{"waiting":{"reason":"ImagePullBackOff","message":"not found"}}}]})",
       "pod shop/web ImagePullBackOff: image nginx:x: not found [PodImage]"},
      {R"("spec":{"nodeName":"pi"},"status":{"phase":"Running","containerStatuses":[{"name":"c","restartCount":7,"state":{"waiting":{"reason":"CrashLoopBackOff"}},"lastState":{"terminated":{"exitCode":137,"reason":"OOMKilled"}}}]})",
       "pod shop/web CrashLoopBackOff: 7 times: container c ended with 137 (OOMKilled); kubectl logs -n shop web -c c "
       "--previous [PodCrashes]"},
      {R"("spec":{"nodeName":"pi"},"status":{"phase":"Pending","containerStatuses":[{"name":"c","state":{"waiting":{"reason":"CreateContainerConfigError","message":"configmap \"x\" not found"}}}]})",
       "pod shop/web CreateContainerConfigError: container c: configmap \"x\" not found [PodNotStarted]"},
      {R"("spec":{"nodeName":"pi"},"status":{"phase":"Running","conditions":[{"type":"Ready","status":"False","lastTransitionTime":"2026-11-27T11:30:00Z","message":"containers with unready status: [c]"}]})",
       "pod shop/web NotReady: containers with unready status: [c] [PodNotReady]"},
      {R"("spec":{"nodeName":"gone"},"status":{"phase":"Pending"})",
       "pod shop/web Pending: its node gone is NotReady [PodNodeNotReady]"},
      {R"("spec":{"nodeName":"pi"},"status":{"phase":"Pending"})",
       "pod shop/web Pending: node pi has not started it yet [PodNotStarted]"},
      {R"("spec":{"nodeName":"pi"},"status":{"phase":"Failed","reason":"Evicted","message":"the node was low on memory"})",
       "pod shop/web Failed: the node was low on memory [PodFailed]"},
  };
  for (const auto& [rest, expected] : rows) {
    ClusterView view = cluster();
    view.pods = {pod(rest)};
    EXPECT_EQ(told(view), Lines{expected});
  }
}

TEST(Status, WhatTheNodeWarnsOfIsTheReason) {
  ClusterView view = cluster();
  view.pods = {pod(R"("spec":{"nodeName":"pi"},"status":{"phase":"Pending"})")};
  auto event = [](const char* when, const char* message) {
    return object<core::Event>(
        std::string(
            R"({"metadata":{"name":"e","namespace":"shop"},"type":"Warning","reason":"FailedMount","message":")") +
        message + R"(","lastTimestamp":")" + when + R"(","involvedObject":{"kind":"Pod","uid":"u1"}})");
  };
  view.warnings = {event("2026-11-27T11:59:00Z", "no such disk"), event("2026-11-27T11:10:00Z", "older")};
  EXPECT_EQ(told(view), Lines{"pod shop/web Pending: FailedMount: no such disk [PodWarned]"});
}

TEST(Status, WhatIsOnItsWayIsNoTrouble) {
  ClusterView view = cluster();
  view.pods = {
      object<Pod>(
          R"({"metadata":{"name":"a","namespace":"b","creationTimestamp":"2026-11-27T11:59:55Z"},"status":{"phase":"Pending"}})"),
      pod(R"("status":{"phase":"Running"})", R"(,"deletionTimestamp":"2026-11-27T11:59:58Z")"),
      pod(R"("status":{"phase":"Succeeded"})"),
      pod(R"("spec":{"nodeName":"pi","initContainers":[{"name":"side","restartPolicy":"Always"}]},"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}],"initContainerStatuses":[{"name":"side","started":true,"state":{"running":{"startedAt":"2026-11-27T11:00:00Z"}}}]})")};
  EXPECT_EQ(told(view), Lines{});
}

TEST(Status, PodsThatDoNotEnd) {
  ClusterView view = cluster();
  view.nodes[0] = node("pi", "Unknown");
  view.pods = {pod(R"("spec":{"nodeName":"pi"},"status":{"phase":"Running"})",
                   R"(,"deletionTimestamp":"2026-11-27T11:50:00Z")")};
  EXPECT_EQ(told(view)[1],
            "pod shop/web Terminating: its node pi is not there to end it, 10m after its time [PodStuck]");
}

TEST(Status, WorkloadsAndClaims) {
  ClusterView view = cluster();
  view.deployments = {object<kinds::apps_v1::Deployment>(
      std::string(R"({"metadata":{"name":"web","namespace":"shop",)") + kOld +
      R"(},"spec":{"replicas":3},"status":{"readyReplicas":1,"conditions":[{"type":"ReplicaFailure","status":"True","message":"exceeded quota"}]}})")};
  view.claims = {
      object<core::PersistentVolumeClaim>(std::string(R"({"metadata":{"name":"data","namespace":"shop",)") + kOld +
                                          R"(},"spec":{"storageClassName":"fast"},"status":{"phase":"Pending"}})")};
  EXPECT_EQ(told(view), (Lines{"claim shop/data Unbound: no PersistentVolume of StorageClass fast fits [ClaimUnbound]",
                               "deployment shop/web 1/3: exceeded quota [ReplicasMissing]"}));
}

TEST(Status, ServicesWithoutEndpoints) {
  ClusterView view = cluster();
  auto service = [](const char* name, const char* app) {
    return object<core::Service>(std::string(R"({"metadata":{"name":")") + name + R"(","namespace":"shop",)" + kOld +
                                 R"(},"spec":{"selector":{"app":")" + app + R"("}}})");
  };
  view.services = {service("typo", "wbe"), service("unready", "web"), service("fine", "other"),
                   object<core::Service>(R"({"metadata":{"name":"kubernetes","namespace":"default"}})")};
  view.pods = {
      pod(R"("spec":{"nodeName":"pi"},"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]})")};
  view.endpoint_slices = {object<kinds::discovery_v1::EndpointSlice>(
      R"({"metadata":{"name":"x","namespace":"shop","labels":{"kubernetes.io/service-name":"fine"}},"addressType":"IPv4","endpoints":[{"addresses":["10.244.0.2"],"conditions":{"ready":true}}]})")};
  EXPECT_EQ(
      told(view),
      (Lines{"service shop/typo NoEndpoints: no pod has the labels app=wbe [ServiceSelectsNothing]",
             "service shop/unready NoEndpoints: 1 pods have the labels app=web and none is ready [ServiceNoneReady]"}));
}

TEST(Status, TheTable) {
  ClusterView view = cluster();
  view.nodes[0] = node("pi", "False", "no runtime");
  EXPECT_EQ(status_text(view, explain(view)),
            "KIND        NAME  STATE     WHY\n"
            "node        pi    NotReady  no runtime [NodeNotReady]\n");
}

}  // namespace
}  // namespace dure::cli
