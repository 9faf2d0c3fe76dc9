// Defaults and validation across rows.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kinds/kinds.h"
#include "kinds/views/apps_v1.h"
#include "kinds/views/batch_v1.h"
#include "kinds/views/core_v1.h"
#include "schema/defaults.h"
#include "schema/json.h"
#include "schema/validate.h"

namespace dure::kinds {
namespace {

using schema::Document;
using testing::ElementsAre;
using testing::IsEmpty;

Document object(const std::string& json, const char* api_version, const char* kind) {
  auto document = schema::decode_json(SharedBytes(json), *find_type(api_version, kind),
                                      {.strictness = schema::Strictness::strict});
  EXPECT_TRUE(document) << document.error().message;
  schema::apply_defaults(*document);
  Document again = document->clone();
  schema::apply_defaults(again);
  EXPECT_EQ(schema::to_json(again), schema::to_json(*document)) << "defaults are not idempotent";
  return std::move(*document);
}

std::vector<std::string> wrong(const Document& now, const Document* old = nullptr) {
  std::vector<std::string> out;
  for (const Cause& cause : schema::validate(now, old)) out.push_back(schema::cause_text(cause));
  return out;
}

Document pod(const std::string& spec) {
  return object(R"({"metadata":{"name":"p","namespace":"d"},"spec":{)" + spec + "}}", "v1", "Pod");
}
std::string container(const std::string& more, const std::string& name = "c") {
  return R"({"name":")" + name + R"(","image":"i")" + more + "}";
}

TEST(PodDefaults, PullPolicyFollowsTheTag) {
  const std::pair<const char*, const char*> cases[] = {{"nginx", "Always"},
                                                       {"nginx:latest", "Always"},
                                                       {"nginx:1.27", "IfNotPresent"},
                                                       {"host:5000/nginx", "Always"},
                                                       {"host:5000/nginx:1", "IfNotPresent"},
                                                       {"nginx@sha256:abc", "IfNotPresent"},
                                                       {"nginx:latest@sha256:abc", "Always"}};
  for (const auto& [image, policy] : cases) {
    const Document p =
        pod(R"("containers":[{"name":"c","image":")" + std::string(image) + R"("}])");
    EXPECT_EQ(core_v1::Pod(p).spec().containers().front().imagePullPolicy(), policy) << image;
  }
}

TEST(PodDefaults, WhatLooksAtOtherRows) {
  const Document p = pod(
      R"("hostNetwork":true,"serviceAccountName":"s","containers":[{"name":"c","image":"i",)"
      R"("ports":[{"containerPort":80}],"resources":)"
      R"({"limits":{"cpu":"1","memory":"1Gi"},"requests":{"cpu":"500m"}}}],"volumes":[{"name":"v"}])");
  const core_v1::PodSpec spec = core_v1::Pod(p).spec();
  EXPECT_EQ(spec.containers().front().ports().front().hostPort(), 80);
  EXPECT_EQ(spec.containers().front().resources().requests().get("cpu"), "500m");
  EXPECT_EQ(spec.containers().front().resources().requests().get("memory"), "1Gi");
  EXPECT_TRUE(spec.volumes().front().has_emptyDir());
  EXPECT_EQ(spec.serviceAccount(), "s");
  EXPECT_TRUE(spec.enableServiceLinks());
  EXPECT_THAT(wrong(p), IsEmpty());
  const Document deployment = object(
      R"({"spec":{"template":{"spec":{"containers":[{"name":"c","image":"i",)"
      R"("resources":{"limits":{"cpu":"1"}}}]}}}})",
      "apps/v1", "Deployment");
  const core_v1::PodSpec templated = apps_v1::Deployment(deployment).spec().template_().spec();
  EXPECT_FALSE(templated.has_enableServiceLinks());  // of pods only
  EXPECT_FALSE(templated.containers().front().resources().has_requests());
}

TEST(PodDefaults, AreTheSameWithoutASpec) {
  EXPECT_TRUE(core_v1::Pod(object("{}", "v1", "Pod")).spec().enableServiceLinks());
}

TEST(OtherDefaults, ServicesJobsNamespacesPolicies) {
  const Document service = object(
      R"({"spec":{"sessionAffinity":"ClientIP","ports":[{"port":80},{"name":"b","port":81,"targetPort":"x"}]}})",
      "v1", "Service");
  EXPECT_EQ(core_v1::Service(service).spec().ports().front().targetPort()->integer(), 80);
  EXPECT_EQ(core_v1::Service(service).spec().ports()[1].targetPort()->string(), "x");
  EXPECT_EQ(core_v1::Service(service).spec().sessionAffinityConfig().clientIP().timeoutSeconds(),
            10800);
  const Document job = object(
      R"({"spec":{"backoffLimitPerIndex":1,"completionMode":"Indexed","completions":2,)"
      R"("template":{"metadata":{"labels":{"a":"b"}}}}})",
      "batch/v1", "Job");
  EXPECT_EQ(batch_v1::Job(job).spec().backoffLimit(), INT32_MAX);
  EXPECT_EQ(batch_v1::Job(job).spec().podReplacementPolicy(), "TerminatingOrFailed");
  EXPECT_EQ(batch_v1::Job(job).metadata().labels().get("a"), "b");
  const Document space = object(R"({"metadata":{"name":"n"}})", "v1", "Namespace");
  EXPECT_EQ(core_v1::Namespace(space).metadata().labels().get("kubernetes.io/metadata.name"), "n");
  EXPECT_EQ(core_v1::Namespace(space).status().phase(), "Active");
}

TEST(PodRules, MountsPortsAndNames) {
  EXPECT_THAT(
      wrong(pod(
          R"("containers":[)" +
          container(
              R"(,"volumeMounts":[{"name":"v","mountPath":"/a"},{"name":"w","mountPath":"/a"}],)"
              R"("ports":[{"name":"x",)"
              R"("containerPort":1,"hostPort":9},{"name":"x","containerPort":2,"hostPort":9}])") +
          R"(],"initContainers":[)" + container("") + R"(],"volumes":[{"name":"v"}])")),
      testing::UnorderedElementsAre(
          "spec.containers[0].volumeMounts[1].name: Not found: \"w\"",
          "spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/a\": must be unique",
          "spec.containers[0].ports[1].name: Duplicate value: \"x\"",
          "spec.containers[0].ports[1].hostPort: Duplicate value: \"TCP//9\"",
          "spec.initContainers[0].name: Duplicate value: \"c\""));
}

TEST(PodRules, PartsOfContainers) {
  EXPECT_THAT(
      wrong(pod(R"("containers":[)" +
                container(R"(,"livenessProbe":{},"readinessProbe":{"httpGet":{"port":0}})") + "]")),
      testing::UnorderedElementsAre(
          "spec.containers[0].livenessProbe: Required value: must specify a handler type",
          "spec.containers[0].readinessProbe.httpGet.port: Invalid value: 0: must be between 1 and "
          "65535, inclusive"));
  EXPECT_THAT(
      wrong(pod(R"("containers":[)" +
                container(R"(,"resources":{"limits":{"cpu":"1"},"requests":{"cpu":"2"}})") + "]")),
      ElementsAre("spec.containers[0].resources.requests: Invalid value: \"2\": must be less than "
                  "or equal to cpu limit of 1"));
  EXPECT_THAT(
      wrong(pod(
          R"("containers":[)" +
          container(
              R"(,"env":[{"name":"A","value":"x","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}}])") +
          "]")),
      ElementsAre("spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified "
                  "when `value` is not empty"));
  EXPECT_THAT(
      wrong(pod(
          R"("containers":[)" + container("") +
          R"(],"tolerations":[{"operator":"Exists","value":"x"},{"key":"k","effect":"NoSchedule",)"
          R"("tolerationSeconds":1},{}])")),
      testing::SizeIs(3));
}

