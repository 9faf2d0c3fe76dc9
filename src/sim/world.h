// World: one server, five agents, their users and their bad luck, in one process, on one thread, from one seed.
//
//   World world({.seed = 7});
//   bool good = world.run();   // false: journal().violations() says why
//
// A run has five acts: the cluster comes up; users and faults take turns; faults end and everything must settle;
// nothing may be written while nothing happens; the users take everything away and nothing may be left. Thread: one.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sim/audit.h"
#include "sim/control_plane.h"
#include "sim/node.h"
#include "sim/workload.h"

namespace dure::sim {

struct WorldOptions {
  uint64_t seed = 1;
  int nodes = 5;
  int steps = 40;
  Duration settle_max = 25min;  // the longest back-off of a container is 5 min
};

class World {
 public:
  explicit World(WorldOptions options);
  ~World();

  bool run();
  Journal& journal() { return journal_; }
  Duration age() const;
  std::string summary() const;

 private:
  bool come_up();
  bool act();
  bool settle(std::string_view what);
  bool stay_quiet();
  void pass(Duration time);

  void fault();
  void kill_server(Death death);
  void server_died(Death death);  // from inside; its parts go at the next step
  void server_returns_after(Duration delay);
  void kill_agent(SimNode& node);
  void agent_returns_after(SimNode& node, Duration delay);
  void cut(SimNode& node);
  void crash_container(SimNode& node);
  void trouble_runtime(SimNode& node);
  void later(Duration delay, run::Work work);
  void heal();
  void meanwhile();

  const WorldOptions options_;
  Dice dice_;
  run::VirtualExecutor executor_;
  const Monotonic began_;
  Journal journal_;
  ControlPlane server_;
  std::vector<std::unique_ptr<SimNode>> nodes_;
  Link user_link_;
  const std::unique_ptr<client::Client> user_;
  Workload workload_;
  Audit audit_;
  std::vector<std::unique_ptr<run::Timer>> timers_;
  bool stormy_ = false;  // faults may begin
  int faults_ = 0, server_deaths_ = 0, agent_deaths_ = 0;
};

}  // namespace dure::sim
