// Networks: what this machine reaches without the cluster, read from its links, routes of all tables and resolv.conf.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "bootstrap/ranges.h"

namespace dure::os {
class Disk;
}
namespace dure::kernel {
class Links;
}

namespace dure::bootstrap {

// IPv4. `ours`: links of a cluster this machine belongs to (the journal knows them), which do not count; nor do
// loopback and link-local addresses.
Result<std::vector<MachineNetwork>> read_networks(kernel::Links& links, os::Disk& disk,
                                                  const std::set<std::string>& ours);

// The addresses behind "nameserver" in a resolv.conf, in order.
std::vector<Ip> name_servers(std::string_view resolv_conf);

// For kernel::Links::routes: those of every table but the one of the machine's own addresses. VPNs keep theirs apart.
inline constexpr uint32_t route_table_every = 0;

}  // namespace dure::bootstrap
