// AgentTunnel: the node's end. Dials the server, upgrades, serves the kubelet API on every stream the server opens, and
// dials again after any break: at once, then with a back-off from 100 ms to 5 s.
//
// Thread: any; dialling blocks a thread of `pool`. Destroying it closes the connection and stops trying.
#pragma once

#include <memory>
#include <string>

#include "tunnel/mux.h"
#include "wire/http.h"

namespace dure::tunnel {

struct AgentTunnelOptions {
  std::string server_url;  // "https://192.0.2.1:6443"
  wire::TlsClientConfig tls;
};

class AgentTunnel {
 public:
  // `loop` and `pool` outlive it. `handler` serves each request that comes through.
  static std::unique_ptr<AgentTunnel> start(run::Loop& loop, run::Executor& pool, AgentTunnelOptions options,
                                            wire::Handler handler);
  virtual ~AgentTunnel() = default;
  virtual bool connected() const = 0;
};

}  // namespace dure::tunnel
