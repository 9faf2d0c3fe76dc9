#include "kinds/views/core_v1.h"
#include "scheduler/plugins/plugins.h"
#include "scheduler/plugins/tolerations.h"

namespace dure::scheduler {

using kinds::core_v1::Node;
using kinds::core_v1::Pod;

void check_node_name(const PodNeeds& pod, const NodeRoom& node, Reasons& reasons) {
  const std::string_view wanted = Pod(pod.pod).spec().nodeName();
  if (!wanted.empty() && wanted != node.name) reasons.push_back("node(s) didn't match the requested node name");
}

void check_unschedulable(const PodNeeds& pod, const NodeRoom& node, Reasons& reasons) {
  if (!Node(node.node).spec().unschedulable()) return;
  if (!tolerates(Pod(pod.pod), "node.kubernetes.io/unschedulable", "", "NoSchedule"))
    reasons.push_back("node(s) were unschedulable");
}

}  // namespace dure::scheduler
