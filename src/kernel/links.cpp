#include "kernel/links.h"

#include <algorithm>

namespace dure::kernel {

Result<Uplink> find_uplink(Links& links, const Ip& destination) {
  DURE_TRY(std::vector<Route> routes, links.routes(route_table_main));
  const Route* best = nullptr;
  for (const Route& route : routes) {
    if (!route.destination.contains(destination)) continue;
    if (!best || route.destination.length > best->destination.length ||
        (route.destination.length == best->destination.length && route.metric < best->metric))
      best = &route;
  }
  if (!best) return fail(Error{404, "NotFound", "no route to " + destination.text()});
  DURE_TRY(std::vector<Link> all, links.list());
  auto link = std::ranges::find(all, best->link, &Link::index);
  if (link == all.end()) return fail(Error{404, "NotFound", "the route to " + destination.text() + " has no link"});
  if (best->source) return Uplink{*link, *best->source};
  DURE_TRY(std::vector<LinkAddress> addresses, links.addresses(best->link));
  std::optional<Ip> found;
  for (const LinkAddress& address : addresses) {
    if (address.address.ip.v6 != destination.v6) continue;
    bool near = best->gateway && address.address.contains(*best->gateway);
    if (!found || near) found = address.address.ip;
    if (near) break;
  }
  if (!found)
    return fail(Error{404, "NotFound", link->name + " has no address to reach " + destination.text() + " from"});
  return Uplink{*link, *found};
}

}  // namespace dure::kernel