TEST(PodRules, OnlyAFewThingsChange) {
  const Document before = pod(R"("nodeName":"n","containers":[)" + container("") + "]");
  Document image = before.clone();
  core_v1::Pod(image).mutable_spec().containers().front().set_image("other:2");
  EXPECT_THAT(wrong(image, &before), IsEmpty());
  Document command = before.clone();
  core_v1::Pod(command).mutable_spec().containers().front().add_command("sh");
  EXPECT_EQ(wrong(command, &before).size(), 1u);
  EXPECT_TRUE(wrong(command, &before)[0].starts_with(
      "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`"));
}

TEST(PodRules, WhatChangesDoesSoInOneDirection) {
  const auto spec = [](const std::string& rest) { return pod(R"("containers":[)" + container("") + "]" + rest); };
  const auto change = [&](const std::string& from, const std::string& to) {
    const Document before = spec(from);
    return wrong(spec(to), &before);
  };
  const std::string bare = R"("containers":[{"name":"c","image":"i","resources":{"limits":{"cpu":"1"}}}])";
  const Document before = spec("");
  EXPECT_THAT(wrong(pod(bare), &before), testing::SizeIs(1)) << "resources go through pods/resize";
  EXPECT_THAT(change("", R"(,"ephemeralContainers":[{"name":"e","image":"i"}])"), testing::SizeIs(1));

  const std::string toleration = R"(,"tolerations":[{"key":"a","operator":"Exists","effect":"NoExecute")";
  EXPECT_THAT(change("", toleration + "}]"), IsEmpty());
  EXPECT_THAT(change(toleration + "}]", toleration + R"(,"tolerationSeconds":3},{"key":"b","operator":"Exists"}])"),
              IsEmpty());
  EXPECT_THAT(change(toleration + "}]", ""), ElementsAre("spec.tolerations: Forbidden: existing toleration can not be "
                                                          "modified except its tolerationSeconds"));

  const std::string deadline = R"(,"activeDeadlineSeconds":)", grace = R"(,"terminationGracePeriodSeconds":)";
  EXPECT_THAT(change(deadline + "9", deadline + "8"), IsEmpty());
  EXPECT_THAT(change(deadline + "9", deadline + "10"),
              ElementsAre("spec.activeDeadlineSeconds: Invalid value: 10: must be less than or equal to previous value"));
  EXPECT_THAT(change(deadline + "9", ""), testing::SizeIs(1));
  EXPECT_THAT(change(grace + "30", grace + "31"), testing::SizeIs(1));

}

