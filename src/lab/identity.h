// What makes a node itself, as files below its root: its name, machine-id, hosts and resolver, and how containerd is
// set up there.
#pragma once

#include <string>

#include "lab/topology.h"

namespace dure::lab {

// `root`: "" for the caller's own. `state`: the node's folder; with the name it makes the machine-id.
void write_identity(const std::string& root, const NodeSpec& node, const std::string& state, const std::string& hosts);
std::string machine_id(const NodeSpec& node, const std::string& state);

// The text of a node's /etc/hosts.
std::string node_hosts(const NodeSpec& node, const std::string& further_lines);

}  // namespace dure::lab
