#include "bootstrap/checks/manifest.h"

#include <gtest/gtest.h>

namespace dure::bootstrap {
namespace {

std::vector<std::string> codes(std::string_view yaml, std::string_view pods = "10.244.0.0/16") {
  CheckOptions options;
  options.ranges = {{"pod", *IpPrefix::parse(pods)}};
  std::vector<std::string> out;
  for (const Finding& one : check_manifest(yaml, options)) out.push_back(one.code);
  return out;
}
using Codes = std::vector<std::string>;

constexpr const char* kInstallation = R"(# as Calico ships it
apiVersion: operator.tigera.io/v1
kind: Installation
metadata:
  name: default
spec:
  calicoNetwork:
    ipPools:
    - blockSize: 26
      cidr: 192.168.0.0/16
---
apiVersion: operator.tigera.io/v1
kind: APIServer
metadata:
  name: default
spec: {}
)";

TEST(Manifest, CalicosInstallation) {
  EXPECT_EQ(codes(kInstallation), Codes{"CalicoPoolOutside"});
  EXPECT_EQ(codes(kInstallation, "192.168.0.0/16"), Codes{});
  EXPECT_EQ(codes(kInstallation, "192.168.0.0/20"), Codes{"CalicoPoolOutside"});  // wider than the cluster's
}

TEST(Manifest, CalicosVariable) {
  auto with = [](std::string_view variable) {
    return "kind: DaemonSet\nmetadata:\n  name: calico-node\nspec:\n  template:\n    spec:\n      containers:\n      - "
           "name: "
           "calico-node\n        env:\n        - name: DATASTORE_TYPE\n          value: kubernetes\n" +
           std::string(variable);
  };
  EXPECT_EQ(codes(with("        # - name: CALICO_IPV4POOL_CIDR\n        #   value: \"192.168.0.0/16\"\n")),
            Codes{"CalicoPoolUnset"});
  EXPECT_EQ(codes(with("        - name: CALICO_IPV4POOL_CIDR\n          value: \"10.244.0.0/16\"\n")), Codes{});
  EXPECT_EQ(codes(with("        - name: CALICO_IPV4POOL_CIDR\n          value: \"192.168.0.0/16\"\n")),
            Codes{"CalicoPoolOutside"});
}

TEST(Manifest, FlannelsNetwork) {
  constexpr const char* flannel =
      "kind: ConfigMap\napiVersion: v1\nmetadata:\n  name: kube-flannel-cfg\ndata:\n  net-conf.json: |\n    {\n      "
      "\"Network\": "
      "\"10.244.0.0/16\",\n      \"Backend\": {\"Type\": \"vxlan\"}\n    }\n";
  EXPECT_EQ(codes(flannel), Codes{});
  EXPECT_EQ(codes(flannel, "10.42.0.0/16"), Codes{"FlannelNetworkDiffers"});
}

TEST(Manifest, OtherThings) {
  EXPECT_EQ(codes(""), Codes{});
  EXPECT_EQ(codes("---\n---\n"), Codes{});
  EXPECT_EQ(codes("kind: Deployment\nmetadata:\n  name: x\n"), Codes{});
  EXPECT_EQ(codes("- a\n- b\n"), Codes{});
  EXPECT_EQ(codes("a: [b\n"), Codes{"ManifestUnreadable"});
}

}  // namespace
}  // namespace dure::bootstrap
