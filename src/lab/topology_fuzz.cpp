#include <cstddef>
#include <cstdint>
#include <string>

#include "base/text.h"
#include "lab/gateway_rules.h"
#include "lab/topology.h"

// Whatever is accepted has a plan: addresses for all, and rules for every router.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto topology = dure::lab::read_topology({reinterpret_cast<const char*>(data), size});
  if (!topology) return 0;
  for (const auto& node : topology->nodes)
    if (!dure::Ip::parse(node.address) || !topology->site(node.site)) __builtin_trap();
  for (size_t i = 0; i < topology->sites.size(); ++i)
    for (const auto& gateway :
         dure::lab::gateways_of(*topology, topology->sites[i], i, *dure::Ip::parse("203.0.113.10")))
      if (dure::lab::gateway_rules(gateway).empty()) __builtin_trap();
  return 0;
}
