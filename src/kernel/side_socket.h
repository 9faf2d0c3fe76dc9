// SideSocket: sends and hears datagrams on a UDP port that another owner (WireGuard) has open, without disturbing it.
//
// What is heard: datagrams to that port that begin with the given four bytes; a filter in the kernel takes no others.
// The port's owner gets a copy of them too and must not mind (PortOwner spares it). What is sent leaves from that port,
// so it goes through the same mappings of the same routers. IPv4. Needs CAP_NET_RAW. Firewalls of this machine apply as
// they do to the owner. Owner: the object has its descriptors; it lives in the network namespace where it was opened.
// Thread: one. Bounds: what the kernel does not take at once is lost, as on the wire; 32 datagrams a system call.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "base/result.h"
#include "os/sockets.h"

namespace dure::kernel {

class NetNamespace;

class SideSocket {
 public:
  struct Received {
    os::Endpoint from;
    std::span<char> bytes;  // good until the next call; may be changed in place
  };
  struct Sent {
    os::Endpoint to;
    std::string_view head, body;  // one after the other
  };
  enum class Outcome : uint8_t { taken, too_large, unreachable, busy };

  // "Forbidden" without the right; "SystemError".
  static Result<std::unique_ptr<SideSocket>> open(uint16_t port, std::array<uint8_t, 4> first_bytes,
                                                  const NetNamespace* ns = nullptr);
  ~SideSocket();

  int fd() const;  // readable when something came
  // Up to 32; empty: nothing there.
  std::span<const Received> receive();
  // Whole or not at all: never cut into fragments, and the known MTU of the route is not asked.
  Outcome send_whole(const os::Endpoint& to, std::string_view bytes);
  void send(std::span<const Sent> datagrams);
  // This machine's addresses or routes changed: sources are looked up again.
  void network_changed();

 private:
  struct State;
  explicit SideSocket(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace dure::kernel
