// AgentTunnel: the node's end. Dials the server, upgrades, serves the kubelet API on every stream the server opens,
// says where this node can be reached and hears it of the others, carries packets, and dials again after any break: at
// once, then with a back-off from 100 ms to 5 s.
//
// Thread: any; dialling blocks a thread of `pool`; callbacks come on `loop` and must not block. Destroying it closes
// the connection and stops trying.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tunnel/mux.h"
#include "tunnel/rendezvous.h"
#include "wire/http.h"

namespace dure::tunnel {

struct AgentTunnelOptions {
  std::string node;        // as in its certificate
  std::string server_url;  // "https://192.0.2.1:6443"
  wire::TlsClientConfig tls;
  // The whole table, after each change; the last one stays in force while there is no server.
  std::function<void(std::vector<NodeView>)> on_table = {};
  // A packet that `node` sent to this one.
  std::function<void(std::string_view node, std::string bytes)> on_packet = {};
};

class AgentTunnel {
 public:
  // `loop` and `pool` outlive it. `handler` serves each request that comes through.
  static std::unique_ptr<AgentTunnel> start(run::Loop& loop, run::Executor& pool, AgentTunnelOptions options,
                                            wire::Handler handler);
  virtual ~AgentTunnel() = default;
  // True only while the server has answered lately.
  virtual bool connected() const = 0;
  // What this node says of itself, from now on; said again after each reconnect. Changes within 100 ms are one.
  virtual void publish(NodeReport report) = 0;
  // Once, unordered, without a promise; at most MuxCore::frame_bytes_max. "TunnelDown", "UnknownNode" or "BadRequest".
  // Cheap; packets that the connection does not take are dropped, oldest first (PacketQueue).
  virtual Status send_packet(std::string_view node, std::string_view bytes) = 0;
  // A stream to the server's API, which knows us by the certificate of the tunnel. "TunnelDown" at once when there is
  // no connection.
  virtual Result<std::unique_ptr<wire::Stream>> open_stream() = 0;
};

}  // namespace dure::tunnel
