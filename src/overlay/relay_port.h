// RelayPort: a UDP port on 127.0.0.1 that stands for one peer: what WireGuard sends there goes to the peer by a relay,
// and what the relay brings is given to WireGuard from there. Thread: the loop's.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string_view>

#include "os/sockets.h"
#include "overlay/path.h"
#include "overlay/rush.h"
#include "run/loop.h"

namespace dure::kernel {
class NetNamespace;
}

namespace dure::overlay {

class RelayPort {
 public:
  // `on_packets`: up to 32 from WireGuard; the bytes are good until it returns. Packets of other senders are dropped.
  static Result<std::unique_ptr<RelayPort>> open(run::Loop& loop, NodeId peer, uint16_t wireguard_port,
                                                 const kernel::NetNamespace* ns,
                                                 std::function<void(NodeId, std::span<const os::Datagram>)> on_packets);
  const os::Endpoint& endpoint() const { return endpoint_; }
  void deliver(std::span<const std::string_view> packets);  // at most 32 at a time

 private:
  RelayPort(run::Loop& loop, NodeId peer, uint16_t wireguard_port)
      : loop_(loop), peer_(peer), wireguard_{Ip::v4(0x7f000001), wireguard_port} {}
  void wait();
  void read();

  run::Loop& loop_;
  const NodeId peer_;
  const os::Endpoint wireguard_;
  os::Endpoint endpoint_;
  std::unique_ptr<os::UdpSocket> socket_;
  std::unique_ptr<run::Readiness> readiness_;
  std::unique_ptr<run::Timer> look_;
  Rush rush_;
  std::function<void(NodeId, std::span<const os::Datagram>)> on_packets_;
};

}  // namespace dure::overlay
