// Namespaces, garbage, endpoints, nodes, certificates and tokens against the real resource path.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "controllers/conditions.h"
#include "controllers/endpoint_plan.h"
#include "controllers/node_rules.h"
#include "controllers/test_world.h"
#include "kinds/views/certificates_v1.h"

namespace dure::controllers {
namespace {

namespace certificates = kinds::certificates_v1;

std::string named(std::string_view name, std::string_view more = "") {
  return R"({"metadata":{"name":")" + std::string(name) + "\"" + std::string(more) + "}}";
}

std::string owned_by(const Object& owner, std::string_view api_version, std::string_view kind, bool blocks = false) {
  return R"(,"ownerReferences":[{"apiVersion":")" + std::string(api_version) + R"(","kind":")" + std::string(kind) +
         R"(","name":")" + std::string(client::name_of(owner)) + R"(","uid":")" + std::string(client::uid_of(owner)) +
         R"(","blockOwnerDeletion":)" + (blocks ? "true" : "false") + "}]";
}

TEST(Namespaces, GetAnAccountAndTheRootCa) {
  World world(1, {.root_ca_pem = "PEM"});
  world.settle();
  EXPECT_NE(world.server.get(core::serviceaccounts, "default"), nullptr);
  const Object map = world.server.get(core::configmaps, "kube-root-ca.crt");
  ASSERT_NE(map, nullptr);
  EXPECT_EQ(core::ConfigMap(map).data().get("ca.crt"), "PEM");
  world.server.patch(core::configmaps, "kube-root-ca.crt", R"({"data":{"ca.crt":"forged"}})");
  world.server.remove(core::serviceaccounts, "default");
  world.settle();
  EXPECT_EQ(core::ConfigMap(world.server.get(core::configmaps, "kube-root-ca.crt")).data().get("ca.crt"), "PEM");
  EXPECT_NE(world.server.get(core::serviceaccounts, "default"), nullptr);
}

TEST(Namespaces, AreEmptiedAndGo) {
  for (const uint64_t seed : {1, 2, 3}) {
    World world(seed, {.root_ca_pem = "PEM"});
    world.add_node("n1");
    world.server.make(core::namespaces, named("shop"));
    world.settle();
    world.server.make(apps::deployments, R"({"metadata":{"name":"web"},"spec":{"replicas":3,"selector":{"matchLabels":{"app":"web"}},"template":)" +
                                             pod_template_json("web") + "}}", "shop");
    world.server.make(core::services, R"({"metadata":{"name":"web"},"spec":{"selector":{"app":"web"},"ports":[{"port":80}]}})", "shop");
    world.server.make(core::configmaps, named("stuck", R"(,"finalizers":["example.com/wait"])"), "shop");
    world.converge();
    ASSERT_EQ(world.server.list(core::pods, "shop").size(), 3u);
    world.server.remove(core::namespaces, "shop");
    world.converge();
    world.pass(5s);
    const Object leaving = world.server.get(core::namespaces, "shop");
    ASSERT_NE(leaving, nullptr);
    EXPECT_EQ(world.server.list(core::pods, "shop").size(), 0u);
    const Node* status = leaving->root()->find("status");
    EXPECT_EQ(find_condition(status, "NamespaceContentRemaining")->message,
              "Some resources are remaining: configmaps has 1 resource instances");
    EXPECT_EQ(find_condition(status, "NamespaceFinalizersRemaining")->message,
              "Some content in the namespace has finalizers remaining: example.com/wait in 1 resource instances");
    world.restart();
    world.server.patch(core::configmaps, "stuck", R"({"metadata":{"finalizers":null}})", "", "shop");
    world.converge();
    world.pass(3s);
    EXPECT_EQ(world.server.get(core::namespaces, "shop"), nullptr) << "seed " << seed;
  }
}

TEST(Garbage, BackgroundDeletionTakesDependentsOfDependents) {
  World world;
  const Object a = world.server.make(core::configmaps, named("a"));
  const Object b = world.server.make(core::configmaps, named("b", owned_by(a, "v1", "ConfigMap")));
  world.server.make(core::secrets, named("c", owned_by(b, "v1", "ConfigMap")));
  world.settle();
  world.server.remove(core::configmaps, "a");
  world.settle();
  EXPECT_EQ(world.server.get(core::configmaps, "b"), nullptr);
  EXPECT_EQ(world.server.get(core::secrets, "c"), nullptr);
}

