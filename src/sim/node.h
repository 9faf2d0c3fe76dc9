// SimNode: a machine of the cluster: a container runtime that goes on whatever happens to the agent, a disk, and the
// agent's process.
//
// The agent is the real one without its network and its files: pods::Pods and pods::NodeStatus over the memory runtime.
// Owner: the World. Thread: one.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "client/cache.h"
#include "client/events.h"
#include "client/loop.h"
#include "cri/memory_runtime.h"
#include "os/disk.h"
#include "pods/node_status.h"
#include "pods/pods.h"
#include "run/gate.h"
#include "sim/link.h"

namespace dure::sim {

class SimNode {
 public:
  SimNode(int number, run::VirtualExecutor& executor, Dice& dice, Journal& journal);
  ~SimNode();

  const std::string& name() const { return name_; }
  Link& link() { return link_; }
  cri::MemoryRuntime& runtime() { return runtime_; }
  void start_agent();
  bool agent_up() const { return agent_ != nullptr; }
  void kill_agent();  // the containers do not notice
  void lose_power();  // agent and containers
  bool idle() const { return agent_ && agent_->runner->idle(); }
  client::Cache* pods_cache() { return agent_ ? &agent_->pods->cache() : nullptr; }

  struct Running {
    std::string namespace_, pod, uid, container, id;
  };
  std::vector<Running> running();                       // containers
  std::set<std::string> sandbox_uids(bool ready_only);  // of pods
  const std::set<std::string>& volumes() const { return volumes_; }

 private:
  struct Agent {
    explicit Agent(run::Executor& behind) : executor(behind) {}
    run::Gate executor;
    std::unique_ptr<client::Client> client;
    std::unique_ptr<client::Caches> caches;
    std::unique_ptr<client::EventRecorder> events;
    std::unique_ptr<client::Runner> runner;
    std::unique_ptr<pods::Pods> pods;
    std::unique_ptr<pods::NodeStatus> status;
  };
  pods::PodVolumes pod_volumes();
  Result<std::map<std::string, std::string>> mount(const schema::Object& pod);

  const std::string name_, address_;
  run::VirtualExecutor& executor_;
  Link link_;
  cri::MemoryRuntime runtime_;
  os::MemoryDisk disk_;
  const std::unique_ptr<pods::ProbeNet> probe_net_;
  std::set<std::string> volumes_;  // uids of pods that have something on the disk
  std::unique_ptr<Agent> agent_;
};

}  // namespace dure::sim
