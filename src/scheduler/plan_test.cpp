#include "scheduler/plan.h"

#include <gtest/gtest.h>

#include "kinds/views/core_v1.h"
#include "scheduler/plugins/plugins.h"

namespace dure::scheduler {
namespace {

using kinds::core_v1::Node;
using kinds::core_v1::Pod;

struct NodeMaker {
  explicit NodeMaker(std::string_view name, std::string_view cpu = "2", std::string_view memory = "2Gi") : document(Node::type()) {
    Node node(document);
    node.mutable_metadata().set_name(name);
    node.mutable_status().set_allocatable("cpu", cpu);
    node.mutable_status().set_allocatable("memory", memory);
    node.mutable_status().set_allocatable("pods", "110");
  }
  NodeMaker& taint(std::string_view key, std::string_view value, std::string_view effect) {
    auto taint = Node(document).mutable_spec().add_taints();
    taint.set_key(key);
    taint.set_value(value);
    taint.set_effect(effect);
    return *this;
  }
  NodeMaker& label(std::string_view key, std::string_view value) {
    Node(document).mutable_metadata().set_labels(key, value);
    return *this;
  }
  schema::Object make() const { return schema::share(document.clone()); }
  schema::Document document;
};

struct PodMaker {
  explicit PodMaker(std::string_view name) : document(Pod::type()) {
    Pod pod(document);
    pod.mutable_metadata().set_name(name);
    pod.mutable_metadata().set_namespace("default");
    pod.mutable_metadata().set_uid(name);
    pod.mutable_spec().add_containers().set_name("c");
  }
  Pod pod() { return Pod(document); }
  PodMaker& requests(std::string_view cpu, std::string_view memory) {
    auto container = *pod().mutable_spec().mutable_containers().begin();
    if (!cpu.empty()) container.mutable_resources().set_requests("cpu", cpu);
    if (!memory.empty()) container.mutable_resources().set_requests("memory", memory);
    return *this;
  }
  PodMaker& on(std::string_view node) {
    pod().mutable_spec().set_nodeName(node);
    return *this;
  }
  PodMaker& owner(std::string_view uid) {
    auto reference = pod().mutable_metadata().add_ownerReferences();
    reference.set_uid(uid);
    reference.set_controller(true);
    return *this;
  }
  PodMaker& host_port(int64_t port) {
    auto container = *pod().mutable_spec().mutable_containers().begin();
    container.add_ports().set_hostPort(port);
    return *this;
  }
  schema::Object make() const { return schema::share(document.clone()); }
  schema::Document document;
};

Decision decide_for(const PodMaker& pod, std::vector<schema::Object> nodes, std::vector<schema::Object> pods = {}) {
  return decide(needs_of(pod.make()), Snapshot(nodes, pods), 0);
}

TEST(Plan, NoNodes) { EXPECT_EQ(decide_for(PodMaker("p"), {}).message, "no nodes available to schedule pods"); }

TEST(Plan, SaysHowManyNodesRefusedForWhichReason) {
  const auto decision = decide_for(PodMaker("p").requests("3", "3Gi"),
                                   {NodeMaker("a").make(), NodeMaker("b", "8").make(),
                                    NodeMaker("c", "8", "8Gi").taint("dedicated", "gpu", "NoSchedule").make()});
  EXPECT_EQ(decision.node, "");
  EXPECT_EQ(decision.message,
            "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint {dedicated: gpu}, 2 Insufficient memory.");
}

TEST(Plan, RequestsOfPlacedPodsCount) {
  const auto placed = PodMaker("x").requests("1500m", "").on("a").make();
  EXPECT_EQ(decide_for(PodMaker("p").requests("1", ""), {NodeMaker("a").make()}, {placed}).message,
            "0/1 nodes are available: 1 Insufficient cpu.");
  EXPECT_EQ(decide_for(PodMaker("p").requests("500m", ""), {NodeMaker("a").make()}, {placed}).node, "a");
}

TEST(Plan, NodeSelectorAndAffinity) {
  auto wants_ssd = PodMaker("p");
  wants_ssd.pod().mutable_spec().set_nodeSelector("disk", "ssd");
  EXPECT_EQ(decide_for(std::move(wants_ssd), {NodeMaker("a").make(), NodeMaker("b").label("disk", "ssd").make()}).node, "b");

  auto wants_more = PodMaker("p");
  auto requirement = wants_more.pod().mutable_spec().mutable_affinity().mutable_nodeAffinity()
                         .mutable_requiredDuringSchedulingIgnoredDuringExecution().add_nodeSelectorTerms().add_matchExpressions();
  requirement.set_key("cores");
  requirement.set_operator("Gt");
  requirement.add_values("4");
  EXPECT_EQ(decide_for(std::move(wants_more), {NodeMaker("a").label("cores", "4").make()}).message,
            "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.");
}

TEST(Plan, TolerationsOpenTheDoor) {
  auto pod = PodMaker("p");
  auto toleration = pod.pod().mutable_spec().add_tolerations();
  toleration.set_key("dedicated");
  toleration.set_operator("Exists");
  EXPECT_EQ(decide_for(std::move(pod), {NodeMaker("a").taint("dedicated", "x", "NoExecute").make()}).node, "a");
}

TEST(Plan, UnschedulableNodesAndHostPorts) {
  NodeMaker cordoned("a");
  Node(cordoned.document).mutable_spec().set_unschedulable(true);
  const auto taken = PodMaker("x").host_port(80).on("b").make();
  EXPECT_EQ(decide_for(PodMaker("p").host_port(80), {cordoned.make(), NodeMaker("b").make()}, {taken}).message,
            "0/2 nodes are available: 1 node(s) didn't have free ports for the requested pod ports, 1 node(s) were unschedulable.");
}

TEST(Plan, HostPortsOfSidecarsCountThoseOfOtherInitContainersDoNot) {
  const auto with_init = [](std::string_view name, std::string_view policy) {
    PodMaker maker(name);
    auto init = maker.pod().mutable_spec().add_initContainers();
    init.set_name("first");
    if (!policy.empty()) init.set_restartPolicy(policy);
    init.add_ports().set_hostPort(80);
    return maker.on("a").make();
  };
  const std::vector<schema::Object> nodes = {NodeMaker("a").make()};
  EXPECT_EQ(decide_for(PodMaker("p").host_port(80), nodes, {with_init("x", "")}).node, "a");
  EXPECT_EQ(decide_for(PodMaker("p").host_port(80), nodes, {with_init("x", "Always")}).node, "");
}

TEST(Plan, ReplicasOfOneOwnerSpread) {
  const std::vector<schema::Object> nodes = {NodeMaker("a").make(), NodeMaker("b").make(), NodeMaker("c").make()};
  Snapshot snapshot(nodes, {});
  std::map<std::string, int> count;
  for (int i = 0; i < 9; ++i) {
    auto needs = std::make_shared<const PodNeeds>(needs_of(PodMaker("p" + std::to_string(i)).owner("rs").make()));
    const Decision decision = decide(*needs, snapshot, static_cast<uint64_t>(i));
    ASSERT_NE(decision.node, "");
    ++count[decision.node];
    snapshot.place(needs, decision.node);
  }
  EXPECT_EQ(count["a"], 3);
  EXPECT_EQ(count["b"], 3);
  EXPECT_EQ(count["c"], 3);
}

TEST(Plan, TheEmptierNodeWins) {
  const auto big = PodMaker("x").requests("1", "1Gi").on("a").make();
  EXPECT_EQ(decide_for(PodMaker("p").requests("100m", "64Mi"), {NodeMaker("a").make(), NodeMaker("b").make()}, {big}).node, "b");
}

TEST(Needs, InitContainersCountByTheirPeak) {
  PodMaker maker("p");
  maker.requests("500m", "");
  auto init = maker.pod().mutable_spec().add_initContainers();
  init.mutable_resources().set_requests("cpu", "2");
  auto sidecar = maker.pod().mutable_spec().add_initContainers();
  sidecar.set_restartPolicy("Always");
  sidecar.mutable_resources().set_requests("cpu", "300m");
  EXPECT_EQ(needs_of(maker.make()).requests.cpu_milli, 2000);
}

}  // namespace
}  // namespace dure::scheduler
