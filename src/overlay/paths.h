// Paths: the ladder at work. Sends its pings, answers those of others, passes packets on for pairs that have no direct
// path, and carries WireGuard's packets to peers that are behind a relay.
//
// A peer on a direct rung costs nothing here: WireGuard sends to its address itself. A peer on a relay rung has a UDP
// port on 127.0.0.1; WireGuard's endpoint for it is that port, and what comes from the relay is sent from there.
//
// Owner: the host's wiring. It has a thread of its own; methods any thread, callbacks on that thread unless they say
// otherwise. Needs CAP_NET_RAW. Bounds: one loopback port per relayed peer; packets from the tunnel wait in a queue of
// `queue_max`, the oldest goes; what a socket does not take is lost, as on the wire. Packets whose tag is wrong, that
// were seen before, or that come from nobody of the table are dropped, counted, and told at most every ten seconds.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "overlay/endpoints.h"
#include "overlay/ladder.h"

namespace dure::kernel {
class NetNamespace;
}

namespace dure::overlay {

class Paths : public Endpoints {
 public:
  static constexpr size_t queue_max = 1024;

  struct Options {
    std::string node;        // our name
    std::string public_key;  // ours, 32 bytes
    uint16_t port = 0;       // WireGuard's
    LadderOptions ladder = {};
    const kernel::NetNamespace* ns = nullptr;  // null: the caller's
  };
  struct World {
    // The secret that we share with the owner of a public key (32 bytes); an error: no packets with that node.
    std::function<Result<std::string>(std::string_view public_key)> agree;
    std::function<void(std::string_view node, std::string_view bytes)> send_tunnel;  // cheap, does not wait
    std::function<void(const std::string& node)> moved;                              // ask path_to; does not wait
    std::function<void(const Ladder::Report&)> publish;
  };
  struct Row {
    PeerFacts facts;         // its id is made from the key
    std::string public_key;  // 32 bytes
  };

  // "Forbidden" without the right to raw sockets.
  static Result<std::unique_ptr<Paths>> start(Options options, World world);
  ~Paths() override = default;

  virtual void set_own(OwnFacts own) = 0;  // id and port are filled in
  virtual void set_table(std::vector<Row> table) = 0;
  virtual void network_changed() = 0;
  // A packet that `node` sent over both tunnels.
  virtual void tunnel_packet(std::string_view node, std::string bytes) = 0;
  // Calls `done` on the thread of this.
  virtual void report(std::function<void(std::vector<PathReport>)> done) = 0;
};

// What WireGuard adds to a packet over IPv4, and the largest packet inside for a path of that MTU: WireGuard pads to 16
// bytes without knowing the path.
inline constexpr int wireguard_overhead = 60;
inline int mtu_inside(uint16_t path_mtu) { return path_mtu == 0 ? 0 : (path_mtu - wireguard_overhead) / 16 * 16; }

// {"node":"a","paths":[{"node":"b","rung":"lan",...}]}: what GET /dure/v1/paths answers.
std::string paths_json(std::string_view node, const std::vector<PathReport>& reports);

}  // namespace dure::overlay
