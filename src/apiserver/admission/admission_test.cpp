// Admission through the resource path.
#include "apiserver/admission/admission.h"

#include <gmock/gmock.h>

#include "apiserver/auth/test_cluster.h"
#include "base/text.h"
#include "kinds/views/core_v1.h"
#include "kinds/views/networking_v1.h"
#include "pki/signing_request.h"

namespace dure::apiserver::admission {
namespace {

using namespace kinds;
using testing::HasSubstr;
using testing::StartsWith;

class AdmissionTest : public testing::Test {
 protected:
  AdmissionTest() {
    make("serviceaccounts", R"({"metadata":{"name":"default"},"imagePullSecrets":[{"name":"pull"}]})");
  }

  void make(std::string_view path, std::string body, std::string ns = "default") {
    const ApiResponse response = c.make(path, std::move(ns), std::move(body));
    EXPECT_FALSE(response.error) << response.error->message;
  }
  std::string message(const ApiResponse& response) { return TestCluster::message(response); }
  ApiResponse make_pod(std::string spec, UserHandle who = nullptr, std::string more_metadata = "") {
    return c.make("pods", "default",
                  R"({"metadata":{"name":"p")" + more_metadata + R"(},"spec":{)" + spec +
                      R"("containers":[{"name":"c","image":"i"}]}})",
                  std::move(who));
  }
  schema::Document pod() { return c.get("pods", "default", "p"); }
  TestCluster c;
};

TEST_F(AdmissionTest, SystemNamespacesStay) {
  for (const char* name : {"default", "kube-system", "kube-public"})
    EXPECT_EQ(message(c.call(c.admin, "delete", "namespaces", "", name)),
              "namespaces \"" + std::string(name) + "\" is forbidden: this namespace may not be deleted");
}

TEST_F(AdmissionTest, PodsGetTheirAccountAndItsToken) {
  EXPECT_EQ(message(make_pod("")), "good");
  const schema::Document document = pod();
  const core_v1::PodSpec spec = core_v1::Pod(document).spec();
  EXPECT_EQ(spec.serviceAccountName(), "default");
  EXPECT_EQ(spec.serviceAccount(), "default");
  EXPECT_EQ(spec.imagePullSecrets().front().name(), "pull");
  ASSERT_EQ(spec.volumes().size(), 1u);
  const std::string name(spec.volumes().front().name());
  EXPECT_THAT(name, StartsWith("kube-api-access-"));
  EXPECT_EQ(name.size(), 21u);
  std::string volume, mount;
  schema::encode_json(spec.volumes().front().node(), nullptr, volume);
  EXPECT_EQ(volume, "{\"name\":\"" + name +
                        "\",\"projected\":{\"sources\":[{\"serviceAccountToken\":{"
                        "\"expirationSeconds\":3607,\"path\":\"token\"}},"
                        "{\"configMap\":{\"name\":\"kube-root-ca.crt\",\"items\":[{\"key\":\"ca."
                        "crt\",\"path\":\"ca.crt\"}]}},"
                        "{\"downwardAPI\":{\"items\":[{\"path\":\"namespace\",\"fieldRef\":{"
                        "\"apiVersion\":\"v1\",\"fieldPath\":\"metadata.namespace\"}}]}}],"
                        "\"defaultMode\":420}}");
  schema::encode_json(spec.containers().front().volumeMounts().front().node(), nullptr, mount);
  EXPECT_EQ(mount, "{\"name\":\"" + name +
                       "\",\"readOnly\":true,\"mountPath\":\"/var/run/secrets/kubernetes.io/serviceaccount\"}");
}

TEST_F(AdmissionTest, NoTokenWhereItIsNotWanted) {
  EXPECT_EQ(message(make_pod(R"("automountServiceAccountToken":false,)")), "good");
  EXPECT_EQ(core_v1::Pod(pod()).spec().volumes().size(), 0u);
  make("serviceaccounts", R"({"metadata":{"name":"quiet"},"automountServiceAccountToken":false})");
  c.call(c.admin, "delete", "pods", "default", "p", R"({"gracePeriodSeconds":0})");
  EXPECT_EQ(message(make_pod(R"("serviceAccountName":"quiet",)")), "good");
  EXPECT_EQ(core_v1::Pod(pod()).spec().volumes().size(), 0u);
}

TEST_F(AdmissionTest, AMissingAccountIsRefused) {
  EXPECT_EQ(message(make_pod(R"("serviceAccountName":"ghost",)")),
            "pods \"p\" is forbidden: error looking up service account default/ghost: "
            "serviceaccount \"ghost\" not found");
}

TEST_F(AdmissionTest, PodsStayFiveMinutesOnALostNode) {
  EXPECT_EQ(message(make_pod(R"("tolerations":[{"key":"node.kubernetes.io/not-ready","operator":"Exists",)"
                             R"("effect":"NoExecute","tolerationSeconds":7}],)")),
            "good");
  const schema::Document document = pod();
  const auto tolerations = core_v1::Pod(document).spec().tolerations();
  ASSERT_EQ(tolerations.size(), 2u);
  EXPECT_EQ(tolerations[0].tolerationSeconds(), 7);
  EXPECT_EQ(tolerations[1].key(), "node.kubernetes.io/unreachable");
  EXPECT_EQ(tolerations[1].tolerationSeconds(), 300);
}

TEST_F(AdmissionTest, PriorityComesFromItsClass) {
  EXPECT_EQ(message(make_pod(R"("priorityClassName":"system-node-critical",)")), "good");
  EXPECT_EQ(core_v1::Pod(pod()).spec().priority(), 2000001000);
  EXPECT_EQ(core_v1::Pod(pod()).spec().preemptionPolicy(), "PreemptLowerPriority");
}

TEST_F(AdmissionTest, PriorityMustFitItsClass) {
  EXPECT_EQ(message(make_pod(R"("priorityClassName":"ghost",)")),
            "pods \"p\" is forbidden: no PriorityClass with name ghost was found");
  EXPECT_THAT(message(make_pod(R"("priority":5,)")),
              HasSubstr("the integer value of priority (5) must not be provided in pod spec"));
  make("scheduling.k8s.io/priorityclasses", R"({"metadata":{"name":"usual"},"value":10,"globalDefault":true})", "");
  EXPECT_EQ(message(make_pod("")), "good");
  EXPECT_EQ(core_v1::Pod(pod()).spec().priority(), 10);
  EXPECT_EQ(core_v1::Pod(pod()).spec().priorityClassName(), "usual");
  EXPECT_THAT(message(c.make("scheduling.k8s.io/priorityclasses", "",
                             R"({"metadata":{"name":"other"},"value":11,"globalDefault":true})")),
              HasSubstr("PriorityClass usual is already marked as default"));
}

TEST_F(AdmissionTest, LimitRangesFillAndBound) {
  make("limitranges",
       R"({"metadata":{"name":"l"},"spec":{"limits":[{"type":"Container","default":{"cpu":"500m"},
       "defaultRequest":{"cpu":"100m"},"max":{"cpu":"1"},"min":{"cpu":"50m"}}]}})");
  EXPECT_EQ(message(make_pod("")), "good");
  const schema::Document document = pod();
  const auto resources = core_v1::Pod(document).spec().containers().front().resources();
  EXPECT_EQ(resources.limits().get("cpu"), "500m");
  EXPECT_EQ(resources.requests().get("cpu"), "100m");
  EXPECT_EQ(core_v1::Pod(document).metadata().annotations().get("kubernetes.io/limit-ranger"),
            "LimitRanger plugin set: cpu request for container c; cpu limit for container c");
  const ApiResponse big = c.make("pods", "default",
                                 R"({"metadata":{"name":"big"},"spec":{"containers":[{"name":"c","image":"i",
       "resources":{"limits":{"cpu":"2"}}}]}})");
  EXPECT_THAT(message(big), HasSubstr("maximum cpu usage per Container is 1, but limit is 2"));
}

