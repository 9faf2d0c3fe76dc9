#include "pods/environment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pods/dns_config.h"
#include "pods/resources.h"
#include "pods/image_puller.h"
#include "schema/json.h"

namespace dure::pods {
namespace {

using kinds::core_v1::Pod;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Row = std::pair<std::string, std::string>;

schema::Object object_of(const schema::Type& type, const std::string& json) {
  auto document = schema::decode_json(SharedBytes(json), type);
  EXPECT_TRUE(document) << document.error().message;
  return schema::share(*std::move(document));
}
schema::Object pod_of(const std::string& spec) {
  return object_of(Pod::schema_type(), R"({"metadata":{"name":"web-0","namespace":"shop","uid":"u-1","labels":{"app":"web","tier":"x"},
      "annotations":{"note":"say \"hi\""}},"spec":{"nodeName":"n1","serviceAccountName":"robot",)" + spec + "}}");
}

TEST(Expand, FollowsTheKubeletsRules) {
  const Environment e{{"A", "1"}, {"B", "$(A)"}, {"EMPTY", ""}};
  for (auto [text, wanted] : {Row{"$(A)", "1"}, {"x$(A)y$(A)", "x1y1"}, {"$(B)", "$(A)"}, {"$(NONE)", "$(NONE)"}, {"$$(A)", "$(A)"},
                              {"$$$(A)", "$1"}, {"$A", "$A"}, {"$(A", "$(A"}, {"$", "$"}, {"$(EMPTY)", ""}, {"$()", "$()"}, {"a$$b", "a$b"}})
    EXPECT_EQ(expand(text, e), wanted) << text;
}

TEST(Environment, IsMadeInOrderFromAllItsSources) {
  const schema::Object pod = pod_of(R"x("containers":[{"name":"c","resources":{"limits":{"cpu":"1500m","memory":"64Mi"}},
    "envFrom":[{"prefix":"P_","configMapRef":{"name":"m"}},{"secretRef":{"name":"s"}},{"configMapRef":{"name":"none","optional":true}}],
    "env":[{"name":"LIT","value":"a $(P_x) $(LATER)"},{"name":"NAME","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}},
      {"name":"LABEL","valueFrom":{"fieldRef":{"fieldPath":"metadata.labels['app']"}}},{"name":"IP","valueFrom":{"fieldRef":{"fieldPath":"status.podIP"}}},
      {"name":"CPU","valueFrom":{"resourceFieldRef":{"resource":"limits.cpu"}}},{"name":"MEM","valueFrom":{"resourceFieldRef":{"resource":"limits.memory","divisor":"1Mi"}}},
      {"name":"REQ","valueFrom":{"resourceFieldRef":{"resource":"requests.cpu","divisor":"1m"}}},
      {"name":"KEY","valueFrom":{"configMapKeyRef":{"name":"m","key":"x"}}},{"name":"SEC","valueFrom":{"secretKeyRef":{"name":"s","key":"pw"}}},
      {"name":"OPT","valueFrom":{"secretKeyRef":{"name":"gone","key":"k","optional":true}}},{"name":"LATER","value":"z"},{"name":"P_x","value":"over"}]}])x");
  EnvironmentSources sources;
  sources.config_map = [](std::string_view, std::string_view name) {
    return name == "m" ? object_of(kinds::core_v1::ConfigMap::schema_type(), R"({"data":{"x":"X","y":"Y"}})") : nullptr;
  };
  sources.secret = [](std::string_view, std::string_view name) {
    return name == "s" ? object_of(kinds::core_v1::Secret::schema_type(), R"({"data":{"pw":"aHVzaA=="}})") : nullptr;
  };
  sources.pod_ips = {"10.0.0.9"};
  const Pod view(pod);
  auto made = environment(view, find_container(view, "c"), sources);
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_THAT(*made, ElementsAre(Row{"P_x", "over"}, Row{"P_y", "Y"}, Row{"pw", "hush"}, Row{"LIT", "a X $(LATER)"}, Row{"NAME", "web-0"},
                                 Row{"LABEL", "web"}, Row{"IP", "10.0.0.9"}, Row{"CPU", "2"}, Row{"MEM", "64"}, Row{"REQ", "0"}, Row{"KEY", "X"},
                                 Row{"SEC", "hush"}, Row{"LATER", "z"}));
}

