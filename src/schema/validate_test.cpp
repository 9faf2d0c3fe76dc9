#include "schema/validate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kinds/kinds.h"
#include "schema/json.h"
#include "schema/text_rules.h"

namespace dure::schema {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;

Document object(const std::string& json, const char* api_version, const char* kind) {
  auto document = decode_json(SharedBytes(json), *kinds::find_type(api_version, kind));
  EXPECT_TRUE(document) << document.error().message;
  return std::move(*document);
}

std::vector<std::string> wrong(const std::string& json, const char* api_version = "v1",
                               const char* kind = "Pod") {
  std::vector<std::string> out;
  for (const Cause& cause : validate(object(json, api_version, kind)))
    out.push_back(cause_text(cause));
  return out;
}

const char* const kMeta = R"("metadata":{"name":"x","namespace":"default"})";

std::string pod(const std::string& spec) {
  return std::string("{") + kMeta + R"(,"spec":{)" + spec + "}}";
}
std::string pod_with_container(const std::string& members) {
  return pod(R"("containers":[{"name":"c","image":"i")" + members + "}]");
}

TEST(Validate, APodThatIsFine) { EXPECT_THAT(wrong(pod_with_container("")), IsEmpty()); }

TEST(Validate, WhatMustNotBeEmpty) {
  EXPECT_THAT(wrong("{" + std::string(kMeta) + "}"),
              ElementsAre("spec.containers: Required value"));
  EXPECT_THAT(wrong(pod(R"("containers":[{},{"name":"b"}])")),
              ElementsAre("spec.containers[0].name: Required value",
                          "spec.containers[0].image: Required value",
                          "spec.containers[1].image: Required value"));
}

TEST(Validate, MetadataOfKinds) {
  EXPECT_THAT(wrong(R"({"spec":{"containers":[{"name":"c","image":"i"}]}})"),
              ElementsAre("metadata.name: Required value: name or generateName is required",
                          "metadata.namespace: Required value"));
  const std::string subdomain =
      "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
      "'.', and must start and end with an "
      "alphanumeric character (e.g. 'example.com', regex used for validation is "
      "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
  EXPECT_THAT(wrong(R"({"metadata":{"name":"A_b","namespace":"d"},"data":{}})", "v1", "ConfigMap"),
              ElementsAre("metadata.name: Invalid value: \"A_b\": " + subdomain));
  EXPECT_THAT(
      wrong(
          R"({"metadata":{"name":"1a","namespace":"d"},"spec":{"type":"ClusterIP","clusterIP":"None",)"
          R"("sessionAffinity":"None"}})",
          "v1", "Service"),
      ElementsAre("metadata.name: Invalid value: \"1a\": a DNS-1035 label must consist of lower "
                  "case alphanumeric characters or '-', "
                  "start with an alphabetic character, and end with an alphanumeric character "
                  "(e.g. 'my-name',  or 'abc-123', regex "
                  "used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"));
  EXPECT_THAT(wrong(R"({"metadata":{"name":"n","namespace":"d"}})", "v1", "Namespace"),
              ElementsAre("metadata.namespace: Forbidden: not allowed on this type"));
  EXPECT_THAT(wrong(R"({"metadata":{"name":"system:node","namespace":"d"}})",
                    "rbac.authorization.k8s.io/v1", "Role"),
              IsEmpty());
  EXPECT_THAT(
      wrong(R"({"metadata":{"name":"x","generateName":"ok-","namespace":"d"}})", "v1", "ConfigMap"),
      IsEmpty());
}

TEST(Validate, LabelsAndAnnotations) {
  EXPECT_THAT(
      wrong(
          R"({"metadata":{"name":"x","namespace":"d","labels":{"a b":"1","c":"-x","e.com/f":"g"},)"
          R"("annotations":{"X.io/y":"any thing"}}})",
          "v1", "ConfigMap"),
      ElementsAre("metadata.labels: Invalid value: \"a b\": name part must consist of alphanumeric "
                  "characters, '-', '_' or '.', and must start "
                  "and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or "
                  "'123-abc', regex used for validation is "
                  "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
                  "metadata.labels: Invalid value: \"-x\": a valid label must be an empty string "
                  "or consist of alphanumeric characters, '-', '_' or "
                  "'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or "
                  "'my_value',  or '12345', regex used for "
                  "validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"));
  const std::string big(300 * 1024, 'x');
  EXPECT_THAT(
      wrong(R"({"metadata":{"name":"x","namespace":"d","annotations":{"k":")" + big + R"("}}})",
            "v1", "ConfigMap"),
      ElementsAre("metadata.annotations: Too long: may not be more than 262144 bytes"));
}

TEST(Validate, EnumsRangesAndQuantities) {
  EXPECT_THAT(wrong(pod_with_container(R"(,"imagePullPolicy":"Sometimes")")),
              ElementsAre("spec.containers[0].imagePullPolicy: Unsupported value: \"Sometimes\": "
                          "supported values: \"Always\", \"IfNotPresent\", "
                          "\"Never\""));
  EXPECT_THAT(wrong(pod_with_container(R"(,"ports":[{"containerPort":70000},{}])")),
              ElementsAre("spec.containers[0].ports[0].containerPort: Invalid value: 70000: must "
                          "be between 1 and 65535, inclusive",
                          "spec.containers[0].ports[1].containerPort: Required value"));
  EXPECT_THAT(wrong(pod_with_container(R"(,"resources":{"limits":{"cpu":"-1"}})")),
              ElementsAre("spec.containers[0].resources.limits[cpu]: Invalid value: \"-1\": must "
                          "be greater than or equal to 0"));
  EXPECT_THAT(wrong(pod_with_container(
                  R"(,"livenessProbe":{"periodSeconds":-1,"exec":{"command":["x"]}})")),
              ElementsAre("spec.containers[0].livenessProbe.periodSeconds: Invalid value: -1: must "
                          "be greater than or equal to 0"));
  EXPECT_THAT(
      wrong(
          R"({"metadata":{"name":"x","namespace":"d"},"spec":{"type":"ClusterIP","sessionAffinity":"None",)"
          R"("ports":[{"protocol":"TCP","targetPort":1}]}})",
          "v1", "Service"),
      ElementsAre("spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"));
  EXPECT_THAT(
      wrong(pod(
          R"("containers":[{"name":"c","image":"i"}],"volumes":[{"name":"v","secret":{"secretName":"s",)"
          R"("defaultMode":1024}}])")),
      ElementsAre("spec.volumes[0].secret.defaultMode: Invalid value: 1024: must be a number "
                  "between 0 and 0777 (octal), both inclusive"));
}

TEST(Validate, UniqueItems) {
  EXPECT_THAT(wrong(pod(R"("containers":[{"name":"c","image":"i"},{"name":"c","image":"i"}])")),
              ElementsAre("spec.containers[1].name: Duplicate value: \"c\""));
  std::string taints;
  for (int i = 0; i < 100; ++i)
    taints += std::string(i ? "," : "") + R"({"key":"k)" + std::to_string(i % 99) +
              R"(","effect":"NoSchedule"})";
  EXPECT_THAT(
      wrong(R"({"metadata":{"name":"n"},"spec":{"taints":[)" + taints + "]}}", "v1", "Node"),
      ElementsAre("spec.taints[99]: Duplicate value: {\"key\":\"k0\",\"effect\":\"NoSchedule\"}"));
}