TEST_F(AdmissionTest, ClaimsAndIngressesGetTheDefaultClass) {
  make("storage.k8s.io/storageclasses",
       R"({"metadata":{"name":"usual",)"
       R"("annotations":{"storageclass.kubernetes.io/is-default-class":"true"}},"provisioner":"x"})",
       "");
  make("networking.k8s.io/ingressclasses",
       R"({"metadata":{"name":"web","annotations":{"ingressclass.kubernetes.io/is-default-class":"true"}},)"
       R"("spec":{"controller":"a/b"}})",
       "");
  const std::string spec = R"("accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}})";
  make("persistentvolumeclaims", R"({"metadata":{"name":"a"},"spec":{)" + spec + "}}");
  make("persistentvolumeclaims", R"({"metadata":{"name":"b"},"spec":{"storageClassName":"",)" + spec + "}}");
  EXPECT_EQ(core_v1::PersistentVolumeClaim(c.get("persistentvolumeclaims", "default", "a")).spec().storageClassName(),
            "usual");
  EXPECT_EQ(core_v1::PersistentVolumeClaim(c.get("persistentvolumeclaims", "default", "b")).spec().storageClassName(),
            "");
  make("networking.k8s.io/ingresses",
       R"({"metadata":{"name":"i"},"spec":{"defaultBackend":{"service":{"name":"s","port":{"number":80}}}}})");
  EXPECT_EQ(networking_v1::Ingress(c.get("networking.k8s.io/ingresses", "default", "i")).spec().ingressClassName(),
            "web");
}

