#include "schema/defaults.h"

#include <gtest/gtest.h>

#include "kinds/kinds.h"
#include "schema/json.h"

namespace dure::schema {
namespace {

Document defaulted(const char* json, const char* api_version, const char* kind) {
  auto document = decode_json(SharedBytes(std::string(json)), *kinds::find_type(api_version, kind));
  EXPECT_TRUE(document) << document.error().message;
  apply_defaults(*document);
  Document again = document->clone();
  apply_defaults(again);
  EXPECT_TRUE(equal(document->root(), again.root())) << "not idempotent";
  return std::move(*document);
}

std::string_view text(const Document& document, auto... path) {
  const Node* node = document.root()->find(path...);
  return node ? node->string() : std::string_view("(absent)");
}
int64_t number(const Document& document, auto... path) {
  const Node* node = document.root()->find(path...);
  return node ? node->integer() : -999;
}

TEST(Defaults, OfAPod) {
  const Document pod = defaulted(
      R"({"spec":{"containers":[{"name":"c","image":"i:1","ports":[{"containerPort":80}],)"
      R"("livenessProbe":{"httpGet":{"port":80}}}],)"
      R"("volumes":[{"name":"v","secret":{"secretName":"s"}}]}})",
      "v1", "Pod");
  EXPECT_EQ(text(pod, "spec", "restartPolicy"), "Always");
  EXPECT_EQ(text(pod, "spec", "dnsPolicy"), "ClusterFirst");
  EXPECT_EQ(text(pod, "spec", "schedulerName"), "default-scheduler");
  EXPECT_EQ(number(pod, "spec", "terminationGracePeriodSeconds"), 30);
  EXPECT_NE(pod.root()->find("spec", "securityContext"), nullptr);
  const Node* container = pod.root()->find("spec", "containers")->first();
  EXPECT_EQ(container->find("terminationMessagePath")->string(), "/dev/termination-log");
  EXPECT_EQ(container->find("ports")->first()->find("protocol")->string(), "TCP");
  EXPECT_EQ(container->find("livenessProbe", "failureThreshold")->integer(), 3);
  EXPECT_EQ(container->find("livenessProbe", "httpGet", "scheme")->string(), "HTTP");
  EXPECT_EQ(pod.root()->find("spec", "volumes")->first()->find("secret", "defaultMode")->integer(),
            420);
}

TEST(Defaults, ConditionsLookAtTheObject) {
  const Document rolling = defaulted(R"({"spec":{}})", "apps/v1", "Deployment");
  EXPECT_EQ(number(rolling, "spec", "replicas"), 1);
  EXPECT_EQ(text(rolling, "spec", "strategy", "type"), "RollingUpdate");
  EXPECT_EQ(text(rolling, "spec", "strategy", "rollingUpdate", "maxSurge"), "25%");
  const Document recreate =
      defaulted(R"({"spec":{"strategy":{"type":"Recreate"}}})", "apps/v1", "Deployment");
  EXPECT_EQ(recreate.root()->find("spec", "strategy", "rollingUpdate"), nullptr);
  const Document job = defaulted(R"({"spec":{"parallelism":3}})", "batch/v1", "Job");
  EXPECT_EQ(job.root()->find("spec", "completions"), nullptr);
  const Document plain = defaulted(R"({"spec":{}})", "batch/v1", "Job");
  EXPECT_EQ(number(plain, "spec", "completions"), 1);
  EXPECT_EQ(number(plain, "spec", "parallelism"), 1);
  const Document binding = defaulted(
      R"({"subjects":[{"kind":"User","name":"u"},{"kind":"ServiceAccount","name":"s"}],"roleRef":{"name":"r"}})",
      "rbac.authorization.k8s.io/v1", "ClusterRoleBinding");
  EXPECT_EQ(binding.root()->find("subjects")->first()->find("apiGroup")->string(),
            "rbac.authorization.k8s.io");
  EXPECT_EQ(binding.root()->find("subjects")->last()->find("apiGroup"), nullptr);
  EXPECT_EQ(text(binding, "roleRef", "apiGroup"), "rbac.authorization.k8s.io");
}

TEST(Defaults, ReachItemsOfLists) {
  const Document list =
      defaulted(R"({"items":[{"spec":{"ports":[{"port":1}]}}]})", "v1", "ServiceList");
  EXPECT_EQ(list.root()
                ->find("items")
                ->first()
                ->find("spec", "ports")
                ->first()
                ->find("protocol")
                ->string(),
            "TCP");
  EXPECT_EQ(list.root()->find("items")->first()->find("spec", "internalTrafficPolicy")->string(),
            "Cluster");
}

TEST(Defaults, LeaveWhatIsSet) {
  const Document pod = defaulted(
      R"({"spec":{"restartPolicy":"Never","terminationGracePeriodSeconds":0}})", "v1", "Pod");
  EXPECT_EQ(text(pod, "spec", "restartPolicy"), "Never");
  EXPECT_EQ(number(pod, "spec", "terminationGracePeriodSeconds"), 0);
}

}  // namespace
}  // namespace dure::schema
