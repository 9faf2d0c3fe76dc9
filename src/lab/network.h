// The lab's LAN: a bridge with a fixed address in the lab's own network namespace, one veth per node. Through
// kernel::Links.
#pragma once

#include "base/result.h"
#include "lab/spec.h"

namespace dure::lab {

// In the network namespace of process `init_pid`: lo up, bridge "lan" with <subnet>.1/24.
Status make_lan(int init_pid, const LabSpec& spec);
// eth0 in the node's namespace with its address and a default route to the bridge; lo up.
Status plug_in(int init_pid, int node_pid, const LabSpec& spec, const NodeSpec& node);

}  // namespace dure::lab