TEST(Garbage, TwoOwnersOneGoneKeepsTheObject) {
  World world;
  const Object a = world.server.make(core::configmaps, named("a"));
  const Object b = world.server.make(core::configmaps, named("b"));
  auto one = [](const Object& owner) {
    return R"({"apiVersion":"v1","kind":"ConfigMap","name":")" + std::string(client::name_of(owner)) + R"(","uid":")" +
           std::string(client::uid_of(owner)) + R"("})";
  };
  world.server.make(core::configmaps, named("c", R"(,"ownerReferences":[)" + one(a) + "," + one(b) + "]"));
  world.settle();
  world.server.remove(core::configmaps, "a");
  world.settle();
  const Object c = world.server.get(core::configmaps, "c");
  ASSERT_NE(c, nullptr);
  ASSERT_EQ(client::owners_of(c).size(), 1u);
  EXPECT_EQ(client::owners_of(c)[0].name, "b");
}

TEST(Garbage, AnOwnerThatNeverWasMeansGone) {
  World world;
  world.settle();
  world.server.make(core::configmaps, named("c", R"(,"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"ghost","uid":"no-such"}])"));
  world.server.make(core::configmaps, named("d", R"(,"ownerReferences":[{"apiVersion":"example.com/v1","kind":"Thing","name":"x","uid":"y"}])"));
  world.settle();
  EXPECT_EQ(world.server.get(core::configmaps, "c"), nullptr);
  EXPECT_NE(world.server.get(core::configmaps, "d"), nullptr);  // a kind nobody knows here
}

TEST(Garbage, ANameMadeAnewIsNotTheOwner) {
  World world;
  const Object a = world.server.make(core::configmaps, named("a"));
  world.server.make(core::configmaps, named("b", owned_by(a, "v1", "ConfigMap")));
  world.server.remove(core::configmaps, "a");
  world.server.make(core::configmaps, named("a"));
  world.settle();
  EXPECT_NE(world.server.get(core::configmaps, "a"), nullptr);
  EXPECT_EQ(world.server.get(core::configmaps, "b"), nullptr);
}

TEST(Garbage, ForegroundWaitsForThoseThatBlock) {
  World world;
  const Object a = world.server.make(core::configmaps, named("a"));
  world.server.make(core::configmaps, named("b", owned_by(a, "v1", "ConfigMap", true) + R"(,"finalizers":["example.com/wait"])"));
  world.settle();
  world.server.remove(core::configmaps, "a", {.propagation = client::Propagation::foreground});
  world.settle();
  EXPECT_TRUE(client::is_terminating(world.server.get(core::configmaps, "a")));
  EXPECT_TRUE(client::is_terminating(world.server.get(core::configmaps, "b")));
  world.restart();
  world.server.patch(core::configmaps, "b", R"({"metadata":{"finalizers":null}})");
  world.settle();
  EXPECT_EQ(world.server.get(core::configmaps, "b"), nullptr);
  EXPECT_EQ(world.server.get(core::configmaps, "a"), nullptr);
}

TEST(Garbage, OrphansAreSetFree) {
  World world;
  const Object a = world.server.make(core::configmaps, named("a"));
  world.server.make(core::configmaps, named("b", owned_by(a, "v1", "ConfigMap")));
  world.settle();
  world.server.remove(core::configmaps, "a", {.propagation = client::Propagation::orphan});
  world.settle();
  EXPECT_EQ(world.server.get(core::configmaps, "a"), nullptr);
  const Object b = world.server.get(core::configmaps, "b");
  ASSERT_NE(b, nullptr);
  EXPECT_TRUE(client::owners_of(b).empty());
}

TEST(Garbage, ADeploymentGoesWithItsPods) {
  World world;
  world.add_node("n1");
  world.server.make(apps::deployments, R"({"metadata":{"name":"web"},"spec":{"replicas":3,"selector":{"matchLabels":{"app":"web"}},"template":)" +
                                           pod_template_json("web") + "}}");
  world.converge();
  ASSERT_EQ(world.living().size(), 3u);
  world.server.remove(apps::deployments, "web", {.propagation = client::Propagation::foreground});
  world.converge();
  EXPECT_EQ(world.pods().size(), 0u);
  EXPECT_EQ(world.server.list(apps::replicasets).size(), 0u);
  EXPECT_EQ(world.server.get(apps::deployments, "web"), nullptr);
}

