// NodePaths: the wiring of the path ladder: the machine's addresses, the rendezvous' table and the Nodes go in;
// WireGuard's endpoints, what this node says of itself, its site and the page /dure/v1/paths come out.
//
//   links -> own addresses -> ladder <- table <- uplink          ladder -> endpoints -> overlay
//   Nodes -> keys that count -> table; sites -> our zone label   ladder -> report -> uplink
//
// Owner: the agent. Made before the overlay, which asks it for endpoints; `start` after it. Thread: any.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "bootstrap/settings.h"
#include "client/loop.h"
#include "host/uplink.h"
#include "kernel/links.h"
#include "overlay/overlay.h"
#include "overlay/paths.h"
#include "pki/x25519.h"

namespace dure::host {

struct NodePathsParts {  // all outlive `stop`
  Uplink& uplink;
  overlay::Overlay& overlay;
  NetworkWatch& watch;
  client::Runner& runner;
  client::Caches& caches;
  run::Executor& executor;  // for timers and what waits
};

class NodePaths : public overlay::Endpoints {
 public:
  static std::shared_ptr<NodePaths> create(bootstrap::AgentSettings settings);
  ~NodePaths() override = default;
  // An error: this machine gives us no raw socket; then only LANs work, by what the Nodes say.
  virtual Status start(NodePathsParts parts, pki::X25519Key key, uint16_t port) = 0;
  virtual void stop() = 0;  // before the runner and the overlay go
  virtual Result<std::string> page() = 0;
  // Members that no path leads to now, once paths have been looked for; the service proxy is told when they change.
  virtual std::set<std::string> unreachable() = 0;
};

// The addresses under which others on this machine's networks may reach it: of devices that are up, not those of
// containers, tunnels or the cluster, and not inside its ranges. At most 16. Pure.
std::vector<IpPrefix> own_networks(const std::vector<kernel::Link>& links,
                                   const std::vector<kernel::LinkAddress>& addresses,
                                   const std::vector<IpPrefix>& cluster_ranges);

}  // namespace dure::host
