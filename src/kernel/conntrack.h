// Conntrack: removes remembered UDP flows, so that a client that keeps its port does not stay with an endpoint that is
// gone. Thread: any. Failure: "SystemError" where the kernel has no conntrack netlink.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/ip.h"
#include "base/result.h"

namespace dure::kernel {

class NetNamespace;

struct Flow {
  uint8_t protocol = 17;
  Ip source, destination;  // as the client sent it
  uint16_t source_port = 0, destination_port = 0;
  Ip reply_source, reply_destination;  // as the answer comes: reply_source is the endpoint after NAT
  uint16_t reply_source_port = 0, reply_destination_port = 0;
};

class Conntrack {
 public:
  virtual ~Conntrack() = default;
  virtual Result<std::vector<Flow>> list(uint8_t protocol) = 0;  // IPv4
  // Removes the flows of that protocol that `doomed` names; answers how many.
  virtual Result<size_t> remove(uint8_t protocol, const std::function<bool(const Flow&)>& doomed) = 0;
};

Result<std::unique_ptr<Conntrack>> open_conntrack(const NetNamespace* ns = nullptr);

}  // namespace dure::kernel
