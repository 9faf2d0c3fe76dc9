// Status: why anything in a cluster is not as it should be, one line each. Pure: what was listed goes in, lines come
// out.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/time.h"
#include "client/client.h"

namespace dure::cli {

struct ClusterView {
  WallTime now;
  std::vector<schema::Object> nodes, leases, pods, deployments, daemon_sets, services, endpoint_slices, claims;
  std::vector<schema::Object> warnings;  // Events of type Warning
  std::map<std::string, bool> answers;   // by node: whether its own API could be asked; absent: not tried
};

struct StatusLine {
  std::string kind, name, state, why;
  std::string code;  // stable: "PodUnschedulable"
  friend bool operator==(const StatusLine&, const StatusLine&) = default;
};

// In the order in which one would mend things: nodes, claims, pods, workloads, Services. What began less than a few
// seconds ago is on its way and no trouble yet.
std::vector<StatusLine> explain(const ClusterView& view);

// A table; or the one line that all is well, with the numbers.
std::string status_text(const ClusterView& view, const std::vector<StatusLine>& lines);
std::string status_json(const std::vector<StatusLine>& lines);

bool is_node_ready(const schema::Object& node);

}  // namespace dure::cli