// --- nodes

TEST_F(AdmissionTest, NewNodesTakeNothingYet) {
  make("nodes", R"({"metadata":{"name":"n"}})", "");
  const schema::Document node = c.get("nodes", "", "n");
  ASSERT_EQ(core_v1::Node(node).spec().taints().size(), 1u);
  EXPECT_EQ(core_v1::Node(node).spec().taints().front().key(), "node.kubernetes.io/not-ready");
}

TEST_F(AdmissionTest, NodesEvictTheirOwnPodsOnly) {
  EXPECT_EQ(message(make_pod(R"("nodeName":"n1",)")), "good");
  const auto evict = [&](const char* node) {
    return message(
        c.call(TestCluster::node(node), "create", "pods", "default", "p", R"({"metadata":{"name":"p"}})", "eviction"));
  };
  EXPECT_THAT(evict("n2"), HasSubstr("can only evict pods with spec.nodeName set to itself"));
  EXPECT_EQ(evict("n1"), "good");
}

TEST_F(AdmissionTest, NodesWriteThemselvesOnly) {
  const UserHandle n1 = TestCluster::node("n1");
  EXPECT_EQ(message(c.make("nodes", "",
                           R"({"metadata":{"name":"n1","labels":{"kubernetes.io/hostname":"n1","mine":"x"}}})", n1)),
            "good");
  EXPECT_THAT(message(c.make("nodes", "", R"({"metadata":{"name":"n2"}})", n1)),
              HasSubstr("node \"n1\" is not allowed to modify node \"n2\""));
  // An administrator takes the first taint away.
  EXPECT_EQ(message(c.call(c.admin, "update", "nodes", "", "n1",
                           R"({"metadata":{"name":"n1","labels":{"kubernetes.io/hostname":"n1"}}})")),
            "good");
  const auto put = [&](const std::string& rest) {
    return message(c.call(n1, "update", "nodes", "", "n1",
                          R"({"metadata":{"name":"n1","labels":{"kubernetes.io/hostname":"n1")" + rest));
  };
  EXPECT_EQ(put(R"(,"node.kubernetes.io/anything":"x"}}})"), "good");
  EXPECT_THAT(put(R"(,"node-restriction.kubernetes.io/tier":"gold"}}})"),
              HasSubstr("is not allowed to modify labels: node-restriction.kubernetes.io/tier"));
  EXPECT_THAT(put(R"(,"node-role.kubernetes.io/control-plane":""}}})"),
              HasSubstr("node-role.kubernetes.io/control-plane"));
  EXPECT_THAT(put(R"(}},"spec":{"taints":[{"key":"a","effect":"NoSchedule"}]}})"),
              HasSubstr("is not allowed to modify taints"));
}

TEST_F(AdmissionTest, NodesTouchTheirOwnPodsOnly) {
  EXPECT_EQ(message(make_pod(R"("nodeName":"n1",)")), "good");
  const std::string status = R"({"metadata":{"name":"p"},"status":{"phase":"Running"}})";
  const auto put = [&](const char* node) {
    return message(c.call(TestCluster::node(node), "update", "pods", "default", "p", status, "status"));
  };
  EXPECT_EQ(put("n1"), "good");
  EXPECT_THAT(put("n2"), HasSubstr("can only update pod status for pods with spec.nodeName set to itself"));
  EXPECT_THAT(message(c.call(TestCluster::node("n2"), "delete", "pods", "default", "p")),
              HasSubstr("can only delete pods with spec.nodeName set to itself"));
  EXPECT_EQ(message(c.call(TestCluster::node("n1"), "delete", "pods", "default", "p", R"({"gracePeriodSeconds":0})")),
            "good");
}