TEST(Environment, SaysWhatIsMissing) {
  EnvironmentSources sources;
  sources.config_map = [](std::string_view, std::string_view name) {
    return name == "m" ? object_of(kinds::core_v1::ConfigMap::schema_type(), R"({"data":{}})") : nullptr;
  };
  const auto error = [&](const std::string& env) {
    const schema::Object pod = pod_of(R"("containers":[{"name":"c",)" + env + "}]");
    const Pod view(pod);
    auto made = environment(view, find_container(view, "c"), sources);
    return made ? "none" : made.error().message;
  };
  EXPECT_EQ(error(R"("env":[{"name":"A","valueFrom":{"configMapKeyRef":{"name":"x","key":"k"}}}])"), "configmap \"x\" not found");
  EXPECT_EQ(error(R"("env":[{"name":"A","valueFrom":{"configMapKeyRef":{"name":"m","key":"k"}}}])"), "couldn't find key k in ConfigMap shop/m");
  EXPECT_EQ(error(R"("envFrom":[{"secretRef":{"name":"x"}}])"), "secret \"x\" not found");
}

TEST(Environment, ServicesOfTheNamespaceAndTheApi) {
  const schema::Object pod = pod_of(R"("containers":[{"name":"c"}])");
  const auto service = [](const std::string& ns, const std::string& name, const std::string& ip) {
    return object_of(kinds::core_v1::Service::schema_type(), R"({"metadata":{"namespace":")" + ns + R"(","name":")" + name + R"("},"spec":{"clusterIP":")" + ip +
                                                                 R"(","ports":[{"name":"http","port":80,"protocol":"TCP"}]}})");
  };
  const std::vector<schema::Object> services{service("shop", "my-db", "10.96.3.4"), service("shop", "headless", "None"),
                                             service("default", "kubernetes", "10.96.0.1")};
  const Environment e = service_environment(Pod(pod), services);
  EXPECT_THAT(e, ::testing::Contains(Row{"MY_DB_SERVICE_HOST", "10.96.3.4"}));
  EXPECT_THAT(e, ::testing::Contains(Row{"MY_DB_SERVICE_PORT_HTTP", "80"}));
  EXPECT_THAT(e, ::testing::Contains(Row{"MY_DB_PORT_80_TCP_ADDR", "10.96.3.4"}));
  EXPECT_THAT(e, ::testing::Contains(Row{"KUBERNETES_SERVICE_HOST", "10.96.0.1"}));
  for (const Row& row : e) EXPECT_FALSE(row.first.starts_with("HEADLESS"));
  const schema::Object shy = pod_of(R"("enableServiceLinks":false,"containers":[{"name":"c"}])");
  for (const Row& row : service_environment(Pod(shy), services)) EXPECT_TRUE(row.first.starts_with("KUBERNETES_")) << row.first;
}

TEST(Fields, MapsAreWrittenAsFiles) {
  const schema::Object pod = pod_of(R"("containers":[])");
  EXPECT_EQ(*field_value(Pod(pod), "metadata.labels", {}, {}), "app=\"web\"\ntier=\"x\"");
  EXPECT_EQ(*field_value(Pod(pod), "metadata.annotations", {}, {}), "note=\"say \\\"hi\\\"\"");
  EXPECT_EQ(*field_value(Pod(pod), "spec.serviceAccountName", {}, {}), "robot");
  EXPECT_FALSE(field_value(Pod(pod), "spec.nothing", {}, {}));
}

TEST(Resources, Classes) {
  const auto qos = [](const std::string& resources) {
    const schema::Object pod = pod_of(R"("containers":[{"name":"c","resources":)" + resources + "}]");
    return std::string(qos_class(Pod(pod)));
  };
  EXPECT_EQ(qos("{}"), "BestEffort");
  EXPECT_EQ(qos(R"({"requests":{"cpu":"1"}})"), "Burstable");
  EXPECT_EQ(qos(R"({"limits":{"cpu":"1","memory":"1Gi"}})"), "Guaranteed");
  EXPECT_EQ(qos(R"({"limits":{"cpu":"1","memory":"1Gi"},"requests":{"cpu":"500m","memory":"1Gi"}})"), "Burstable");
}

