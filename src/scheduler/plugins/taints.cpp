#include "kinds/views/core_v1.h"
#include "scheduler/plugins/plugins.h"
#include "scheduler/plugins/tolerations.h"

namespace dure::scheduler {

using kinds::core_v1::Node;
using kinds::core_v1::Pod;
using kinds::core_v1::Toleration;

namespace {

bool matches(const Toleration& toleration, std::string_view key, std::string_view value, std::string_view effect) {
  if (!toleration.effect().empty() && toleration.effect() != effect) return false;
  if (!toleration.key().empty() && toleration.key() != key) return false;
  if (toleration.operator_() == "Exists") return true;
  return !toleration.key().empty() && toleration.value() == value;
}

}  // namespace

bool tolerates(const Pod& pod, std::string_view key, std::string_view value, std::string_view effect) {
  for (const Toleration& toleration : pod.spec().tolerations())
    if (matches(toleration, key, value, effect)) return true;
  return false;
}

void check_taints(const PodNeeds& pod, const NodeRoom& node, Reasons& reasons) {
  for (const auto& taint : Node(node.node).spec().taints()) {
    if (taint.effect() != "NoSchedule" && taint.effect() != "NoExecute") continue;
    if (tolerates(Pod(pod.pod), taint.key(), taint.value(), taint.effect())) continue;
    reasons.push_back("node(s) had untolerated taint {" + std::string(taint.key()) + ": " + std::string(taint.value()) +
                      "}");
    return;  // upstream names the first one
  }
}

void rate_taints(const PodNeeds& pod, const std::vector<const NodeRoom*>& all, std::vector<int64_t>& out) {
  for (size_t i = 0; i < all.size(); ++i)
    for (const auto& taint : Node(all[i]->node).spec().taints())
      if (taint.effect() == "PreferNoSchedule" && !tolerates(Pod(pod.pod), taint.key(), taint.value(), taint.effect()))
        ++out[i];
  normalize(out, true);
}

}  // namespace dure::scheduler