struct Services : ::testing::Test {
  World world;
  void SetUp() override {
    world.add_node("n1", R"({"topology.kubernetes.io/zone":"attic"})");
    world.server.make(core::services, R"({"metadata":{"name":"web"},"spec":{"selector":{"app":"web"},
        "ports":[{"name":"http","port":80,"targetPort":"web"}]}})");
  }
  void make_pods(int count) {
    for (int i = 0; i < count; ++i)
      world.server.make(core::pods, R"({"metadata":{"name":"p)" + std::to_string(i) + R"(","labels":{"app":"web"}},
          "spec":{"containers":[{"name":"c","image":"i","ports":[{"name":"web","containerPort":8080}]}]}})");
  }
  std::vector<Object> slices() { return world.server.list(discovery::endpointslices, "default"); }
};

// A database outside of the cluster.
TEST_F(Services, EndpointsKeptByHandAreMirrored) {
  const std::string subsets = R"("subsets":[{"addresses":[{"ip":"192.0.2.7"}],"ports":[{"port":5432}]}])";
  world.server.make(core::services, R"({"metadata":{"name":"db"},"spec":{"ports":[{"port":5432}]}})");
  world.server.make(core::endpoints, R"({"metadata":{"name":"db"},)" + subsets + "}");
  world.server.make(core::endpoints, R"({"metadata":{"name":"alone"},)" + subsets + "}");
  world.converge();
  const auto of_db = [&] {
    std::vector<Object> out;
    for (const Object& slice : slices())
      if (client::label(slice, "kubernetes.io/service-name") != "web") out.push_back(slice);
    return out;
  };
  ASSERT_EQ(of_db().size(), 1u);
  EXPECT_EQ(client::label(of_db()[0], "kubernetes.io/service-name"), "db");
  EXPECT_EQ(ports_of(of_db()[0]).at(0).port, 5432);
  EXPECT_EQ(members_in(of_db()[0]).at(0).address, "192.0.2.7");
  EXPECT_TRUE(members_in(of_db()[0]).at(0).ready);
  world.server.client->remove(core::endpoints, {"default", "db"}).value();
  world.converge();
  EXPECT_TRUE(of_db().empty());
}

TEST_F(Services, HaveSlicesAndEndpoints) {
  world.converge();
  ASSERT_EQ(slices().size(), 1u);  // an empty one
  make_pods(2);
  world.converge();
  ASSERT_EQ(slices().size(), 1u);
  const Object slice = slices()[0];
  EXPECT_EQ(client::label(slice, "kubernetes.io/service-name"), "web");
  EXPECT_EQ(client::label(slice, "endpointslice.kubernetes.io/managed-by"), "endpointslice-controller.k8s.io");
  ASSERT_EQ(ports_of(slice).size(), 1u);
  EXPECT_EQ(ports_of(slice)[0].port, 8080);
  const auto members = members_in(slice);
  ASSERT_EQ(members.size(), 2u);
  EXPECT_TRUE(members[0].ready);
  EXPECT_EQ(members[0].zone, "attic");
  EXPECT_EQ(members[0].node, "n1");
  const Object legacy = world.server.get(core::endpoints, "web");
  ASSERT_EQ(core::Endpoints(legacy).subsets().size(), 1u);
  EXPECT_EQ(core::Endpoints(legacy).subsets().front().addresses().size(), 2u);

  world.dies_at_once = false;
  world.server.remove(core::pods, "p0");
  world.converge();
  for (const Member& member : members_in(slices()[0])) {
    EXPECT_EQ(member.terminating, member.pod_name == "p0");
    EXPECT_EQ(member.ready, member.pod_name != "p0");
  }
  world.dies_at_once = true;
  world.converge();
  EXPECT_EQ(members_in(slices()[0]).size(), 1u);
}

TEST_F(Services, FillSlicesOfAHundred) {
  make_pods(230);
  world.converge();
  std::vector<size_t> sizes;
  for (const Object& slice : slices()) sizes.push_back(members_in(slice).size());
  size_t total = 0;
  for (const size_t size : sizes) {
    EXPECT_LE(size, 100u);
    total += size;
  }
  EXPECT_EQ(total, 230u);
  EXPECT_EQ(sizes.size(), 3u);
}

TEST_F(Services, HintsFollowTheWishAndTheZonesOfNodes) {
  world.server.patch(core::services, "web", R"({"spec":{"trafficDistribution":"PreferSameNode"}})");
  make_pods(1);
  world.converge();
  ASSERT_EQ(members_in(slices()[0]).size(), 1u);
  EXPECT_EQ(members_in(slices()[0])[0].hint_zones, std::vector<std::string>{"attic"});
  EXPECT_EQ(members_in(slices()[0])[0].hint_node, "n1");
  // The node is carried to another site.
  world.server.patch(core::nodes, "n1", R"({"metadata":{"labels":{"topology.kubernetes.io/zone":"cellar"}}})");
  world.converge();
  EXPECT_EQ(members_in(slices()[0])[0].zone, "cellar");
  EXPECT_EQ(members_in(slices()[0])[0].hint_zones, std::vector<std::string>{"cellar"});
  world.server.patch(core::services, "web", R"({"spec":{"trafficDistribution":null}})");
  world.converge();
  EXPECT_TRUE(members_in(slices()[0])[0].hint_zones.empty());
  EXPECT_TRUE(members_in(slices()[0])[0].hint_node.empty());
}