TEST_F(AdmissionTest, NodesCreateMirrorPodsOnly) {
  const UserHandle n1 = TestCluster::node("n1");
  const std::string mirror = R"(,"annotations":{"kubernetes.io/config.mirror":"x"})";
  // The pod of the test has neither an account nor secrets: mirror pods get none either.
  EXPECT_THAT(message(make_pod(R"("nodeName":"n1",)", n1)), HasSubstr("can only create mirror pods"));
  EXPECT_THAT(message(make_pod(R"("nodeName":"n2",)", n1, mirror)), HasSubstr("with spec.nodeName set to itself"));
  EXPECT_THAT(message(make_pod(R"("nodeName":"n1","serviceAccountName":"default",)", n1, mirror)),
              HasSubstr("may not reference service accounts"));
  EXPECT_EQ(message(make_pod(R"("nodeName":"n1",)", n1, mirror)), "good");
}

TEST_F(AdmissionTest, NodesAskForTheirOwnCertificate) {
  const auto ask = [&](const char* name, const char* common_name) {
    const auto request = pki::SigningRequest::create(*pki::PrivateKey::generate(), {common_name, {"system:nodes"}});
    return message(
        c.make("certificates.k8s.io/certificatesigningrequests", "",
               R"({"metadata":{"name":")" + std::string(name) +
                   R"("},"spec":{"signerName":"kubernetes.io/kube-apiserver-client-kubelet","usages":["client )"
                   R"(auth","digital signature"],"request":")" +
                   base64_encode(request->pem()) + "\"}}",
               TestCluster::node("n1")));
  };
  EXPECT_EQ(ask("a", "system:node:n1"), "good");
  EXPECT_THAT(ask("b", "system:node:n2"), HasSubstr("can only create a node CSR with CN=system:node:n1"));
}

// --- rights

TEST_F(AdmissionTest, NobodyHandsOutMoreThanTheyHave) {
  make("rbac.authorization.k8s.io/rolebindings",
       R"({"metadata":{"name":"a"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io",
       "kind":"ClusterRole","name":"admin"},"subjects":[{"kind":"User",
       "apiGroup":"rbac.authorization.k8s.io","name":"ann"}]})");
  const UserHandle ann = TestCluster::user("ann");
  const auto role = [&](const char* name, const char* resource) {
    return message(c.make("rbac.authorization.k8s.io/roles", "default",
                          R"({"metadata":{"name":")" + std::string(name) +
                              R"("},"rules":[{"verbs":["get"],"apiGroups":[""],"resources":[")" + resource + "\"]}]}",
                          ann));
  };
  const auto binding = [&](const char* name, const char* kind, const char* ref) {
    return message(c.make("rbac.authorization.k8s.io/rolebindings", "default",
                          R"({"metadata":{"name":")" + std::string(name) +
                              R"("},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":")" + kind +
                              R"(","name":")" + ref +
                              R"("},"subjects":[{"kind":"User","apiGroup":"rbac.authorization.k8s.io","name":"bob"}]})",
                          ann));
  };
  EXPECT_EQ(role("pods", "pods"), "good");
  EXPECT_THAT(role("nodes", "nodes"), HasSubstr("is attempting to grant RBAC permissions not currently "
                                                "held:\n{APIGroups:[\"\"], Resources:[\"nodes\"], Verbs:[\"get\"]}"));
  EXPECT_EQ(binding("b1", "ClusterRole", "view"), "good");
  EXPECT_THAT(binding("b2", "ClusterRole", "cluster-admin"), HasSubstr("is attempting to grant RBAC permissions"));
  EXPECT_THAT(binding("b3", "Role", "ghost"), HasSubstr("\"ghost\" not found"));
}

TEST_F(AdmissionTest, MastersAreNotMadeByCertificate) {
  const auto request = pki::SigningRequest::create(*pki::PrivateKey::generate(), {"eve", {"system:masters"}});
  EXPECT_THAT(message(c.make("certificates.k8s.io/certificatesigningrequests", "",
                             R"({"metadata":{"name":"x"},"spec":{
      "signerName":"kubernetes.io/kube-apiserver-client","usages":["client auth"],"request":")" +
                                 base64_encode(request->pem()) + "\"}}")),
              HasSubstr("signer with system:masters group is not allowed"));
}

}  // namespace
}  // namespace dure::apiserver::admission
