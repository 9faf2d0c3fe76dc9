#include "pods/fields.h"

#include <fmt/format.h>

#include "base/text.h"
#include "schema/quantity.h"

namespace dure::pods {

using kinds::core_v1::Container;
using kinds::core_v1::Pod;

namespace {

// key="value" lines sorted by key, the value quoted with escapes: the form of downwardAPI files.
template <class Map>
std::string map_text(const Map& map) {
  std::string out;
  for (const auto& [key, value] : map) {
    if (!out.empty()) out += '\n';
    out += key;
    out += "=\"";
    for (char c : std::string_view(value)) {
      if (c == '"' || c == '\\') out += '\\';
      if (c == '\n')
        out += "\\n";
      else if (c == '\t')
        out += "\\t";
      else
        out += c;
    }
    out += '"';
  }
  return out;
}

// metadata.labels['key'] -> key
std::optional<std::string_view> subscript(std::string_view path, std::string_view prefix) {
  if (!path.starts_with(prefix)) return std::nullopt;
  std::string_view rest = path.substr(prefix.size());
  if (!rest.starts_with("['") || !rest.ends_with("']")) return std::nullopt;
  return rest.substr(2, rest.size() - 4);
}

std::string first_of(const std::vector<std::string>& ips) { return ips.empty() ? std::string() : ips.front(); }
std::string join_ips(const std::vector<std::string>& ips) { return join(ips, ","); }

}  // namespace

Result<std::string> field_value(const Pod& pod, std::string_view path, const NodeFacts& node,
                                const std::vector<std::string>& pod_ips) {
  const auto metadata = pod.metadata();
  if (path == "metadata.name") return std::string(metadata.name());
  if (path == "metadata.namespace") return std::string(metadata.namespace_());
  if (path == "metadata.uid") return std::string(metadata.uid());
  if (path == "metadata.labels") return map_text(metadata.labels());
  if (path == "metadata.annotations") return map_text(metadata.annotations());
  if (auto key = subscript(path, "metadata.labels")) {
    const auto labels = metadata.labels();
    return labels.contains(*key) ? std::string(labels.get(*key)) : std::string();
  }
  if (auto key = subscript(path, "metadata.annotations")) {
    const auto annotations = metadata.annotations();
    return annotations.contains(*key) ? std::string(annotations.get(*key)) : std::string();
  }
  if (path == "spec.nodeName") return std::string(pod.spec().nodeName());
  if (path == "spec.serviceAccountName") return std::string(pod.spec().serviceAccountName());
  if (path == "status.hostIP") return first_of(node.ips.get());
  if (path == "status.hostIPs") return join_ips(node.ips.get());
  if (path == "status.podIP") return pod_ips.empty() ? std::string() : pod_ips.front();
  if (path == "status.podIPs") return join_ips(pod_ips);
  return fail(bad_request(fmt::format("unsupported fieldPath: {}", path)));
}

Container find_container(const Pod& pod, std::string_view name) {
  for (Container c : pod.spec().containers())
    if (c.name() == name) return c;
  for (Container c : pod.spec().initContainers())
    if (c.name() == name) return c;
  return {};
}

namespace {

struct Amount {
  std::string_view limit, request;
  int64_t node_default = 0;  // in thousandths
};

Amount amount_of(const Container& container, std::string_view what, const NodeFacts& node) {
  Amount amount;
  const auto limits = container.resources().limits();
  const auto requests = container.resources().requests();
  if (limits.contains(what)) amount.limit = limits.get(what);
  if (requests.contains(what)) amount.request = requests.get(what);
  if (what == "cpu")
    amount.node_default = node.allocatable_cpu_milli;
  else if (what == "memory")
    amount.node_default = node.allocatable_memory * 1000;
  else if (what == "ephemeral-storage")
    amount.node_default = node.allocatable_ephemeral_storage * 1000;
  return amount;
}

}  // namespace

Result<std::string> resource_value(const Pod& pod, std::string_view container_name, std::string_view resource,
                                   std::string_view divisor, const NodeFacts& node) {
  const Container container = find_container(pod, container_name);
  if (container.empty()) return fail(bad_request(fmt::format("container {} not found", container_name)));
  const bool limit = resource.starts_with("limits.");
  if (!limit && !resource.starts_with("requests."))
    return fail(bad_request(fmt::format("unsupported container resource : {}", resource)));
  const std::string_view what = resource.substr(resource.find('.') + 1);
  const Amount amount = amount_of(container, what, node);
  int64_t milli = limit ? amount.node_default : 0;
  const std::string_view text = limit ? amount.limit : amount.request;
  if (!text.empty()) milli = schema::Quantity::read(text).milli();
  int64_t unit = schema::Quantity::read(divisor).milli();
  if (unit <= 0) unit = 1000;  // none, or "0": whole ones
  return std::to_string((milli + unit - 1) / unit);
}

}  // namespace dure::pods
