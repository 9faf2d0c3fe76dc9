// Snapshot: nodes and the pods on them, reduced to what decisions need. A value: building it costs one pass over the
// pods; `place` keeps it true while a batch is planned.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "schema/document.h"

namespace dure::scheduler {

// Amounts by resource name; cpu in thousandths, memory and storage in bytes, others in units.
struct Amounts {
  int64_t cpu_milli = 0, memory = 0, ephemeral_storage = 0;
  std::map<std::string, int64_t, std::less<>> others = {};  // extended resources and hugepages

  void add(const Amounts& other, int sign = 1);
};

struct HostPort {
  std::string ip, protocol;
  int64_t port;
  // Upstream's rule: the same port and protocol clash when the addresses are equal or one is the wildcard.
  bool clashes_with(const HostPort& other) const;
};

// What a pod asks for, worked out once.
struct PodNeeds {
  schema::Object pod;
  Amounts requests;
  // For scoring: containers without a request count as 100m and 200 MB, as upstream has it.
  int64_t scoring_cpu_milli = 0, scoring_memory = 0;
  std::vector<HostPort> host_ports;
  int64_t priority = 0;
};
PodNeeds needs_of(const schema::Object& pod);

struct NodeRoom {
  schema::Object node;
  std::string name;
  Amounts allocatable, requested;
  int64_t pods_max = 0;
  int64_t scoring_cpu_milli = 0, scoring_memory = 0;
  std::vector<HostPort> host_ports;
  std::vector<std::shared_ptr<const PodNeeds>> pods;
};

class Snapshot {
 public:
  // Pods without a node, and finished ones, take no room.
  Snapshot(const std::vector<schema::Object>& nodes, const std::vector<schema::Object>& pods);
  std::vector<NodeRoom>& nodes() { return nodes_; }
  const std::vector<NodeRoom>& nodes() const { return nodes_; }
  // Counts the pod on the node from now on.
  void place(const std::shared_ptr<const PodNeeds>& pod, std::string_view node);

 private:
  std::vector<NodeRoom> nodes_;  // sorted by name
  std::unordered_map<std::string, size_t> index_;
};

}  // namespace dure::scheduler
