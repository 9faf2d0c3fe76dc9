// Hub: the server's end of all tunnels. A node upgrades `GET /apis/dure.dev/v1/tunnel` (Upgrade: dure-tunnel) with its
// own certificate; `dial` then opens a stream to it.
//
// Thread: any. A node that connects again replaces its former connection.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "tunnel/mux.h"
#include "wire/http.h"

namespace dure::tunnel {

inline constexpr std::string_view tunnel_path = "/dure/v1/tunnel";
inline constexpr std::string_view tunnel_protocol = "dure-tunnel/1";

class Hub {
 public:
  // Answers a request for tunnel_path of an already authenticated node.
  void accept(const std::shared_ptr<wire::Exchange>& exchange, const std::string& node);
  // A stream to the node's kubelet API; "NodeNotConnected" (502) when it has no tunnel.
  Result<std::unique_ptr<wire::Stream>> dial(std::string_view node);
  bool connected(std::string_view node) const;
  void close();

 private:
  // Outlives the Hub in callbacks of connections that are still closing.
  struct Table {
    mutable std::mutex mutex;
    std::map<std::string, std::shared_ptr<Mux>, std::less<>> nodes;
  };
  std::shared_ptr<Table> table_ = std::make_shared<Table>();
};

}  // namespace dure::tunnel