TEST(Validate, ImmutableRowsOnUpdate) {
  const Document before = object(
      R"({"metadata":{"name":"x","namespace":"d","uid":"1"},"spec":{"selector":{"matchLabels":{"a":"b"}},)"
      R"("template":)"
      R"({"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}})",
      "apps/v1", "Deployment");
  Document after = before.clone();
  Node* labels =
      after.member(after.member(after.member(after.root(), "spec"), "template"), "metadata");
  after.set(after.member(after.member(labels, "labels"), "a"), "c");
  Node* selector = after.member(after.member(after.root(), "spec"), "selector");
  after.set(after.member(after.member(selector, "matchLabels"), "a"), "c");
  after.set(after.member(after.member(after.root(), "metadata"), "uid"), "2");
  std::vector<std::string> out;
  for (const Cause& cause : validate(after, &before)) out.push_back(cause_text(cause));
  EXPECT_THAT(
      out,
      ElementsAre(
          "metadata.uid: Invalid value: \"2\": field is immutable",
          "spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"c\"}}: field is immutable"));
  EXPECT_THAT(validate(before, &before), IsEmpty());
}

TEST(Validate, OwnersAndFinalizers) {
  EXPECT_THAT(
      wrong(
          R"({"metadata":{"name":"x","namespace":"d","ownerReferences":[{"apiVersion":"v1","kind":"Pod",)"
          R"("name":"p"}],)"
          R"("finalizers":["orphan","foregroundDeletion"]}})",
          "v1", "ConfigMap"),
      ElementsAre("metadata.ownerReferences[0].uid: Invalid value: \"\": uid must not be empty",
                  "metadata.finalizers: Invalid value: [\"orphan\",\"foregroundDeletion\"]: "
                  "finalizer orphan and foregroundDeletion cannot "
                  "be both set"));
}

