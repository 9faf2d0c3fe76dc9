// Hub: the server's end of all tunnels. A node upgrades `GET /dure/v1/tunnel` (Upgrade: dure-tunnel/3) with its own
// certificate. Then `dial` opens a stream to it, the streams that the node opens are served as the API in the node's
// name, its reports become rows of the table that every node hears, and its packets are passed on.
//
// A session is what outlives its connections: the answer to the upgrade names it (`dure-session`). A node whose
// connection is lost comes back with that name and the number of records that it has (`dure-received`), and is answered
// with ours: then everything goes on where it stopped. A session that this server does not know, or that is over, is a
// new one.
//
// Thread: any. A node that connects again without a session replaces its former tunnel. What is refused is logged with
// the node's name. Memory per tunnel: as Mux says; the table is one row per node (RendezvousCore).
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tunnel/mux.h"
#include "wire/http.h"

namespace dure::tunnel {

inline constexpr std::string_view tunnel_path = "/dure/v1/tunnel";
inline constexpr std::string_view session_header = "dure-session", received_header = "dure-received";
inline constexpr std::string_view tunnel_protocol = "dure-tunnel/3";

class Hub {
 public:
  // `servers`: "host:port" where this server may be reached; every node is told.
  explicit Hub(std::vector<std::string> servers = {});
  ~Hub();
  // From now on `api` serves what nodes ask for on streams of their own, with the peer of the tunnel's connection;
  // until then such streams are refused.
  void serve_api(wire::Handler api, wire::ServerLimits limits = {});
  // Answers a request for tunnel_path of an already authenticated node.
  void accept(const std::shared_ptr<wire::Exchange>& exchange, const std::string& node);
  // A stream to the node's kubelet API; "NodeNotConnected" (502) when it has no connection now.
  Result<std::unique_ptr<wire::Stream>> dial(std::string_view node);
  bool connected(std::string_view node) const;
  void close();

 private:
  class Switchboard;
  // Outlives the Hub in callbacks of connections that are still closing.
  std::shared_ptr<Switchboard> board_;
};

}  // namespace dure::tunnel
