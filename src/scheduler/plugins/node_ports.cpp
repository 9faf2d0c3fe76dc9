#include "scheduler/plugins/plugins.h"

namespace dure::scheduler {

void check_node_ports(const PodNeeds& pod, const NodeRoom& node, Reasons& reasons) {
  for (const HostPort& wanted : pod.host_ports)
    for (const HostPort& taken : node.host_ports)
      if (wanted.clashes_with(taken)) {
        reasons.push_back("node(s) didn't have free ports for the requested pod ports");
        return;
      }
}

}  // namespace dure::scheduler