TEST(Resources, LinuxLimits) {
  const schema::Object pod = pod_of(R"("containers":[{"name":"c","resources":{"limits":{"cpu":"250m","memory":"64Mi"},"requests":{"cpu":"100m","memory":"32Mi"}}}])");
  const Pod view(pod);
  const LinuxResources r = linux_resources(view, find_container(view, "c"), 1ll << 30, -1000);
  EXPECT_EQ(r.cpu_shares, 102);
  EXPECT_EQ(r.cpu_quota, 25000);
  EXPECT_EQ(r.memory_limit, 64 << 20);
  EXPECT_EQ(r.oom_score_adj, 969);
  const schema::Object best = pod_of(R"("containers":[{"name":"c"}])");
  EXPECT_EQ(linux_resources(Pod(best), find_container(Pod(best), "c"), 1 << 30, -1000).oom_score_adj, 1000);
  const schema::Object sure = pod_of(R"("containers":[{"name":"c","resources":{"limits":{"cpu":"1","memory":"1Gi"}}}])");
  EXPECT_EQ(linux_resources(Pod(sure), find_container(Pod(sure), "c"), 1 << 30, -1000).oom_score_adj, -997);
  EXPECT_EQ(linux_resources(Pod(sure), find_container(Pod(sure), "c"), 1 << 30, 0).oom_score_adj, 0) << "without CAP_SYS_RESOURCE";
}

TEST(Dns, ByPolicy) {
  const DnsConfig node = parse_resolv_conf("# x\nnameserver 192.0.2.1\nsearch lan corp\noptions timeout:2\n");
  const ClusterDns cluster{{"10.96.0.10"}, "cluster.local"};
  const auto config = [&](const std::string& spec) {
    const schema::Object pod = pod_of(spec + R"("containers":[])");
    return dns_config(Pod(pod), cluster, node);
  };
  EXPECT_EQ(config(""), (DnsConfig{{"10.96.0.10"}, {"shop.svc.cluster.local", "svc.cluster.local", "cluster.local", "lan", "corp"}, {"ndots:5"}}));
  EXPECT_EQ(config(R"("dnsPolicy":"Default",)"), node);
  EXPECT_EQ(config(R"("hostNetwork":true,)"), node);
  EXPECT_EQ(config(R"("hostNetwork":true,"dnsPolicy":"ClusterFirstWithHostNet",)").servers, cluster.servers);
  EXPECT_EQ(config(R"("dnsPolicy":"None","dnsConfig":{"nameservers":["1.1.1.1"],"searches":["a"],"options":[{"name":"ndots","value":"2"}]},)"),
            (DnsConfig{{"1.1.1.1"}, {"a"}, {"ndots:2"}}));
  EXPECT_EQ(config(R"("dnsConfig":{"options":[{"name":"ndots","value":"1"}]},)").options, (std::vector<std::string>{"ndots:1"}));
}

TEST(Hosts, NamesThePodAndItsAliases) {
  const schema::Object pod = pod_of(R"("subdomain":"sub","hostAliases":[{"ip":"1.2.3.4","hostnames":["a","b"]}],"containers":[])");
  const std::string text = hosts_file(Pod(pod), {"10.0.0.9"}, "cluster.local", "");
  EXPECT_THAT(text, HasSubstr("10.0.0.9\tweb-0.sub.shop.svc.cluster.local\tweb-0\n"));
  EXPECT_THAT(text, HasSubstr("# Entries added by HostAliases.\n1.2.3.4\ta\tb\n"));
  const schema::Object long_name = object_of(Pod::schema_type(), R"({"metadata":{"name":")" + std::string(62, 'a') + R"(-bcd"},"spec":{}})");
  EXPECT_EQ(host_name(Pod(long_name), "x").name, std::string(62, 'a'));
}

TEST(Images, DefaultTags) {
  EXPECT_EQ(*with_default_tag("busybox"), "busybox:latest");
  EXPECT_EQ(*with_default_tag("localhost:5000/x"), "localhost:5000/x:latest");
  EXPECT_EQ(*with_default_tag("localhost:5000/x:1"), "localhost:5000/x:1");
  EXPECT_EQ(*with_default_tag("a/b@sha256:00"), "a/b@sha256:00");
  EXPECT_FALSE(with_default_tag("BusyBox"));
  EXPECT_FALSE(with_default_tag(""));
  EXPECT_FALSE(with_default_tag("a b"));
}

}  // namespace
}  // namespace dure::pods
