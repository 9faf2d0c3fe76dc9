// Pid 1 of a lab node: gives the node its own view of the machine (host name, /etc, /var, /run, /sys, cgroups, own
// containerd state), then starts what it is told over a socket and starts it again when it dies, as a service manager
// would.
//
// A node of kind systemd gets a root of its own, says that it is ready and becomes /sbin/init; it takes no orders.
//
// Orders are lines of words separated by tabs: "start NAME ARG..." (once for each service), "signal NAME NUMBER",
// "set NAME KEY=VALUE..." (the environment from now on; the service starts again).
#pragma once

#include <string>
#include <vector>

#include "lab/cgroup.h"
#include "lab/spec.h"

namespace dure::lab {

struct NodeInit {
  NodeSpec node;
  std::string state;              // this node's folder
  std::string binary;             // the dure program of the lab
  std::string root;               // kind systemd: the root file system below its own
  std::string hosts;              // further lines of /etc/hosts
  std::vector<Hierarchy> groups;  // as the machine sees them
  int control = -1;               // stream socket: orders come in, "ready" goes out once
};

// Never returns while the node lives; the exit status is that of a failed set-up.
int run_node(const NodeInit& init);

}  // namespace dure::lab
