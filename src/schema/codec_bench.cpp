// What a write costs before the store: a pod of about 4 KB through decode, defaults and validation,
// and its encodings.
//   cmake --preset bench && ninja codec_bench && codec_bench
#include <benchmark/benchmark.h>

#include "kinds/kinds.h"
#include "schema/defaults.h"
#include "schema/json.h"
#include "schema/proto.h"
#include "schema/validate.h"
#include "schema/yaml.h"

namespace dure::schema {
namespace {

// Members sorted by name, as kubectl sends what was YAML.
std::string pod_json() {
  std::string out =
      R"({"apiVersion":"v1","kind":"Pod",)"
      R"("metadata":{"annotations":{"kubernetes.io/config.seen":"2024-05-01T10:00:00.123456789Z",)"
      R"("prometheus.io/port":"9102","prometheus.io/scrape":"true"},"generateName":"checkout-7c5ddbdf54-",)"
      R"("labels":)"
      R"({"app.kubernetes.io/component":"web","app.kubernetes.io/instance":"checkout",)"
      R"("app.kubernetes.io/name":"checkout",)"
      R"("pod-template-hash":"7c5ddbdf54"},"name":"checkout-7c5ddbdf54-x2x7k","namespace":"shop",)"
      R"("ownerReferences":[{"apiVersion":)"
      R"("apps/v1","blockOwnerDeletion":true,"controller":true,"kind":"ReplicaSet","name":"checkout-7c5ddbdf54",)"
      R"("uid":)"
      R"("5b1c1f2e-8b7e-4a0e-9a53-3a1d3a9f7c11"}]},"spec":{"affinity":{"podAntiAffinity":)"
      R"({"preferredDuringSchedulingIgnoredDuringExecution":[{"podAffinityTerm":{"labelSelector":{"matchLabels":)"
      R"({"app.kubernetes.io/name":"checkout"}},"topologyKey":"kubernetes.io/hostname"},"weight":100}]}},)"
      R"("containers":[)";
  for (const char* name : {"web", "metrics", "proxy"}) {
    if (name[0] != 'w') out += ',';
    out += R"({"args":["--listen=:8080","--log-level=info","--upstream=http://127.0.0.1:9000"],"command":["/bin/)";
    out += name;
    out += R"("],"env":[{"name":"POD_NAME","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}},{"name":"LANG",)"
           R"("value":"C.UTF-8"},)"
           R"({"name":"PASSWORD","valueFrom":{"secretKeyRef":{"key":"password","name":"checkout-db"}}}],)"
           R"("image":"registry.example.com/shop/)";
    out += name;
    out += R"(:1.27.4","livenessProbe":{"httpGet":{"path":"/healthz","port":"http"},"initialDelaySeconds":10,)"
           R"("periodSeconds":10},"name":")";
    out += name;
    out += R"(","ports":[{"containerPort":8080,"name":"http","protocol":"TCP"}],)"
           R"("readinessProbe":{"httpGet":{"path":"/ready","port":)"
           R"("http"},"periodSeconds":5},"resources":{"limits":{"cpu":"500m","memory":"256Mi"},)"
           R"("requests":{"cpu":"100m","memory":"128Mi"}},)"
           R"("securityContext":{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]},)"
           R"("readOnlyRootFilesystem":true,)"
           R"("runAsNonRoot":true,"runAsUser":1000},"volumeMounts":[{"mountPath":"/etc/checkout","name":"config"},)"
           R"({"mountPath":"/tmp","name":"tmp"},)"
           R"({"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount","name":"kube-api-access-abcde",)"
           R"("readOnly":true}]})";
  }
  out += R"(],"nodeSelector":{"kubernetes.io/os":"linux"},"serviceAccountName":"checkout",)"
         R"("tolerations":[{"effect":"NoExecute","key":)"
         R"("node.kubernetes.io/not-ready","operator":"Exists","tolerationSeconds":300},{"effect":"NoExecute","key":)"
         R"("node.kubernetes.io/unreachable","operator":"Exists","tolerationSeconds":300}],)"
         R"("volumes":[{"configMap":{"name":"checkout"},)"
         R"("name":"config"},{"emptyDir":{"sizeLimit":"64Mi"},"name":"tmp"},{"name":"kube-api-access-abcde",)"
         R"("projected":{"sources":)"
         R"([{"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}},)"
         R"({"configMap":{"items":[{"key":"ca.crt","path":"ca.crt"}],)"
         R"("name":"kube-root-ca.crt"}},{"downwardAPI":{"items":[{"fieldRef":{"fieldPath":"metadata.namespace"},)"
         R"("path":"namespace"}]}}]}}]}})";
  return out;
}

