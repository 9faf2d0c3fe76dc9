// LabSpec: what is asked for; LabState: what a running lab is.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "lab/topology.h"

namespace dure::lab {

struct LabSpec {
  std::string id = "lab";
  std::string folder;  // absolute; holds the state of every node
  std::string binary;  // absolute path of the dure binary that the nodes run
  Topology topology;
  std::string network;          // of the pods, as `dure init --network`; empty: its default
  int api_port = 0;             // on the machine's loopback; 0: chosen
  Duration time_limit = 30min;  // zero: none
};

// Written by the supervisor as `state` in the folder, one "key value..." per line; anew after every change.
struct LabState {
  int supervisor_pid = 0, init_pid = 0, api_port = 0;
  int64_t ends_at_seconds = 0;  // Unix time; 0: never
  struct Node {
    std::string name, address;
    int pid = 0;  // of its pid 1, as the machine counts; 0: switched off
    bool server = false, bare = false;
    std::string site, condition;  // condition: "on", or what is not as usual: "off", "frozen", "unplugged", "skew=2h"
    std::string kind = "ns";
  };
  struct Site {
    std::string name, subnet, nat, public_address, cable;  // cable: "plain", "delay=30ms,loss=1%"
  };
  struct Router {  // also "internet"
    std::string name;
    int pid = 0;
  };
  std::vector<Node> nodes;
  std::vector<Site> sites;
  std::vector<Router> routers;
  std::vector<std::string> cuts;  // "home", "home company"
  const Node* node(std::string_view name) const;
};

Status write_state(const std::string& folder, const LabState& state);
Result<LabState> read_state(const std::string& folder);

}  // namespace dure::lab