TEST_F(Services, NotReadyIsSaidAndPublishedOnWish) {
  world.ready = false;
  make_pods(1);
  world.converge();
  EXPECT_FALSE(members_in(slices()[0])[0].ready);
  EXPECT_EQ(core::Endpoints(world.server.get(core::endpoints, "web")).subsets().front().notReadyAddresses().size(), 1u);
  world.server.patch(core::services, "web", R"({"spec":{"publishNotReadyAddresses":true}})");
  world.converge();
  EXPECT_TRUE(members_in(slices()[0])[0].ready);
  EXPECT_FALSE(members_in(slices()[0])[0].serving);
}

TEST(NodesLife, SilenceIsNoticedTaintedAndPodsLeave) {
  World world;
  world.add_node("n1");
  world.add_node("n2");
  world.server.make(apps::replicasets, R"({"metadata":{"name":"x"},"spec":{"replicas":2,"selector":{"matchLabels":{"app":"x"}},"template":
      {"metadata":{"labels":{"app":"x"}},"spec":{"containers":[{"name":"c","image":"i"}],"tolerations":[
      {"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute","tolerationSeconds":30}]}}}})");
  world.converge();
  auto live_for = [&](int seconds, std::set<std::string> alive) {
    for (int i = 0; i < seconds; i += 5) {
      for (const std::string& node : alive) world.renew_lease(node);
      world.pass(5s, 5s);
    }
  };
  live_for(60, {"n1", "n2"});
  EXPECT_TRUE(is_condition_true(world.server.get(core::nodes, "n2")->root()->find("status"), "Ready"));

  world.nodes.erase("n2");
  live_for(30, {"n1"});
  EXPECT_TRUE(is_condition_true(world.server.get(core::nodes, "n2")->root()->find("status"), "Ready"));
  live_for(40, {"n1"});
  Object node = world.server.get(core::nodes, "n2");
  const auto ready = find_condition(node->root()->find("status"), "Ready");
  EXPECT_EQ(ready->status, "Unknown");
  EXPECT_EQ(ready->reason, "NodeStatusUnknown");
  EXPECT_TRUE(has_taint(core::Node(node).spec(), "node.kubernetes.io/unreachable", "NoSchedule"));
  EXPECT_TRUE(has_taint(core::Node(node).spec(), "node.kubernetes.io/unreachable", "NoExecute"));
  EXPECT_EQ(world.living("app=x").size(), 2u);
  live_for(40, {"n1"});
  size_t on_n1 = 0;
  for (const Object& pod : world.living("app=x")) on_n1 += core::Pod(pod).spec().nodeName() == "n1";
  EXPECT_EQ(on_n1, 2u);  // the tolerated time is over

  // It comes back.
  world.server.patch(core::nodes, "n2", R"({"status":{"conditions":[{"type":"Ready","status":"True","reason":"KubeletReady",
      "lastHeartbeatTime":")" + world.now() + R"("}]}})", "status");
  world.nodes.insert("n2");
  world.converge();
  node = world.server.get(core::nodes, "n2");
  EXPECT_TRUE(core::Node(node).spec().taints().empty());
}

TEST(NodesLife, NobodyIsEvictedWhenAllAreSilent) {
  World world;
  world.add_node("n1");
  world.server.make(core::pods, R"({"metadata":{"name":"p"},"spec":{"nodeName":"n1","containers":[{"name":"c","image":"i"}]}})");
  world.pass(3min, 5s);
  const Object node = world.server.get(core::nodes, "n1");
  EXPECT_TRUE(has_taint(core::Node(node).spec(), "node.kubernetes.io/unreachable", "NoSchedule"));
  EXPECT_FALSE(has_taint(core::Node(node).spec(), "node.kubernetes.io/unreachable", "NoExecute"));
  EXPECT_NE(world.server.get(core::pods, "p"), nullptr);
}

