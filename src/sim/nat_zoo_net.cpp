#include "sim/nat_zoo_net.h"

#include <algorithm>

namespace dure::sim {

std::optional<ZooNet::Arrival> ZooNet::send(int segment, const os::Endpoint& from, const os::Endpoint& to,
                                            Monotonic now) {
  return route(segment, from, to, now, 0);
}

std::optional<ZooNet::Arrival> ZooNet::route(int segment, os::Endpoint from, const os::Endpoint& to, Monotonic now,
                                             int hops) {
  if (hops > 8) return std::nullopt;
  const ZooSegment& here = segments[static_cast<size_t>(segment)];
  if (const auto node = here.nodes.find(to.ip); node != here.nodes.end()) return Arrival{node->second, from, to.port};
  if (const auto router = here.routers.find(to.ip); router != here.routers.end())
    return inbound(router->second, from, to, now, hops + 1);
  if (here.router < 0 || here.prefix.contains(to.ip)) return std::nullopt;
  ZooRouter& router = routers[static_cast<size_t>(here.router)];
  const bool turned = to.ip == router.address;
  if (turned && !router.hairpin) return std::nullopt;
  if (!turned && (router.udp_blocked || router.cut)) return std::nullopt;
  from = {router.address, map_port(router, from, to, now)};
  return turned ? inbound(here.router, from, to, now, hops + 1) : route(router.outside, from, to, now, hops + 1);
}

std::optional<ZooNet::Arrival> ZooNet::inbound(int index, const os::Endpoint& from, const os::Endpoint& to,
                                               Monotonic now, int hops) {
  ZooRouter& router = routers[static_cast<size_t>(index)];
  const bool turned = from.ip == router.address;
  if (!turned && (router.udp_blocked || router.cut)) return std::nullopt;
  const auto at = router.mappings.find(to.port);
  if (at == router.mappings.end() || now - at->second.used > router.memory) return std::nullopt;
  const auto& sent_to = at->second.sent_to;
  const bool known = router.filter == ZooRouter::Filter::none ||
                     (router.filter == ZooRouter::Filter::address_and_port
                          ? sent_to.contains(from)
                          : std::ranges::any_of(sent_to, [&](const os::Endpoint& one) { return one.ip == from.ip; }));
  if (!known) return std::nullopt;
  at->second.used = now;
  const os::Endpoint inside = at->second.inside;
  for (size_t segment = 0; segment < segments.size(); ++segment)
    if (segments[segment].router == index) return route(static_cast<int>(segment), from, inside, now, hops);
  return std::nullopt;
}

uint16_t ZooNet::map_port(ZooRouter& router, const os::Endpoint& inside, const os::Endpoint& to, Monotonic now) {
  std::erase_if(router.mappings, [&](const auto& one) { return now - one.second.used > router.memory; });
  for (auto& [port, mapping] : router.mappings) {
    if (mapping.inside != inside || (router.symmetric && !mapping.sent_to.contains(to))) continue;
    mapping.sent_to.insert(to);
    mapping.used = now;
    return port;
  }
  uint16_t port = inside.port;
  while (!router.keeps_port || router.symmetric || router.mappings.contains(port)) {
    port = static_cast<uint16_t>(dice_.between(int64_t{20000}, int64_t{60000}));
    if (!router.mappings.contains(port)) break;
  }
  router.mappings[port] = {inside, {to}, now};
  return port;
}

std::vector<int> ZooNet::chain(int segment) const {
  std::vector<int> out;
  for (int at = segment; at != 0; at = routers[static_cast<size_t>(out.back())].outside)
    out.push_back(segments[static_cast<size_t>(at)].router);
  return out;
}

Ip ZooNet::public_address(int segment, const Ip& own) const {
  const std::vector<int> routers_up = chain(segment);
  return routers_up.empty() ? own : routers[static_cast<size_t>(routers_up.back())].address;
}

bool ZooNet::uplink_cut(int segment) const {
  return std::ranges::any_of(chain(segment), [&](int router) { return routers[static_cast<size_t>(router)].cut; });
}

}  // namespace dure::sim
