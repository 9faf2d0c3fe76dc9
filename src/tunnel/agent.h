// AgentTunnel: the node's end. Dials the server, upgrades, serves the kubelet API on every stream the server opens,
// says where this node can be reached and hears it of the others, carries packets, and dials again after any break.
//
// Dialling: all known addresses in turn (DialPlan), the one that worked last first, each with a short head start; names
// are looked up at each try; nothing blocks. After a break at once, then with pauses from 100 ms to 2 s; a change of
// the network ends the pause. A server that is silent for 4 s counts as gone (Heartbeat). Thread: any; callbacks come
// on `loop` and must not block. Destroying it closes the connection and stops trying; no callback comes afterwards:
// off the loop the destructor waits for one that is running, so it must not hold a lock that a callback takes.
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
  std::string node;                       // as in its certificate
  std::vector<std::string> servers;       // "host:port" or "https://host:port"
  std::vector<std::string> learned = {};  // of an earlier run: what on_servers was told
  std::string proxy = {}, no_proxy = {};  // as HTTPS_PROXY and NO_PROXY; empty: none
  wire::TlsClientConfig tls;
  // The whole table, after each change; the last one stays in force while there is no server.
  std::function<void(std::vector<NodeView>)> on_table = {};
  // A packet that `node` sent to this one.
  std::function<void(std::string_view node, std::string bytes)> on_packet = {};
  // Where the cluster says that the server may be reached; to be kept for the next start.
  std::function<void(const std::vector<std::string>& servers)> on_servers = {};
  // True: the server answers again; false: the connection is lost.
  std::function<void(bool connected)> on_change = {};
  uint64_t seed = 1;  // of the pauses' jitter
};

class AgentTunnel {
 public:
  // `loop` outlives it. `handler` serves each request that comes through. "TlsConfigInvalid", "BadProxy".
  static Result<std::unique_ptr<AgentTunnel>> start(run::Loop& loop, AgentTunnelOptions options, wire::Handler handler);
  virtual ~AgentTunnel() = default;
  // True only while the server has answered lately.
  virtual bool connected() const = 0;
  // Why not, in one sentence; empty while connected.
  virtual std::string trouble() const = 0;
  // This machine's addresses or routes are others now. When the address we send from is not among them the connection
  // is dead and a new one is made at once; otherwise the server is asked, with little patience.
  virtual void network_changed(std::vector<Ip> own_addresses) = 0;
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
