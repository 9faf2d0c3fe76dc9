// PortOwner: the program whose socket a UDP port belongs to (wireguard-go), seen from outside. `spare` lets the kernel
// drop, at that socket, datagrams that begin with four given bytes: others that hear them (SideSocket) still do, and
// the program is not woken up for what it would throw away.
//
// The filter is part of the socket: it is gone when the program opens its port anew, and when it ends. IPv4. Needs the
// right to look into the program (root's, where the kernel's Yama does not refuse it) and Linux 5.6. Thread: one.
#pragma once

#include <array>
#include <cstdint>

#include "base/result.h"

namespace dure::kernel {

class NetNamespace;

class PortOwner {
 public:
  PortOwner(uint16_t port, std::array<uint8_t, 4> first_bytes, const NetNamespace* ns = nullptr)
      : port_(port), first_(first_bytes), namespace_(ns) {}
  // Idempotent. Costs a look into /proc/net/udp, and for a socket that is new one through the descriptors of all
  // processes. "NotFound": no program has the port (the kernel's own WireGuard has it in the kernel); "Forbidden".
  Status spare();

 private:
  Result<uint64_t> find_socket() const;

  const uint16_t port_;
  const std::array<uint8_t, 4> first_;
  const NetNamespace* const namespace_;
  uint64_t spared_ = 0;  // the number of the socket that has the filter
};

}  // namespace dure::kernel
