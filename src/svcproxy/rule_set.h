// What one Service means on this node: at which addresses and ports it answers and who answers there. Pure: objects in,
// rules out. IPv4.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/time.h"
#include "kinds/views/core_v1.h"
#include "kinds/views/discovery_v1.h"

namespace dure::svcproxy {

// Where clients connect to. Address 0: every address of this node (a node port).
struct Frontend {
  uint32_t ip = 0;
  uint16_t port = 0;
  uint8_t protocol = 6;
  bool is_node_port() const { return ip == 0; }
  friend auto operator<=>(const Frontend&, const Frontend&) = default;
};

struct Endpoint {
  uint32_t ip = 0;
  uint16_t port = 0;
  bool local = false;  // on this node
  friend auto operator<=>(const Endpoint&, const Endpoint&) = default;
};

// Whose source address is replaced by the node's, so that the answer comes back here.
enum class Masquerade : uint8_t {
  outside,  // of clients that are not pods: cluster addresses
  always,   // external addresses and node ports with externalTrafficPolicy Cluster
  never,    // ... Local: the client's address reaches the pod
};

enum class WhenEmpty : uint8_t { reject, drop };

struct Target {
  std::vector<Endpoint> endpoints;  // sorted; who answers clients from anywhere
  // With externalTrafficPolicy Local: who answers this node and its pods, which are sent to any endpoint.
  std::vector<Endpoint> inside;
  bool has_inside = false;
  Masquerade masquerade = Masquerade::outside;
  WhenEmpty when_empty = WhenEmpty::reject;
  uint32_t affinity_seconds = 0;  // 0: none
  friend bool operator==(const Target&, const Target&) = default;
};

struct Rule {
  Frontend frontend;
  Target target;
  friend bool operator==(const Rule&, const Rule&) = default;
};
using ServiceRules = std::vector<Rule>;  // sorted by frontend, each once

// Where this node stands at the moment: what decides among the endpoints of a Service besides the Service itself.
struct Vantage {
  std::string zone;                   // topology.kubernetes.io/zone of this node; empty: unknown
  std::set<std::string> unreachable;  // nodes that no path leads to now: their pods are used when there is nobody else
  friend bool operator==(const Vantage&, const Vantage&) = default;
};

struct RuleOptions {
  std::string node_name;
  std::vector<Ip> local_addresses;  // answered by this node itself, no rules: the cluster's DNS
};

// `slices`: the EndpointSlices of this service. Hints of slices (trafficDistribution; KEP-2433, KEP-3015) count when
// all endpoints have them and one is meant for this node or zone.
ServiceRules make_rules(const kinds::core_v1::Service& service,
                        const std::vector<kinds::discovery_v1::EndpointSlice>& slices, const RuleOptions& options,
                        const Vantage& vantage = {});

}  // namespace dure::svcproxy
