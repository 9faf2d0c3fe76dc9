#include "apiserver/auth/node_authorizer.h"

#include <gtest/gtest.h>

#include "apiserver/auth/user.h"
#include "kinds/views/core_v1.h"
#include "kinds/views/storage_v1.h"
#include "schema/json.h"

namespace dure::apiserver {
namespace {

using namespace kinds;

schema::Document read(const schema::Type& type, std::string_view json) {
  auto document = schema::decode_json(SharedBytes(std::string(json)), type);
  EXPECT_TRUE(document) << document.error().message;
  return std::move(*document);
}
schema::Document pod(std::string_view json) { return read(core_v1::Pod::type(), json); }

constexpr std::string_view web_pod =
    R"({"metadata":{"namespace":"default","name":"web"},"spec":{"nodeName":"n1",
  "serviceAccountName":"web","imagePullSecrets":[{"name":"pull"}],
  "initContainers":[{"name":"i","env":[{"name":"A","valueFrom":{"secretKeyRef":{"name":"init-secret","key":"k"}}}]}],
  "containers":[{"name":"c","env":[{"name":"A","valueFrom":{"configMapKeyRef":{"name":"env-map","key":"k"}}}],
    "envFrom":[{"secretRef":{"name":"from-secret"}},{"configMapRef":{"name":"from-map"}}]}],
  "volumes":[{"name":"s","secret":{"secretName":"vol-secret"}},{"name":"m","configMap":{"name":"vol-map"}},
    {"name":"p","projected":{"sources":[{"secret":{"name":"proj-secret"}},{"configMap":{"name":"proj-map"}}]}},
    {"name":"d","persistentVolumeClaim":{"claimName":"data"}},{"name":"e",
    "ephemeral":{"volumeClaimTemplate":{"spec":{}}}},
    {"name":"c","csi":{"driver":"d","nodePublishSecretRef":{"name":"csi-secret"}}}]}})";

class NodeAuthorizerTest : public testing::Test {
 protected:
  NodeAuthorizerTest() { graph.put_pod(pod(web_pod)); }

  static User node(std::string name) {
    return {.name = "system:node:" + name, .uid = {}, .groups = {"system:nodes", "system:authenticated"}, .extra = {}};
  }
  Decision ask(const std::string& who, Attributes a) { return authorize_node(graph, node(who), a); }
  bool may_get(const std::string& who, std::string_view resource, std::string_view name) {
    return ask(who, {.verb = "get", .resource = resource, .namespace_ = "default", .name = name}).allowed();
  }
  NodeGraph graph;
};

TEST_F(NodeAuthorizerTest, ReadsWhatItsPodsReferTo) {
  for (const char* name : {"pull", "init-secret", "from-secret", "vol-secret", "proj-secret", "csi-secret"}) {
    EXPECT_TRUE(may_get("n1", "secrets", name)) << name;
    EXPECT_FALSE(may_get("n2", "secrets", name)) << name;
  }
  for (const char* name : {"env-map", "from-map", "vol-map", "proj-map"}) {
    EXPECT_TRUE(may_get("n1", "configmaps", name)) << name;
    EXPECT_FALSE(may_get("n2", "configmaps", name)) << name;
  }
  EXPECT_TRUE(may_get("n1", "persistentvolumeclaims", "data"));
  EXPECT_TRUE(may_get("n1", "persistentvolumeclaims", "web-e"));
  EXPECT_TRUE(may_get("n1", "pods", "web"));
  EXPECT_FALSE(may_get("n2", "pods", "web"));
  EXPECT_TRUE(may_get("n1", "serviceaccounts", "web"));
  EXPECT_FALSE(may_get("n1", "secrets", "another"));
  EXPECT_EQ(ask("n2", {.verb = "get", .resource = "secrets", .namespace_ = "default", .name = "pull"}).reason,
            "no relationship found between node 'n2' and this object");
}

TEST_F(NodeAuthorizerTest, NamespacesAreApart) {
  EXPECT_FALSE(ask("n1", {.verb = "get", .resource = "secrets", .namespace_ = "other", .name = "pull"}).allowed());
}

TEST_F(NodeAuthorizerTest, VolumesLeadToTheirSecrets) {
  graph.put_volume(read(core_v1::PersistentVolume::type(), R"({"metadata":{"name":"pv"},"spec":{
    "claimRef":{"namespace":"default","name":"data"},"csi":{"driver":"d","volumeHandle":"h",
    "nodeStageSecretRef":{"namespace":"csi","name":"stage"}}}})"));
  const Attributes volume{.verb = "get", .resource = "persistentvolumes", .name = "pv"};
  const Attributes secret{.verb = "get", .resource = "secrets", .namespace_ = "csi", .name = "stage"};
  EXPECT_TRUE(ask("n1", volume).allowed());
  EXPECT_TRUE(ask("n1", secret).allowed());
  EXPECT_FALSE(ask("n2", volume).allowed());
  graph.remove_pod("default", "web");
  EXPECT_FALSE(ask("n1", volume).allowed());
  EXPECT_FALSE(ask("n1", secret).allowed());
}

TEST_F(NodeAuthorizerTest, RightsEndWithThePod) {
  schema::Document moved = pod(web_pod);
  core_v1::Pod(moved).mutable_spec().set_nodeName("n2");
  graph.put_pod(moved);
  EXPECT_FALSE(may_get("n1", "secrets", "pull"));
  EXPECT_TRUE(may_get("n2", "secrets", "pull"));
  graph.put_pod(pod(R"({"metadata":{"namespace":"default","name":"second"},"spec":{"nodeName":"n2",)"
                    R"("imagePullSecrets":[{"name":"pull"}]}})"));
  graph.remove_pod("default", "web");
  EXPECT_TRUE(may_get("n2", "secrets", "pull")) << "another pod still refers to it";
  graph.remove_pod("default", "second");
  EXPECT_FALSE(may_get("n2", "secrets", "pull"));
}

