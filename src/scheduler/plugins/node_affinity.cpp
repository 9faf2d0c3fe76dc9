#include "base/text.h"
#include "kinds/views/core_v1.h"
#include "scheduler/plugins/plugins.h"

namespace dure::scheduler {
namespace {

using kinds::core_v1::Node;
using kinds::core_v1::NodeSelectorRequirement;
using kinds::core_v1::NodeSelectorTerm;
using kinds::core_v1::Pod;

bool holds(const NodeSelectorRequirement& requirement, bool present, std::string_view value) {
  const std::string_view op = requirement.operator_();
  if (op == "Exists") return present;
  if (op == "DoesNotExist") return !present;
  if (op == "In") return present && requirement.values().contains(value);
  if (op == "NotIn") return !present || !requirement.values().contains(value);
  const auto mine = present ? parse_int(value) : std::nullopt;
  const auto bound = parse_int(requirement.values().front());
  if (!mine || !bound) return false;
  return op == "Gt" ? *mine > *bound : op == "Lt" && *mine < *bound;
}

// Requirements within a term are all needed; an empty term matches nothing.
bool term_matches(const NodeSelectorTerm& term, const Node& node) {
  if (term.matchExpressions().empty() && term.matchFields().empty()) return false;
  for (const NodeSelectorRequirement& requirement : term.matchExpressions()) {
    const auto labels = node.metadata().labels();
    if (!holds(requirement, labels.contains(requirement.key()), labels.get(requirement.key()))) return false;
  }
  for (const NodeSelectorRequirement& requirement : term.matchFields())
    if (requirement.key() != "metadata.name" || !holds(requirement, true, node.metadata().name())) return false;
  return true;
}

bool matches(const Pod& pod, const Node& node) {
  for (const auto& [key, value] : pod.spec().nodeSelector())
    if (!node.metadata().labels().contains(key) || node.metadata().labels().get(key) != value) return false;
  const auto affinity = pod.spec().affinity().nodeAffinity();
  if (!affinity.has_requiredDuringSchedulingIgnoredDuringExecution()) return true;
  for (const NodeSelectorTerm& term : affinity.requiredDuringSchedulingIgnoredDuringExecution().nodeSelectorTerms())
    if (term_matches(term, node)) return true;
  return false;
}

}  // namespace

void check_node_affinity(const PodNeeds& pod, const NodeRoom& node, Reasons& reasons) {
  if (!matches(Pod(pod.pod), Node(node.node))) reasons.push_back("node(s) didn't match Pod's node affinity/selector");
}

void rate_node_affinity(const PodNeeds& pod, const std::vector<const NodeRoom*>& all, std::vector<int64_t>& out) {
  const auto preferred =
      Pod(pod.pod).spec().affinity().nodeAffinity().preferredDuringSchedulingIgnoredDuringExecution();
  if (preferred.empty()) return;
  for (size_t i = 0; i < all.size(); ++i)
    for (const auto& one : preferred)
      if (term_matches(one.preference(), Node(all[i]->node))) out[i] += one.weight();
  normalize(out, false);
}

}  // namespace dure::scheduler