TEST(Validate, ReviewsNeedNoName) {
  EXPECT_THAT(wrong(R"({"spec":{"resourceAttributes":{"verb":"get"}}})", "authorization.k8s.io/v1",
                    "SelfSubjectAccessReview"),
              IsEmpty());
  EXPECT_THAT(wrong(R"({"spec":{"token":"t"}})", "authentication.k8s.io/v1", "TokenReview"),
              IsEmpty());
}

TEST(Validate, TheErrorListsAllCauses) {
  const Document deployment =
      object(R"({"metadata":{"name":"web","namespace":"d"},"spec":{"replicas":-1}})", "apps/v1",
             "Deployment");
  const Error error = invalid_object(*deployment.type(), "web", validate(deployment));
  EXPECT_EQ(error.code, 422);
  EXPECT_EQ(error.reason, "Invalid");
  EXPECT_EQ(error.message,
            "Deployment.apps \"web\" is invalid: [spec.replicas: Invalid value: -1: must be "
            "greater than or equal to 0, "
            "spec.selector: Required value, spec.template.spec.containers: Required value]");
  EXPECT_EQ(error.causes[1].reason, "FieldValueRequired");
  EXPECT_EQ(error.causes[1].field, "spec.selector");
  EXPECT_EQ(error.causes[1].message, "Required value");
}

TEST(TextRules, AddressesAndNames) {
  for (const char* good :
       {"10.0.0.1", "::", "::1", "2001:db8::ffff", "1:2:3:4:5:6:7:8", "::ffff:10.0.0.1", "1::"})
    EXPECT_EQ(check_ip(good), "") << good;
  for (const char* bad : {"", "10.0.0", "10.0.0.256", "10.0.0.01", "1:2", ":::", "1::2::3",
                          "1:2:3:4:5:6:7:8:9", "g::"})
    EXPECT_NE(check_ip(bad), "") << bad;
  for (const char* good : {"10.0.0.0/8", "::/0", "2001:db8::/64"})
    EXPECT_EQ(check_cidr(good), "") << good;
  for (const char* bad :
       {"10.0.0.0", "10.0.0.0/33", "10.0.0.0/08", "::/129", "10.0.0.0/", "10.0.0.0/-1"})
    EXPECT_NE(check_cidr(bad), "") << bad;
  for (const char* good : {"http", "a1", "x-y"}) EXPECT_EQ(check_port_name(good), "") << good;
  EXPECT_EQ(check_port_name("80"), "must contain at least one letter (a-z)");
  EXPECT_EQ(check_port_name("a--b"), "must not contain consecutive hyphens");
  EXPECT_EQ(check_port_name("-a"), "must not begin or end with a hyphen");
  EXPECT_EQ(check_port_name("Http"),
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
  EXPECT_EQ(check_qualified_name("a/b/c").substr(0, 40),
            "a qualified name must consist of alphanu");
  EXPECT_EQ(check_qualified_name("/b"), "prefix part must be non-empty");
  EXPECT_EQ(check_qualified_name("a/"), "name part must be non-empty");
  EXPECT_EQ(check_dns1123_label(std::string(64, 'a')), "must be no more than 63 characters");
  EXPECT_NE(check_dns1123_subdomain("a..b"), "");
  EXPECT_NE(check_dns1123_subdomain("a."), "");
  EXPECT_EQ(check_config_key(".."), "must not be '..'");
  EXPECT_EQ(check_path_segment("a/b"), "may not contain '/'");
}

}  // namespace
}  // namespace dure::schema