TEST_F(NodeAuthorizerTest, MirrorPodsOpenNoDoors) {
  graph.put_pod(pod(
      R"({"metadata":{"namespace":"default","name":"m","annotations":{"kubernetes.io/config.mirror":"x"}},
    "spec":{"nodeName":"n2","imagePullSecrets":[{"name":"pull"}]}})"));
  EXPECT_FALSE(may_get("n2", "secrets", "pull"));
  EXPECT_TRUE(may_get("n2", "pods", "m"));
}

struct Case {
  const char* what;
  Attributes asked;
  bool allowed;
};

TEST_F(NodeAuthorizerTest, Table) {
  const Case cases[] = {
      {"list secrets", {.verb = "list", .resource = "secrets", .namespace_ = "default"}, false},
      {"watch one secret by name",
       {.verb = "watch", .resource = "secrets", .namespace_ = "default", .name = "pull"},
       true},
      {"write a secret", {.verb = "update", .resource = "secrets", .namespace_ = "default", .name = "pull"}, false},
      {"token of an account in use",
       {.verb = "create",
        .resource = "serviceaccounts",
        .subresource = "token",
        .namespace_ = "default",
        .name = "web"},
       true},
      {"token of another account",
       {.verb = "create",
        .resource = "serviceaccounts",
        .subresource = "token",
        .namespace_ = "default",
        .name = "admin"},
       false},
      {"own node", {.verb = "get", .resource = "nodes", .name = "n1"}, true},
      {"another node", {.verb = "get", .resource = "nodes", .name = "n2"}, false},
      {"all nodes", {.verb = "list", .resource = "nodes"}, false},
      {"node status", {.verb = "patch", .resource = "nodes", .subresource = "status", .name = "n1"}, true},
      {"register", {.verb = "create", .resource = "nodes"}, true},
      {"delete a node", {.verb = "delete", .resource = "nodes", .name = "n1"}, false},
      {"own lease",
       {.verb = "update",
        .group = "coordination.k8s.io",
        .resource = "leases",
        .namespace_ = "kube-node-lease",
        .name = "n1"},
       true},
      {"another's lease",
       {.verb = "update",
        .group = "coordination.k8s.io",
        .resource = "leases",
        .namespace_ = "kube-node-lease",
        .name = "n2"},
       false},
      {"lease elsewhere",
       {.verb = "update",
        .group = "coordination.k8s.io",
        .resource = "leases",
        .namespace_ = "kube-system",
        .name = "n1"},
       false},
      {"list leases",
       {.verb = "list", .group = "coordination.k8s.io", .resource = "leases", .namespace_ = "kube-node-lease"},
       false},
      {"own CSINode", {.verb = "patch", .group = "storage.k8s.io", .resource = "csinodes", .name = "n1"}, true},
      {"another's CSINode", {.verb = "patch", .group = "storage.k8s.io", .resource = "csinodes", .name = "n2"}, false},
      {"its pods", {.verb = "watch", .resource = "pods", .field_selector = "spec.nodeName=n1"}, true},
      {"another's pods", {.verb = "watch", .resource = "pods", .field_selector = "spec.nodeName=n2"}, false},
      {"not n1's pods", {.verb = "watch", .resource = "pods", .field_selector = "spec.nodeName!=n1"}, false},
      {"all pods", {.verb = "list", .resource = "pods"}, false},
      {"pod status",
       {.verb = "patch", .resource = "pods", .subresource = "status", .namespace_ = "default", .name = "web"},
       true},
      {"evict",
       {.verb = "create", .resource = "pods", .subresource = "eviction", .namespace_ = "default", .name = "web"},
       true},
      {"exec",
       {.verb = "create", .resource = "pods", .subresource = "exec", .namespace_ = "default", .name = "web"},
       false},
      {"services", {.verb = "watch", .resource = "services"}, true},
      {"ask for a certificate",
       {.verb = "create", .group = "certificates.k8s.io", .resource = "certificatesigningrequests"},
       true},
      {"deployments", {.verb = "list", .group = "apps", .resource = "deployments"}, false},
      {"paths are for RBAC to say", {.verb = "get", .path = "/metrics"}, false},
  };
  for (const Case& c : cases) EXPECT_EQ(ask("n1", c.asked).allowed(), c.allowed) << c.what;
}

TEST_F(NodeAuthorizerTest, OthersAreNotItsBusiness) {
  const Attributes get{.verb = "get", .resource = "secrets", .namespace_ = "default", .name = "pull"};
  EXPECT_EQ(authorize_node(graph, User{.name = "system:node:n1", .uid = {}, .groups = {}, .extra = {}}, get).reason,
            "");
  const Decision odd =
      authorize_node(graph, User{.name = "ann", .uid = {}, .groups = {"system:nodes"}, .extra = {}}, get);
  EXPECT_FALSE(odd.allowed());
  EXPECT_EQ(odd.reason, "unknown node for user \"ann\"");
}

TEST_F(NodeAuthorizerTest, Attachments) {
  graph.put_attachment(
      read(storage_v1::VolumeAttachment::type(), R"({"metadata":{"name":"va"},"spec":{"nodeName":"n1"}})"));
  const Attributes get{.verb = "get", .group = "storage.k8s.io", .resource = "volumeattachments", .name = "va"};
  EXPECT_TRUE(ask("n1", get).allowed());
  EXPECT_FALSE(ask("n2", get).allowed());
}

}  // namespace
}  // namespace dure::apiserver
