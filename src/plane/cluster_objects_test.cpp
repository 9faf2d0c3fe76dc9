#include "plane/cluster_objects.h"

#include <gtest/gtest.h>

#include "client/cache.h"
#include "client/loop.h"
#include "client/test_server.h"
#include "kinds/views/discovery_v1.h"

namespace dure::plane {
namespace {

namespace core = kinds::core_v1;
namespace discovery = kinds::discovery_v1;

struct OwnServices : ::testing::Test {
  void SetUp() override {
    settings.advertise_address = "192.0.2.1";
    settings.node_name = "server";
    settings.network = "wireguard";
    server.make(core::namespaces, R"({"metadata":{"name":"kube-public"}})");
    ASSERT_TRUE(publish_cluster(*server.client, settings, "PEM"));
    runner->add(own_services(*server.client, *caches, settings));
    server.executor.run_until_idle();
  }
  std::string address() {
    const schema::Object slice = server.get(discovery::endpointslices, "kubernetes");
    const schema::Object old = server.get(core::endpoints, "kubernetes");
    if (!slice || !old) return "none";
    const std::string one(discovery::EndpointSlice(slice).endpoints().front().addresses().front());
    const std::string other(core::Endpoints(old).subsets().front().addresses().front().ip());
    return one == other ? one : one + " and " + other;
  }
  client::TestServer server;
  bootstrap::ServerSettings settings;
  std::unique_ptr<client::Caches> caches = client::Caches::create(*server.client, server.executor);
  std::unique_ptr<client::Runner> runner = client::Runner::create(*caches, server.executor);
};

TEST_F(OwnServices, ComeBackWhenSomebodyDeletesThem) {
  server.remove(core::services, "kubernetes");
  server.remove(core::services, "kube-dns", {}, "kube-system");
  server.remove(core::endpoints, "kubernetes");
  server.remove(discovery::endpointslices, "kubernetes");
  server.executor.run_until_idle();
  const schema::Object api = server.get(core::services, "kubernetes"), names = server.get(core::services, "kube-dns", "kube-system");
  ASSERT_TRUE(api && names);
  EXPECT_EQ(core::Service(api).spec().clusterIP(), "10.96.0.1");
  EXPECT_EQ(core::Service(names).spec().clusterIP(), "10.96.0.10");
  EXPECT_EQ(address(), "192.0.2.1");
}

TEST_F(OwnServices, TheEndpointsFollowTheServersNode) {
  EXPECT_EQ(address(), "192.0.2.1");
  server.make(core::nodes, R"({"metadata":{"name":"server"}})");
  server.patch(core::nodes, "server", R"({"status":{"addresses":[{"type":"InternalIP","address":"10.245.0.1"}]}})", "status");
  server.executor.run_until_idle();
  EXPECT_EQ(address(), "10.245.0.1");
  server.patch(core::endpoints, "kubernetes", R"({"subsets":null})");
  server.executor.run_until_idle();
  EXPECT_EQ(address(), "10.245.0.1");
  const auto before = server.store->revision();
  server.executor.advance(10min);
  EXPECT_EQ(server.store->revision(), before) << "at rest nobody writes";
}

}  // namespace
}  // namespace dure::plane