TEST(NodesLife, ALaptopMaySleepForADay) {
  World world;
  world.add_node("server");
  world.add_node("box", R"({"dure.dev/class":"remote"})");
  world.add_node("laptop", R"({"dure.dev/class":"laptop"})");
  auto silent_for = [&](Duration time) {
    world.nodes = {"server"};
    for (Duration done = Duration::zero(); done < time; done += 30s) {
      world.renew_lease("server");
      world.pass(30s, 30s);
    }
  };
  auto evicts = [&](const char* name) {
    return has_taint(core::Node(world.server.get(core::nodes, name)).spec(), "node.kubernetes.io/unreachable", "NoExecute");
  };
  silent_for(5min);
  for (const char* name : {"box", "laptop"}) {
    const Object node = world.server.get(core::nodes, name);
    EXPECT_TRUE(has_taint(core::Node(node).spec(), "node.kubernetes.io/unreachable", "NoSchedule")) << name;
    EXPECT_FALSE(evicts(name)) << name;
  }
  silent_for(1h);
  EXPECT_TRUE(evicts("box"));
  EXPECT_FALSE(evicts("laptop"));
  silent_for(24h);
  EXPECT_TRUE(evicts("laptop"));
}

TEST(NodesLife, NobodyIsEvictedWhenOnlyTheServersOwnSiteIsHeard) {
  Options options;
  options.control_plane_node = "server";
  World world(1, options);
  world.add_node("server", R"({"topology.kubernetes.io/zone":"home"})");
  world.add_node("farm", R"({"topology.kubernetes.io/zone":"farm"})");
  world.add_node("office", R"({"topology.kubernetes.io/zone":"office"})");
  auto heard = [&](std::set<std::string> alive, Duration time) {
    for (Duration done = Duration::zero(); done < time; done += 5s) {
      for (const std::string& node : alive) world.renew_lease(node);
      world.pass(5s, 5s);
    }
  };
  auto evicts = [&](const char* name) {
    return has_taint(core::Node(world.server.get(core::nodes, name)).spec(), "node.kubernetes.io/unreachable", "NoExecute");
  };
  world.settle();
  EXPECT_TRUE(core::Node(world.server.get(core::nodes, "server")).metadata().labels().contains(control_plane_label));
  heard({"server"}, 10min);
  EXPECT_FALSE(evicts("farm")) << "our own uplink is cut";
  EXPECT_FALSE(evicts("office"));
  // The uplink is back, and one of them is really away.
  world.server.patch(core::nodes, "office", R"({"status":{"conditions":[{"type":"Ready","status":"True"}]}})", "status");
  heard({"server", "office"}, 3min);
  EXPECT_TRUE(evicts("farm"));
  EXPECT_FALSE(evicts("office"));
}

TEST(NodesLife, ANewcomerKeepsItsTaintUntilItIsReady) {
  World world;
  world.server.make(core::nodes, R"({"metadata":{"name":"n1"},"spec":{"taints":[{"key":"node.kubernetes.io/not-ready","effect":"NoSchedule"}]}})");
  world.settle();
  EXPECT_TRUE(has_taint(core::Node(world.server.get(core::nodes, "n1")).spec(), "node.kubernetes.io/not-ready", "NoSchedule"));
  world.server.patch(core::nodes, "n1", R"({"status":{"conditions":[{"type":"Ready","status":"True"}]}})", "status");
  world.settle();
  EXPECT_TRUE(core::Node(world.server.get(core::nodes, "n1")).spec().taints().empty());
}

// kubectl writes no timeAdded.
TEST(NodesLife, ATaintOfAPersonLeavesPodsTheirTime) {
  World world;
  world.add_node("n1");
  world.server.make(core::pods,
                    R"({"metadata":{"name":"p"},"spec":{"nodeName":"n1","containers":[{"name":"c","image":"i"}],
      "tolerations":[{"key":"repair","operator":"Exists","effect":"NoExecute","tolerationSeconds":60}]}})");
  world.converge();
  auto pass = [&](Duration time) {
    for (Duration done = Duration::zero(); done < time; done += 5s) {
      world.renew_lease("n1");
      world.pass(5s, 5s);
    }
  };
  world.server.patch(core::nodes, "n1", R"({"spec":{"taints":[{"key":"repair","effect":"NoExecute"}]}})");
  pass(50s);
  EXPECT_EQ(world.living().size(), 1u);
  pass(30s);
  EXPECT_EQ(world.living().size(), 0u);
}

