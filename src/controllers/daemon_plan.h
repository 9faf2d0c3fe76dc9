// What a DaemonSet wants on its nodes. Pure.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "controllers/api.h"

namespace dure::controllers {

inline constexpr std::string_view revision_hash_label = "controller-revision-hash";

// The pod of `daemon_set` for one node: tolerations for a node's own troubles, pinned by affinity.
Document daemon_pod(const Object& daemon_set, std::string_view node, std::string_view hash);

struct Fit {
  bool should_run = false;       // make a pod there
  bool should_continue = false;  // leave one that is there
};
// `pod`: what daemon_pod made, for any node.
Fit fit(const Document& pod, const Object& daemon_set, const Object& node);

// The node a pod of a DaemonSet is for: where it runs, or where its affinity pins it.
std::string node_of(const Object& pod);

struct DaemonView {
  Object daemon_set;
  std::vector<Object> nodes;
  std::map<std::string, std::vector<Object>> pods;  // by node
  std::string hash;                                 // of the current template
  WallTime now;
};

struct DaemonPlan {
  std::vector<std::string> create_on;  // node names
  std::vector<Object> remove;
  std::vector<Object> failed;               // of `remove`: those that ended Failed
  std::optional<Duration> look_again = {};  // a pod failed too soon to be replaced yet
};
// Pods that are missing, superfluous or failed.
DaemonPlan plan_presence(const DaemonView& view);
// The next step of replacing pods of older templates (RollingUpdate only), when presence needs nothing.
DaemonPlan plan_update(const DaemonView& view);

struct DaemonCounts {
  int64_t desired = 0, current = 0, misscheduled = 0, ready = 0, updated = 0, available = 0;
};
DaemonCounts count(const DaemonView& view);

}  // namespace dure::controllers