TEST(PodRules, AGatedPodIsNarrowedOnly) {
  const auto spec = [](const std::string& rest) { return pod(R"("containers":[)" + container("") + "]" + rest); };
  const auto change = [&](const std::string& from, const std::string& to) {
    const Document before = spec(from);
    return wrong(spec(to), &before);
  };
  const std::string gate = R"(,"schedulingGates":[{"name":"g"}])";
  EXPECT_THAT(change(gate, R"(,"nodeSelector":{"a":"b"})"), IsEmpty());
  EXPECT_THAT(change("", R"(,"nodeSelector":{"a":"b"})"), testing::SizeIs(1));
  EXPECT_THAT(change(gate, gate + R"(,"hostname":"h")"), testing::SizeIs(1)) << "a gate opens nothing else";
  EXPECT_THAT(change("", gate),
              ElementsAre("spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling "
                          "gate 'g'"));
  EXPECT_THAT(wrong(spec(gate + R"(,"nodeName":"n")")),
              ElementsAre("spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"));

  const std::string selector = gate + R"(,"nodeSelector":{"a":"b"})";
  EXPECT_THAT(change(selector, gate + R"(,"nodeSelector":{"a":"b","c":"d"})"), IsEmpty());
  EXPECT_THAT(change(selector, gate + R"(,"nodeSelector":{"a":"c"})"),
              ElementsAre("spec.nodeSelector: Invalid value: {\"a\":\"c\"}: only additions to spec.nodeSelector are "
                          "allowed (no mutations or deletions)"));
  EXPECT_THAT(change(selector, gate), testing::SizeIs(1));

  const auto affinity = [&](const std::string& terms, const std::string& more = "") {
    return gate +
           R"(,"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[)" +
           terms + "]}" + more + "}}";
  };
  const auto term = [](const std::string& requirements) { return R"({"matchExpressions":[)" + requirements + "]}"; };
  const std::string a = R"({"key":"a","operator":"Exists"})", b = R"({"key":"b","operator":"Exists"})";
  const std::string preferred = R"(,"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":1,"preference":)" +
                                term(a) + "}]";
  EXPECT_THAT(change(gate, affinity(term(a))), IsEmpty());
  EXPECT_THAT(change(affinity(term(a)), affinity(term(a + "," + b))), IsEmpty());
  EXPECT_THAT(change(affinity(term(a)), affinity(term(a), preferred)), IsEmpty());
  EXPECT_THAT(change(affinity(term(a)), gate), testing::SizeIs(1));
  EXPECT_THAT(change(affinity(term(a)), affinity(term(a) + "," + term(b))),
              ElementsAre(testing::HasSubstr("no additions/deletions to non-empty NodeSelectorTerms list are allowed")));
  EXPECT_THAT(change(affinity(term(a) + "," + term(b)), affinity(term(a) + "," + term(a))),
              ElementsAre(testing::AllOf(testing::HasSubstr("nodeSelectorTerms[1]: Invalid value"),
                                         testing::HasSubstr("only additions are allowed (no mutations or deletions)"))));
  EXPECT_THAT(change(gate, gate + R"(,"affinity":{"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":)"
                                  R"([{"topologyKey":"t"}]}})"),
              ElementsAre(testing::HasSubstr("pod updates may not change fields")));
}

