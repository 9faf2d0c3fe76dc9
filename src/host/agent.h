// Agent: a node of the cluster in one object.
//
// Owner: main. `start` returns when the node has its identity and everything runs (the Node may still be on its way to
// Ready); destroying it stops the agent's own work and leaves every container running. Thread: one.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "bootstrap/settings.h"

namespace dure::host {

struct AgentOptions {
  bootstrap::Places places;
  bootstrap::AgentSettings settings;
  std::string version = "v1.34.0+dure";
};

class Agent {
 public:
  static Result<std::unique_ptr<Agent>> start(AgentOptions options);
  virtual ~Agent() = default;
};

}  // namespace dure::host