const Type& pod_type() { return *kinds::find_type("v1", "Pod"); }

void decode_default_validate(benchmark::State& state) {
  const SharedBytes input(pod_json());
  for (auto _ : state) {
    auto pod = decode_json(input, pod_type(), {.strictness = Strictness::strict});
    if (!pod) return state.SkipWithError(pod.error().message.c_str());
    apply_defaults(*pod);
    const auto causes = validate(*pod);
    if (!causes.empty()) return state.SkipWithError(cause_text(causes[0]).c_str());
    benchmark::DoNotOptimize(pod->root());
  }
  state.counters["input_bytes"] = static_cast<double>(input.size());
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * input.size()));
}
BENCHMARK(decode_default_validate)->Unit(benchmark::kMicrosecond);

void decode(benchmark::State& state) {
  const SharedBytes input(pod_json());
  size_t bytes = 0;
  for (auto _ : state) {
    auto pod = decode_json(input, pod_type());
    bytes = pod->bytes();
    benchmark::DoNotOptimize(pod->root());
  }
  state.counters["arena_bytes"] = static_cast<double>(bytes);
}
BENCHMARK(decode)->Unit(benchmark::kMicrosecond);

void defaults_only(benchmark::State& state) {
  auto pod = decode_json(SharedBytes(pod_json()), pod_type());
  apply_defaults(*pod);
  for (auto _ : state) apply_defaults(*pod);
}
BENCHMARK(defaults_only)->Unit(benchmark::kMicrosecond);

void validate_only(benchmark::State& state) {
  auto pod = decode_json(SharedBytes(pod_json()), pod_type());
  apply_defaults(*pod);
  for (auto _ : state) benchmark::DoNotOptimize(validate(*pod));
}
BENCHMARK(validate_only)->Unit(benchmark::kMicrosecond);

void encode_json_bytes(benchmark::State& state) {
  auto pod = decode_json(SharedBytes(pod_json()), pod_type());
  std::string out;
  for (auto _ : state) {
    out.clear();
    encode_json(*pod, out);
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * out.size()));
}
BENCHMARK(encode_json_bytes)->Unit(benchmark::kMicrosecond);

void encode_proto_bytes(benchmark::State& state) {
  auto pod = decode_json(SharedBytes(pod_json()), pod_type());
  std::string out;
  for (auto _ : state) {
    out.clear();
    encode_proto(*pod, out);
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * out.size()));
}
BENCHMARK(encode_proto_bytes)->Unit(benchmark::kMicrosecond);

void decode_proto_bytes(benchmark::State& state) {
  auto pod = decode_json(SharedBytes(pod_json()), pod_type());
  std::string out;
  encode_proto(*pod, out);
  const SharedBytes input(std::move(out));
  for (auto _ : state) benchmark::DoNotOptimize(decode_proto(input, pod_type())->root());
}
BENCHMARK(decode_proto_bytes)->Unit(benchmark::kMicrosecond);

void decode_yaml_text(benchmark::State& state) {
  auto pod = decode_json(SharedBytes(pod_json()), pod_type());
  std::string out;
  encode_yaml(*pod, out);
  for (auto _ : state) benchmark::DoNotOptimize(decode_yaml(out, pod_type())->root());
}
BENCHMARK(decode_yaml_text)->Unit(benchmark::kMicrosecond);

void clone(benchmark::State& state) {
  auto pod = decode_json(SharedBytes(pod_json()), pod_type());
  for (auto _ : state) benchmark::DoNotOptimize(pod->clone().root());
}
BENCHMARK(clone)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace dure::schema

BENCHMARK_MAIN();
