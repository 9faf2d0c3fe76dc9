#include "bootstrap/checks/manifest.h"

#include <fmt/format.h>

#include "base/text.h"
#include "schema/json.h"
#include "schema/yaml.h"

namespace dure::bootstrap {
namespace {

using schema::Node;
using Severity = Finding::Severity;

std::string_view text_of(const Node* object, std::string_view key) {
  const Node* member = object ? object->find(key) : nullptr;
  return member ? member->string() : std::string_view{};
}

// "---" at the beginning of a line parts documents.
std::vector<std::string_view> documents_of(std::string_view yaml) {
  std::vector<std::string_view> out;
  size_t begin = 0;
  for (size_t at = 0; at < yaml.size();) {
    const size_t end = std::min(yaml.find('\n', at), yaml.size());
    if (yaml.substr(at, end - at).starts_with("---")) {
      out.push_back(yaml.substr(begin, at - begin));
      begin = std::min(end + 1, yaml.size());
    }
    at = end + 1;
  }
  out.push_back(yaml.substr(begin));
  return out;
}

class ManifestCheck {
 public:
  explicit ManifestCheck(const CheckOptions& options) {
    for (const auto& [what, range] : options.ranges)
      if (what == "pod") pods_ = range;
  }

  void look_at(std::string_view yaml) {
    if (trim(yaml).empty()) return;
    const auto document = schema::decode_yaml(yaml);
    if (!document) return add("ManifestUnreadable", Severity::refuse, document.error().message, "correct the file");
    const Node* root = document->root();
    const std::string_view kind = text_of(root, "kind");
    if (kind == "Installation") return installation(root);
    if (kind == "IPPool") return pool(text_of(root->find("spec"), "cidr"), "the IPPool");
    if (kind == "ConfigMap") return flannel(root);
    if (kind == "DaemonSet") calico_node(root);
  }
  std::vector<Finding> take() { return std::move(findings_); }

 private:
  void add(const char* code, Severity severity, std::string sentence, std::string fix) {
    findings_.push_back({.code = code, .severity = severity, .sentence = std::move(sentence), .fix = std::move(fix)});
  }

  void pool(std::string_view text, std::string_view where) {
    const auto range = IpPrefix::parse(text);
    if (!range || range->ip.v6) return;
    if (pods_.length <= range->length && pods_.contains(range->ip)) return;
    add("CalicoPoolOutside", Severity::refuse,
        fmt::format(
            "{} has {}, which does not lie within the cluster's pod range {}: Calico stops and nodes stay NotReady",
            where, text, pods_.text()),
        fmt::format("write {} there, or dure init --pod-network-cidr={} --network none", pods_.text(), text));
  }

  void installation(const Node* root) {
    const Node* network = root->find("spec", "calicoNetwork");
    const Node* pools = network ? network->find("ipPools") : nullptr;
    for (const Node* one = pools ? pools->first() : nullptr; one; one = one->next())
      pool(text_of(one, "cidr"), "Calico's Installation");
  }

  void flannel(const Node* root) {
    const Node* data = root->find("data");
    const auto config = schema::decode_json(SharedBytes(std::string(text_of(data, "net-conf.json"))));
    if (!config) return;
    const std::string_view network = text_of(config->root(), "Network");
    const auto range = IpPrefix::parse(network);
    if (!range || range->network() == pods_.network()) return;
    add("FlannelNetworkDiffers", Severity::refuse,
        fmt::format("Flannel's Network is {} and the cluster's pod range {}: pods of other nodes are not reached",
                    network, pods_.text()),
        fmt::format("write {} into net-conf.json", pods_.text()));
  }

  // calico.yaml: the pool is a variable of its DaemonSet, commented out as it is shipped.
  void calico_node(const Node* root) {
    if (text_of(root->find("metadata"), "name") != "calico-node") return;
    const Node* containers = root->find("spec", "template", "spec", "containers");
    bool is_set = false;
    for (const Node* one = containers ? containers->first() : nullptr; one; one = one->next()) {
      const Node* variables = one->find("env");
      for (const Node* variable = variables ? variables->first() : nullptr; variable; variable = variable->next())
        if (text_of(variable, "name") == "CALICO_IPV4POOL_CIDR") {
          is_set = true;
          pool(text_of(variable, "value"), "CALICO_IPV4POOL_CIDR of calico-node");
        }
    }
    if (!is_set)
      add("CalicoPoolUnset", Severity::note,
          fmt::format("CALICO_IPV4POOL_CIDR is not set: Calico takes {} from the ConfigMap kubeadm-config",
                      pods_.text()),
          "");
  }

  IpPrefix pods_{Ip::v4(0x0af40000), 16};
  std::vector<Finding> findings_;
};

}  // namespace

std::vector<Finding> check_manifest(std::string_view yaml, const CheckOptions& options) {
  ManifestCheck check(options);
  for (const std::string_view one : documents_of(yaml)) check.look_at(one);
  return check.take();
}

}  // namespace dure::bootstrap
