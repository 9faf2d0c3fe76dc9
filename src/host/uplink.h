// Uplink: the node's one connection to the server and what goes through it: the client of the API, the kubelet API that
// the server asks, the table of nodes and relayed packets. It looks at the machine's network, so that a connection
// whose address is gone is replaced at once, and keeps the server's addresses on disk, so that one that moved is found
// again.
//
// Owner: the agent's wiring. Thread: any; callbacks come on `loop` and must not block. Everything made from it goes
// before it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bootstrap/settings.h"
#include "client/connect.h"
#include "host/network_watch.h"
#include "os/disk.h"
#include "tunnel/agent.h"

namespace dure::host {

class Uplink {
 public:
  static Result<std::unique_ptr<Uplink>> start(run::Loop& loop, run::Executor& executor, NetworkWatch& watch,
                                               os::Disk& disk, const bootstrap::Places& places,
                                               const bootstrap::AgentSettings& settings,
                                               const client::Credentials& credentials);
  virtual ~Uplink() = default;
  // Answers at once with "TunnelDown" while there is no connection.
  virtual client::Client& client() = 0;
  virtual tunnel::AgentTunnel& tunnel() = 0;
  // False: not connected within `limit`; it goes on trying.
  virtual bool wait_connected(Duration limit) = 0;
  // What the server's requests to the kubelet are answered with; 503 before that.
  virtual void serve(wire::Handler kubelet) = 0;
  // The table as it is now, and each later one.
  virtual void on_table(std::function<void(const std::vector<tunnel::NodeView>&)> table) = 0;
  // Whether there is a connection, at once and at each change.
  virtual void on_connected(std::function<void(bool)> connected) = 0;
  // Packets that came by the server; none are taken before this.
  virtual void on_packet(std::function<void(std::string_view node, std::string bytes)> packet) = 0;
};

}  // namespace dure::host
