// NodeStatus: this machine as the API sees it: the Node object, its conditions, and the Lease that says "alive".
//
// Registers the Node (adopting one that is there), renews the Lease every 10 s, looks at the machine every 10 s (until
// it is Ready after 0.1 s, 0.2 s and so on, up to every second), and writes the status when it changed, otherwise every
// 5 min. After a silence (no Lease for two intervals) it reads the Node again: the server may have given it up
// meanwhile. Ready follows the container runtime and its network; its changes are told as events. Owner: the host's
// wiring. Thread: any; work runs as jobs.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/client.h"
#include "client/events.h"
#include "cri/runtime.h"
#include "os/disk.h"
#include "pods/node_facts.h"
#include "pods/node_ips.h"
#include "run/loop.h"

namespace dure::pods {

struct NodeTaint {
  std::string key, value, effect;
};

struct NodeOptions {
  std::string name;
  std::string hostname;  // empty: the name
  // InternalIPs, the first is the node's address. Empty: not known yet, and the Node is not Ready.
  NodeIps ips;
  std::map<std::string, std::string> labels, annotations;  // beside the well-known ones
  std::vector<NodeTaint> taints;                           // only when the Node is made
  // What the node may say it has, where it is not the whole machine.
  std::optional<int64_t> cpu_milli, memory_bytes, ephemeral_storage_bytes;
  int64_t pods_max = 110;
  int64_t memory_reserved = 100 << 20;    // kept from pods
  uint64_t disk_free_min = 500ull << 20;  // below: DiskPressure
  int64_t memory_free_min = 100 << 20;    // below: MemoryPressure
  std::string version = "v1.34.0";        // kubeletVersion
  int kubelet_port = 10250;
  std::string state_folder = "/var/lib/kubelet";
  Duration lease_interval = 10s, look_interval = 10s, report_interval = 5min;
  int64_t lease_seconds = 40;
};

struct RuntimeFacts {
  std::string name = "containerd", version;
  bool answers = false, runtime_ready = false, network_ready = false;
  std::string why_runtime, why_network;  // "NetworkReady=false reason:... message:..."
};
RuntimeFacts read_runtime_facts(cri::Runtime& runtime);

// Allocatable of the node with these options, for NodeFacts of the pods.
struct NodeCapacity {
  int64_t cpu_milli = 0, memory_bytes = 0, ephemeral_storage_bytes = 0;
  int64_t allocatable_memory = 0, allocatable_ephemeral_storage = 0;
};
NodeCapacity node_capacity(const MachineFacts& machine, const NodeOptions& options);

// The Node as it should be: metadata (labels) and status. Pure. `before` (may be empty) gives transition times.
schema::Document node_document(const MachineFacts& machine, const RuntimeFacts& runtime, const NodeOptions& options,
                               WallTime now, const schema::Object& before);

class NodeStatus {
 public:
  NodeStatus(client::Client& client, cri::Runtime& runtime, run::Executor& executor, run::Executor& jobs,
             os::Disk& disk, client::EventRecorder& events, NodeOptions options);
  ~NodeStatus();
  void start();
  void look_now();     // something changed (the network came up): do not wait for the interval
  bool ready() const;  // what was last written

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace dure::pods
