// HostPorts: ports of the node that lead to a pod on it (a container's hostPort), as elements of one map in our table.
//
// Owner of the chains and sets `overlay-hostport...`. Thread and process: any; every change is one transaction.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/ip.h"
#include "kernel/nft.h"

namespace dure::overlay {

struct PortMapping {
  uint8_t protocol = kernel::nft_tcp;
  std::optional<Ip> host_ip;  // none: every address of the node
  uint16_t host_port = 0, container_port = 0;
  friend auto operator<=>(const PortMapping&, const PortMapping&) = default;
};

class HostPorts {
 public:
  explicit HostPorts(kernel::Nft& nft) : nft_(nft) {}
  // "HostPortInUse" when another pod has one of them.
  Status put(const Ip& pod, const std::vector<PortMapping>& ports);
  Status remove(const Ip& pod);  // idempotent
  Result<std::vector<PortMapping>> of(const Ip& pod);

 private:
  kernel::Nft& nft_;
};

}  // namespace dure::overlay
