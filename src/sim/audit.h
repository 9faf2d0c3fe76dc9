// Audit: the checkers of a world. `tick` looks for what must never be; `why_not_settled` says what keeps a healed world
// from rest.
//
// Owner: the World. Thread: one.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "sim/control_plane.h"
#include "sim/node.h"
#include "sim/shadow.h"
#include "sim/workload.h"

namespace dure::sim {

class Audit {
 public:
  Audit(run::VirtualExecutor& executor, Dice& dice, Journal& journal, ControlPlane& server,
        std::vector<std::unique_ptr<SimNode>>& nodes);

  Link& link() { return link_; }
  void start();
  void tick();
  // Only while the server is up. Empty: everything is as it should be.
  std::string why_not_settled(const Workload& workload);

 private:
  struct Picture;  // of the API, listed at one time
  const std::map<client::Key, schema::Object>& seen(const client::Resource& resource) const;
  void check_containers();
  void check_replica_sets();
  // True once a condition that began at the first call with this name has lasted for `limit`.
  bool lasts(const std::string& name, Duration limit);
  std::string nodes_trouble(const Picture& now) const;
  std::string workloads_trouble(const Picture& now) const;
  std::string leftovers(const Picture& now) const;
  std::string runtimes_trouble(const Picture& now);
  std::string endpoints_trouble(const Picture& now) const;
  std::string caches_trouble(const Picture& now);

  run::VirtualExecutor& executor_;
  Journal& journal_;
  ControlPlane& server_;
  std::vector<std::unique_ptr<SimNode>>& nodes_;
  Link link_;
  const std::unique_ptr<client::Client> client_;
  std::vector<std::unique_ptr<Shadow>> shadows_;
  std::map<std::string, std::pair<Monotonic, bool>> since_;  // began, seen in this tick
};

}  // namespace dure::sim
