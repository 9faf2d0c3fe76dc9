// LabSpec: what a lab consists of. A value; `write_spec` and `read_spec` keep it in the lab's folder.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace dure::lab {

struct NodeSpec {
  std::string name;                       // also the host name
  std::string address;                    // on the lab's LAN
  bool server = false;                    // runs the control plane (and an agent)
  bool bare = false;                      // only a machine with containerd: to try `dure join` by hand
  std::string cpu = "2", memory = "2Gi";  // what the agent reports: /proc shows the whole machine
};

struct LabSpec {
  std::string id = "lab";
  std::string folder;                 // absolute; holds the state of every node
  std::string binary;                 // absolute path of the dure binary that the nodes run
  std::string subnet = "192.168.35";  // /24; .1 is the LAN's bridge
  std::vector<NodeSpec> nodes;
  int api_port = 0;             // on the machine's loopback; 0: chosen
  Duration time_limit = 30min;  // zero: none
  std::string pod_cidr = "10.244.0.0/16", service_cidr = "10.96.0.0/12";
};

// One LAN: node1 is the server, all are workers; the last `bare` ones have not joined.
LabSpec one_lan(std::string id, std::string folder, std::string binary, int nodes, int bare = 0);

// What a running lab is: written by the supervisor as `state` in the folder, one "key value..." per line.
struct LabState {
  int supervisor_pid = 0, init_pid = 0, api_port = 0;
  int64_t ends_at_seconds = 0;  // Unix time; 0: never
  struct Node {
    std::string name, address;
    int pid = 0;  // of its pid 1, as the machine counts
    bool server = false, bare = false;
  };
  std::vector<Node> nodes;
  const Node* node(std::string_view name) const;
};

Status write_state(const std::string& folder, const LabState& state);
Result<LabState> read_state(const std::string& folder);

}  // namespace dure::lab
