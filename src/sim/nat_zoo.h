// NatZoo: a made-up internet with routers of all kinds, nodes behind them, and a rendezvous; real Ladders on top of it.
//
// Everything comes from one seed: which routers (home, full cone, symmetric, UDP blocked, double, carrier; hairpin or
// not), which node stands where, and what happens to them (roaming, routers that restart or get another address, cuts,
// lost packets, nodes that start again). Checked while it runs: two nodes whose tunnels are up have a path that carries
// packets, at the latest five seconds after whatever happened. Checked at rest: each pair stands on the best rung that
// its routers allow. Thread: one. Time is virtual.
#pragma once

#include <memory>
#include <string>
#include <vector>

namespace dure::sim {

struct ZooOptions {
  uint64_t seed = 1;
  int nodes_max = 9;
  int faults_max = 6;
  bool log = false;  // keep what happened
};

class NatZoo {
 public:
  explicit NatZoo(ZooOptions options);
  ~NatZoo();
  // Settles, breaks things, settles. True: nothing was violated.
  bool run();
  const std::vector<std::string>& violations() const;
  const std::vector<std::string>& history() const;

  struct Counts {  // over the run
    size_t pairs = 0, faults = 0, pings = 0, polls = 0;
    size_t rungs[7] = {};        // ordered pairs on each rung in the end
    double idle_pings = 0;       // per node and second, in the last ten seconds
    double gap_seconds_max = 0;  // the longest time a pair had no working path although both tunnels were up
  };
  const Counts& counts() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dure::sim
