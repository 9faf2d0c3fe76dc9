#include "bootstrap/snapshot.h"

#include <algorithm>
#include <array>
#include <map>

#include <fmt/format.h>

#include "base/text.h"
#include "bootstrap/journal.h"
#include "bootstrap/networks.h"
#include "bootstrap/service.h"
#include "kernel/links.h"
#include "kernel/mounts.h"
#include "kernel/nft.h"
#include "kernel/sysctl.h"
#include "os/disk.h"

namespace dure::bootstrap {
namespace {

constexpr int depth_max = 6;
constexpr uint8_t route_protocol_dhcp = 16, route_protocol_ra = 9;

constexpr std::array<std::string_view, 11> sysctls = {"net/ipv4/ip_forward",
                                                      "net/ipv4/conf/all/forwarding",
                                                      "net/ipv4/conf/all/rp_filter",
                                                      "net/ipv4/conf/all/route_localnet",
                                                      "net/ipv4/conf/all/src_valid_mark",
                                                      "net/ipv4/conf/default/rp_filter",
                                                      "net/ipv4/conf/default/forwarding",
                                                      "net/ipv6/conf/all/forwarding",
                                                      "net/bridge/bridge-nf-call-iptables",
                                                      "net/netfilter/nf_conntrack_max",
                                                      "vm/overcommit_memory"};

constexpr std::array<std::string_view, 7> foreign_mounts = {
    "/run/containerd", "/var/lib/containerd", "/var/lib/docker",    "/run/docker",
    "/run/user",       "/run/credentials",    "/var/lib/containers"};

class Camera {
 public:
  Camera(Machine& machine, const Places& places) : machine_(machine), places_(places) {}

  SnapshotLines take() {
    network();
    for (const std::string_view name : sysctls)
      if (const auto value = machine_.sysctl.get(name)) add("sysctl {} = {}", name, *value);
    if (const auto chains = machine_.nft.chains(); chains && !chains->empty()) add("nft table ip dure");
    mounts();
    files();
    std::ranges::sort(out_);
    return std::move(out_);
  }

 private:
  template <class... Args>
  void add(fmt::format_string<Args...> form, Args&&... args) {
    out_.push_back(fmt::format(form, std::forward<Args>(args)...));
  }

  void network() {
    const auto links = machine_.links.list();
    if (!links) return add("links: {}", links.error().message);
    std::map<int, std::string> names;
    for (const kernel::Link& link : *links) {
      if (link.kind == "veth") continue;
      names[link.index] = link.name;
      add("link {} {}", link.name, link.kind.empty() ? "device" : link.kind);
    }
    const auto routes = machine_.links.routes(route_table_every);
    if (!routes) return add("routes: {}", routes.error().message);
    for (const kernel::Route& route : *routes) {
      const auto name = names.find(route.link);
      const bool by_itself = route.protocol == kernel::route_protocol_kernel || route.protocol == route_protocol_dhcp ||
                             route.protocol == route_protocol_ra;
      if (name == names.end() || by_itself) continue;
      add("route {} by {}{}", route.destination.text(), name->second,
          route.gateway ? " through " + route.gateway->text() : "");
    }
  }

  void mounts() {
    const auto mounts = machine_.mounts.list();
    if (!mounts) return add("mounts: {}", mounts.error().message);
    for (const kernel::MountEntry& mount : *mounts) {
      const bool foreign = std::ranges::any_of(foreign_mounts, [&](std::string_view prefix) {
        return mount.target == prefix || mount.target.starts_with(std::string(prefix) + "/");
      });
      if (!foreign) add("mount {} {}", mount.target, mount.type);
    }
  }

  // All below `path`; names only, since what lies there changes by itself.
  void tree(const std::string& path, int depth = 0) {
    if (!machine_.disk.exists(path)) return;
    add("file {}", path);
    if (depth == depth_max) return;
    if (const auto names = machine_.disk.list(path))
      for (const std::string& name : *names) tree(path + "/" + name, depth + 1);
  }

  void files() {
    for (const std::string& folder : {places_.kubernetes, places_.settings, places_.kubelet, std::string("/etc/cni"),
                                      std::string("/opt/cni"), std::string("/run/dure"), std::string("/var/log/pods"),
                                      std::string("/var/log/containers"), std::string("/var/lib/cni")})
      tree(folder);
    for (const std::string& file : {std::string(installed_program), std::string(installed_program) + ".new"})
      if (machine_.disk.exists(file)) add("file {}", file);
    for (const std::string& folder : {std::string(unit_folder), std::string(unit_folder) + "/multi-user.target.wants"})
      if (const auto names = machine_.disk.list(folder))
        for (const std::string& name : *names)
          if (name.starts_with("dure-")) add("unit {}/{}", folder, name);
  }

  Machine& machine_;
  const Places& places_;
  SnapshotLines out_;
};

}  // namespace

SnapshotLines take_snapshot(Machine machine, const Places& places) { return Camera(machine, places).take(); }

Status begin_journal(Machine machine, const Places& places) {
  if (machine.disk.exists(places.snapshot())) return {};
  const SnapshotLines lines = take_snapshot(machine, places);
  DURE_CHECK(machine.disk.make_directories(places.data, 0755));
  DURE_CHECK(Journal(machine.disk, places.journal()).record({Change::Kind::folder, places.data}));
  return os::write_file_atomic(machine.disk, places.snapshot(), join(lines, "\n") + "\n", 0644);
}

Result<SnapshotLines> read_snapshot(os::Disk& disk, const Places& places) {
  DURE_TRY(const std::string text, os::read_file(disk, places.snapshot()));
  SnapshotLines out;
  for (const std::string_view line : split(text, '\n'))
    if (!line.empty()) out.emplace_back(line);
  return out;
}

std::vector<std::string> snapshot_difference(const SnapshotLines& before, const SnapshotLines& after) {
  std::vector<std::string> gone, left, out;
  std::ranges::set_difference(before, after, std::back_inserter(gone));
  std::ranges::set_difference(after, before, std::back_inserter(left));
  for (const std::string& line : gone) out.push_back("- " + line);
  for (const std::string& line : left) out.push_back("+ " + line);
  return out;
}

}  // namespace dure::bootstrap