TEST(NodesLife, ANodeThatSaysItIsNotReadyKnowsItsPodsItself) {
  World world;
  world.add_node("n1");
  world.server.make(core::pods,
                    R"({"metadata":{"name":"p"},"spec":{"nodeName":"n1","tolerations":[{"operator":"Exists"}],
      "containers":[{"name":"c","image":"i"}]}})");
  world.converge();
  world.server.patch(core::nodes, "n1", R"({"status":{"conditions":[{"type":"Ready","status":"False"}]}})", "status");
  for (int i = 0; i < 6; ++i) {
    world.renew_lease("n1");
    world.settle();
    EXPECT_TRUE(is_ready(core::Pod(world.server.get(core::pods, "p"))));
    world.pass(5s, 5s);
  }
}

TEST(NodesLife, CordonIsATaint) {
  World world;
  world.add_node("n1");
  world.settle();
  world.server.patch(core::nodes, "n1", R"({"spec":{"unschedulable":true}})");
  world.settle();
  EXPECT_TRUE(has_taint(core::Node(world.server.get(core::nodes, "n1")).spec(), "node.kubernetes.io/unschedulable", "NoSchedule"));
  world.server.patch(core::nodes, "n1", R"({"spec":{"unschedulable":null}})");
  world.settle();
  EXPECT_TRUE(core::Node(world.server.get(core::nodes, "n1")).spec().taints().empty());
}

TEST(NodesLife, EveryNodeGetsItsOwnPodRange) {
  World world(1, {.cluster_cidrs = {"10.244.0.0/16", "fd00::/48"}});
  world.server.make(core::nodes, R"({"metadata":{"name":"n0"},"spec":{"podCIDR":"10.244.1.0/24","podCIDRs":["10.244.1.0/24"]}})");
  for (const char* name : {"n1", "n2", "n3"}) world.server.make(core::nodes, named(name));
  world.settle();
  std::set<std::string> ranges;
  for (const Object& node : world.server.list(core::nodes)) ranges.emplace(core::Node(node).spec().podCIDR());
  EXPECT_EQ(ranges, (std::set<std::string>{"10.244.0.0/24", "10.244.1.0/24", "10.244.2.0/24", "10.244.3.0/24"}));
  EXPECT_EQ(core::Node(world.server.get(core::nodes, "n1")).spec().podCIDRs().size(), 2u);
  world.server.remove(core::nodes, "n2");
  world.restart();
  world.server.make(core::nodes, named("n4"));
  world.settle();
  EXPECT_EQ(ranges.count(std::string(core::Node(world.server.get(core::nodes, "n4")).spec().podCIDR())), 1u);
}

TEST(PodSweeping, PodsOfAGoneNodeGo) {
  World world;
  world.add_node("n1");
  world.server.make(core::pods, R"({"metadata":{"name":"p"},"spec":{"nodeName":"n1","containers":[{"name":"c","image":"i"}]}})");
  world.converge();
  world.nodes.clear();
  world.server.remove(core::nodes, "n1");
  world.pass(20s);
  EXPECT_NE(world.server.get(core::pods, "p"), nullptr);
  world.pass(40s);
  EXPECT_EQ(world.server.get(core::pods, "p"), nullptr);
}

TEST(PodSweeping, EachTimeANodeGoesItHasItsGrace) {
  World world;
  auto come_and_go = [&] {
    world.add_node("n1");
    world.server.make(core::pods,
                      R"({"metadata":{"name":"p"},"spec":{"nodeName":"n1","containers":[{"name":"c","image":"i"}]}})");
    world.converge();
    world.nodes.clear();
    world.server.remove(core::nodes, "n1");
    world.pass(30s);
    EXPECT_NE(world.server.get(core::pods, "p"), nullptr);
    world.pass(30s);
    EXPECT_EQ(world.server.get(core::pods, "p"), nullptr);
  };
  come_and_go();
  come_and_go();
}

TEST(PodSweeping, FinishedOnesBeyondTheNumber) {
  Options options;
  options.pod_gc.terminated_max = 3;
  World world(1, options);
  world.add_node("n1");
  world.phase_of = [](const Object&) { return std::optional<std::string>("Succeeded"); };
  for (int i = 0; i < 6; ++i)
    world.server.make(core::pods, R"({"metadata":{"name":"p)" + std::to_string(i) + R"("},"spec":{"containers":[{"name":"c","image":"i"}]}})");
  world.converge();
  EXPECT_EQ(world.pods().size(), 3u);
}

