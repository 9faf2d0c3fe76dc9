#include "lab/identity.h"

#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "base/text.h"

namespace dure::lab {
namespace {

namespace fs = std::filesystem;

constexpr const char* kContainerdConfig = R"(version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "dure.dev/pause:1"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
)";

}  // namespace

std::string node_hosts(const NodeSpec& node, const std::string& further_lines) {
  return "127.0.0.1 localhost\n" + node.address + " " + node.name + "\n" + further_lines;
}

std::string machine_id(const NodeSpec& node, const std::string& state) {
  return fmt::format("{:016x}{:016x}", fnv1a_64(state), fnv1a_64(node.name));
}

void write_identity(const std::string& root, const NodeSpec& node, const std::string& state, const std::string& hosts) {
  for (const char* path : {"/opt/cni/bin", "/etc/cni/net.d", "/etc/containerd"}) fs::create_directories(root + path);
  for (const char* path : {"/etc/resolv.conf", "/etc/machine-id"}) fs::remove(root + path);
  std::ofstream(root + "/etc/hostname") << node.name << "\n";
  std::ofstream(root + "/etc/hosts") << node_hosts(node, hosts);
  std::ofstream(root + "/etc/resolv.conf") << "# the lab has no way out\n";
  std::ofstream(root + "/etc/machine-id") << machine_id(node, state) << "\n";
  std::ofstream(root + "/etc/containerd/config.toml") << kContainerdConfig;
}

}  // namespace dure::lab
