#include "bootstrap/networks.h"

#include <map>

#include <fmt/format.h>

#include "base/text.h"
#include "kernel/links.h"
#include "os/disk.h"

namespace dure::bootstrap {
namespace {

bool counts(const IpPrefix& range) {
  static const IpPrefix link_local{Ip::v4(0xa9fe0000), 16}, multicast{Ip::v4(0xe0000000), 4};
  return !range.ip.v6 && !range.ip.is_loopback() && !link_local.contains(range.ip) && !multicast.contains(range.ip);
}

void add(std::vector<MachineNetwork>& out, MachineNetwork network) {
  if (!counts(network.range)) return;
  for (const MachineNetwork& known : out)
    if (known.range == network.range && known.is_host == network.is_host) return;
  out.push_back(std::move(network));
}

void add_name_servers(std::vector<MachineNetwork>& out, os::Disk& disk) {
  // The second is what systemd-resolved asks when the first names only its own stub.
  for (const char* path : {"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"}) {
    const auto text = os::read_file(disk, path);
    if (!text) continue;
    for (const Ip& server : name_servers(*text))
      add(out, {IpPrefix::host(server), fmt::format("name server in {}", path), true});
  }
}

}  // namespace

std::vector<Ip> name_servers(std::string_view resolv_conf) {
  std::vector<Ip> out;
  for (std::string_view line : split(resolv_conf, '\n')) {
    line = trim(line);
    if (!line.starts_with("nameserver") || line.size() < 11 || (line[10] != ' ' && line[10] != '\t')) continue;
    if (const auto ip = Ip::parse(trim(line.substr(10)))) out.push_back(*ip);
  }
  return out;
}

Result<std::vector<MachineNetwork>> read_networks(kernel::Links& links, os::Disk& disk,
                                                  const std::set<std::string>& ours) {
  DURE_TRY(const std::vector<kernel::Link> all, links.list());
  std::map<int, std::string> names;  // of the links that count
  for (const kernel::Link& link : all)
    if (!link.loopback && !ours.contains(link.name)) names[link.index] = link.name;
  std::vector<MachineNetwork> out;
  DURE_TRY(const std::vector<kernel::LinkAddress> addresses, links.addresses());
  for (const kernel::LinkAddress& address : addresses) {
    const auto name = names.find(address.link);
    if (name == names.end()) continue;
    add(out, {address.address.network(), name->second});
    add(out, {IpPrefix::host(address.address.ip), "address of " + name->second, true});
  }
  DURE_TRY(const std::vector<kernel::Route> routes, links.routes(route_table_every));
  for (const kernel::Route& route : routes) {
    const auto name = names.find(route.link);
    if (name == names.end() || route.protocol == kernel::route_protocol_dure) continue;
    if (route.destination.length > 0) add(out, {route.destination.network(), "route by " + name->second});
    if (route.gateway) add(out, {IpPrefix::host(*route.gateway), "gateway by " + name->second, true});
  }
  add_name_servers(out, disk);
  return out;
}

}  // namespace dure::bootstrap