TEST(Tokens, GoWhenTheyHaveExpired) {
  World world;
  auto token = [&](const char* name, Duration life) {
    const std::string expires = base64_encode(format_time(world.server.executor.wall_now() + life));
    world.server.make(core::secrets, R"({"metadata":{"name":")" + std::string(name) + R"("},"type":"bootstrap.kubernetes.io/token",
        "data":{"expiration":")" + expires + R"("}})", "kube-system");
  };
  token("bootstrap-token-aaaaaa", 1h);
  token("bootstrap-token-bbbbbb", 24h);
  world.settle();
  world.server.executor.advance(2h);
  EXPECT_EQ(world.server.get(core::secrets, "bootstrap-token-aaaaaa", "kube-system"), nullptr);
  EXPECT_NE(world.server.get(core::secrets, "bootstrap-token-bbbbbb", "kube-system"), nullptr);
}

struct BootstrapTokens : ::testing::Test {
  World world{1,
              {.token_keys = {
                   .sign = [](std::string_view id, std::string_view secret,
                              std::string_view text) { return fmt::format("{}/{}/{}", id, secret, text); },
                   .digest = [](std::string_view id, std::string_view secret) { return fmt::format("#{}{}", id, secret); }}}};
  void token(std::string_view id, std::optional<Duration> life, std::string_view signing = "true") {
    std::string data = fmt::format(R"("token-id":"{}","token-secret":"{}","usage-bootstrap-signing":"{}")",
                                   base64_encode(id), base64_encode("s3cret"), base64_encode(signing));
    if (life) data += fmt::format(R"(,"expiration":"{}")", base64_encode(format_time(world.server.executor.wall_now() + *life)));
    world.server.make(core::secrets, fmt::format(R"({{"metadata":{{"name":"bootstrap-token-{}"}},"type":"bootstrap.kubernetes.io/token","data":{{{}}}}})", id, data), "kube-system");
  }
  void publish(std::string_view text) {
    world.server.make(core::configmaps, fmt::format(R"({{"metadata":{{"name":"cluster-info"}},"data":{{"kubeconfig":"{}"}}}})", text), "kube-public");
  }
  std::string info(std::string_view key) {
    world.settle();
    return std::string(core::ConfigMap(world.server.get(core::configmaps, "cluster-info", "kube-public")).data().get(key));
  }
  std::string memory(std::string_view id) {
    const Object secret = world.server.get(core::secrets, std::string(expired_tokens_name), "kube-system");
    return secret ? base64_decode(core::Secret(secret).data().get(id)).value_or("") : std::string();
  }
};

TEST_F(BootstrapTokens, SignClusterInfoAsLongAsTheyLive) {
  world.server.make(core::namespaces, named("kube-public"));
  token("aaaaaa", 1h);
  token("bbbbbb", std::nullopt);
  token("cccccc", 1h, "false");
  publish("text");
  EXPECT_EQ(info("jws-kubeconfig-aaaaaa"), "aaaaaa/s3cret/text");
  EXPECT_EQ(info("jws-kubeconfig-bbbbbb"), "bbbbbb/s3cret/text");
  EXPECT_EQ(info("jws-kubeconfig-cccccc"), "");
  world.server.patch(core::configmaps, "cluster-info", R"({"data":{"kubeconfig":"other","jws-kubeconfig-zzzzzz":"x"}})", "", "kube-public");
  EXPECT_EQ(info("jws-kubeconfig-aaaaaa"), "aaaaaa/s3cret/other");
  EXPECT_EQ(info("jws-kubeconfig-zzzzzz"), "");
  world.server.executor.advance(2h);
  EXPECT_EQ(info("jws-kubeconfig-aaaaaa"), "");
  EXPECT_EQ(info("jws-kubeconfig-bbbbbb"), "bbbbbb/s3cret/other");
}

TEST_F(BootstrapTokens, GoWhateverTheySayTheirIdIs) {
  const std::string end = base64_encode(format_time(world.server.executor.wall_now() + 1h));
  world.server.make(core::secrets,
                    fmt::format(R"({{"metadata":{{"name":"bootstrap-token-odd"}},"type":"bootstrap.kubernetes.io/token",
      "data":{{"token-id":"{}","token-secret":"{}","expiration":"{}"}}}})",
                                base64_encode("\",\"x y"), base64_encode("s3cret"), end),
                    "kube-system");
  world.settle();
  world.server.executor.advance(2h);
  EXPECT_EQ(world.server.get(core::secrets, "bootstrap-token-odd", "kube-system"), nullptr);
}