TEST(PodRules, ContainersAreNeitherAddedNorBlank) {
  const Document before = pod(R"("containers":[)" + container("") + "]");
  EXPECT_THAT(wrong(pod(R"("containers":[)" + container("") + "," + container("", "d") + "]"), &before),
              ElementsAre("spec.containers: Forbidden: pod updates may not add or remove containers"));
  EXPECT_THAT(wrong(pod(R"("containers":[{"name":"c","image":"i "}])"), &before),
              ElementsAre("spec.containers[0].image: Invalid value: \"i \": must not have leading or trailing "
                          "whitespace"));
}

TEST(WorkloadRules, SelectorsTemplatesAndStrategies) {
  const auto deployment = [](const std::string& spec) {
    return wrong(object(R"({"metadata":{"name":"w","namespace":"d"},"spec":{)" + spec + "}}",
                        "apps/v1", "Deployment"));
  };
  const std::string containers = R"("containers":[{"name":"c","image":"i:1"}])";
  EXPECT_THAT(
      deployment(
          R"("selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{)" +
          containers + "}}"),
      IsEmpty());
  EXPECT_THAT(
      deployment(
          R"("selector":{"matchLabels":{"a":"x"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{)" +
          containers + "}}"),
      ElementsAre("spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does "
                  "not match template `labels`"));
  EXPECT_THAT(
      deployment(R"("selector":{},"template":{"spec":{)" + containers +
                 R"(,"restartPolicy":"Never"}})"),
      ElementsAre("spec.selector: Invalid value: {}: empty selector is invalid for deployment",
                  "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported "
                  "values: \"Always\""));
  EXPECT_THAT(
      deployment(
          R"("selector":{"matchLabels":{"a":"b"}},"strategy":{"rollingUpdate":{"maxSurge":0,)"
          R"("maxUnavailable":"0%"}},"template":{"metadata":{"labels":)"
          R"({"a":"b"}},"spec":{)" +
          containers + "}}"),
      ElementsAre("spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0%\": may not be 0 "
                  "when `maxSurge` is 0"));
}

TEST(ServiceRules, PortsAndAddresses) {
  const auto service = [](const std::string& spec) {
    return wrong(object(R"({"metadata":{"name":"s","namespace":"d"},"spec":{)" + spec + "}}", "v1",
                        "Service"));
  };
  EXPECT_THAT(service(""), ElementsAre("spec.ports: Required value"));
  EXPECT_THAT(service(R"("clusterIP":"None")"), IsEmpty());
  EXPECT_THAT(
      service(R"("ports":[{"port":80},{"port":80}])"),
      ElementsAre("spec.ports[0].name: Required value", "spec.ports[1].name: Required value",
                  "spec.ports[1]: Duplicate value: {\"protocol\":\"TCP\",\"port\":80}"));
  EXPECT_THAT(
      service(R"("ports":[{"port":80,"nodePort":30000}])"),
      ElementsAre("spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"));
  EXPECT_THAT(service(R"("type":"ExternalName")"),
              ElementsAre("spec.externalName: Required value"));
}

TEST(ClusterRules, FrozenConfigurationAndRoles) {
  const Document before =
      object(R"({"metadata":{"name":"c","namespace":"d"},"immutable":true,"data":{"a":"b"}})", "v1",
             "ConfigMap");
  Document after = before.clone();
  core_v1::ConfigMap(after).set_data("a", "c");
  EXPECT_THAT(wrong(after, &before),
              ElementsAre("data: Forbidden: field is immutable when `immutable` is set"));
  EXPECT_THAT(
      wrong(object(
          R"({"metadata":{"name":"r"},"rules":[{"verbs":["get"]},{"verbs":["get"],"nonResourceURLs":["/x"]}]})",
          "rbac.authorization.k8s.io/v1", "ClusterRole")),
      ElementsAre(
          "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
          "rules[0].resources: Required value: resource rules must supply at least one resource"));
  EXPECT_THAT(
      wrong(object(
          R"({"metadata":{"name":"r","namespace":"d"},"subjects":[{"kind":"Robot","name":"x"}],)"
          R"("roleRef":{"kind":"Role","name":"r"}})",
          "rbac.authorization.k8s.io/v1", "RoleBinding")),
      ElementsAre("subjects[0].kind: Unsupported value: \"Robot\": supported values: \"Group\", "
                  "\"ServiceAccount\", \"User\""));
}

TEST(Hooks, AreCounted) {
  // So that it is felt: what rows can say belongs in rows.
  int types = 0;
  for (const schema::Type* type : kinds()) types += type->hooks != nullptr;
  std::printf("kinds with hooks of their own: %d of %zu\n", types, kinds().size());
}

}  // namespace
}  // namespace dure::kinds