TEST_F(BootstrapTokens, AreRememberedWhenTheyExpireButOnlyTheLatest) {
  world.settle();
  const std::string end = format_time(world.server.executor.wall_now() + 1h);
  token("aaaaaa", 1h);
  world.settle();
  world.server.executor.advance(2h);
  EXPECT_EQ(world.server.get(core::secrets, "bootstrap-token-aaaaaa", "kube-system"), nullptr);
  EXPECT_EQ(memory("aaaaaa"), end + " #aaaaaas3cret");
  for (size_t i = 0; i < expired_tokens_max; ++i) {
    token(fmt::format("tok{:03}", i), 1h);
    world.settle();
    world.server.executor.advance(2h);
  }
  EXPECT_EQ(memory("aaaaaa"), "");
  EXPECT_NE(memory("tok000"), "");
  EXPECT_NE(memory(fmt::format("tok{:03}", expired_tokens_max - 1)), "");
}

struct Csrs : ::testing::Test {
  RequestFacts facts{.common_name = "system:node:n1", .organizations = {"system:nodes"}};
  int signed_count = 0;
  std::unique_ptr<World> world;
  void start() {
    Options options;
    options.read_request = [this](std::string_view) -> Result<RequestFacts> { return facts; };
    options.sign = [this](const SigningOrder&) -> Result<std::string> {
      ++signed_count;
      return std::string("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n");
    };
    world = std::make_unique<World>(1, options);
    world->settle();
  }
  Object request(std::string_view signer, std::string_view usages) {
    const std::string pem = base64_encode("-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----\n");
    world->server.make(certificates::certificatesigningrequests,
                       R"({"metadata":{"name":"r"},"spec":{"request":")" + pem + R"(","signerName":")" + std::string(signer) +
                           R"(","usages":[)" + std::string(usages) + "]}}");
    world->settle();
    return world->server.get(certificates::certificatesigningrequests, "r");
  }
};

TEST_F(Csrs, ANodesClientRequestIsApprovedAndSigned) {
  start();
  const Object csr = request("kubernetes.io/kube-apiserver-client-kubelet", R"("digital signature","client auth")");
  ASSERT_NE(csr, nullptr);
  EXPECT_TRUE(is_condition_true(csr->root()->find("status"), "Approved"));
  EXPECT_EQ(signed_count, 1);
  EXPECT_FALSE(certificates::CertificateSigningRequest(csr).status().certificate().empty());
}

TEST_F(Csrs, ANodeMayNotAskForMore) {
  facts.organizations = {"system:masters"};
  start();
  const Object csr = request("kubernetes.io/kube-apiserver-client-kubelet", R"("digital signature","client auth")");
  ASSERT_NE(csr, nullptr);
  EXPECT_FALSE(is_condition_true(csr->root()->find("status"), "Approved"));
  EXPECT_EQ(signed_count, 0);
  world->pass(25h, 1h);
  EXPECT_EQ(world->server.get(certificates::certificatesigningrequests, "r"), nullptr);
}

TEST(CsrRules, ATokenCannotHaveTheNameOfALivingOrAnotherNode) {
  EXPECT_EQ(node_name_problem({"n1", false, "", "", {}}), "");
  EXPECT_NE(node_name_problem({"n1", true, "m", "m", 5s}), "") << "alive";
  EXPECT_NE(node_name_problem({"n1", true, "m", "", 48h}), "") << "asleep, and nothing proves that it is the same";
  EXPECT_NE(node_name_problem({"n1", true, "m", "other", 48h}), "");
  EXPECT_EQ(node_name_problem({"n1", true, "m", "m", 2min}), "") << "the same machine after a reset";
  EXPECT_EQ(node_name_problem({"n1", true, "", "m", 2min}), "") << "a node that never said which machine it is";
}

TEST(CsrRules, AreUpstreams) {
  RequestFacts facts{.common_name = "system:node:n1", .organizations = {"system:nodes"}};
  const std::vector<std::string> client_usages{"key encipherment", "digital signature", "client auth"};
  EXPECT_EQ(client_kubelet_problem(facts, client_usages), "");
  EXPECT_NE(client_kubelet_problem(facts, {"digital signature", "server auth"}), "");
  facts.dns_names = {"n1"};
  EXPECT_NE(client_kubelet_problem(facts, client_usages), "");
  const std::vector<std::string> serving{"digital signature", "server auth"};
  EXPECT_EQ(kubelet_serving_problem(facts, serving, "system:node:n1", {"system:nodes"}), "");
  EXPECT_NE(kubelet_serving_problem(facts, serving, "system:node:n2", {"system:nodes"}), "");
  EXPECT_NE(kubelet_serving_problem(facts, serving, "system:node:n1", {}), "");
}

}  // namespace
}  // namespace dure::controllers
