// What the kernel must be able to do, and the settings of it that hurt.
#include <algorithm>

#include <fmt/format.h>

#include "base/text.h"
#include "bootstrap/checks/checks.h"

namespace dure::bootstrap {
namespace {

using Answer = std::optional<Verdict>;
using Severity = Finding::Severity;

int part(std::string_view release, size_t index) {
  const auto parts = split(release, '.');
  if (index >= parts.size()) return 0;
  const std::string_view text = parts[index].substr(0, parts[index].find_first_not_of("0123456789"));
  return static_cast<int>(parse_int(text).value_or(0));
}

std::optional<int64_t> setting(const MachineFacts& facts, const std::string& name) {
  const auto found = facts.sysctls.find(name);
  return found == facts.sysctls.end() ? std::nullopt : parse_int(found->second);
}

FixAction set_to(const MachineFacts& facts, const std::string& name, std::string value) {
  const auto found = facts.sysctls.find(name);
  return {{Change::Kind::sysctl, name, found == facts.sysctls.end() ? "" : found->second}, std::move(value)};
}

std::string command_for(std::string name, std::string_view value) {
  std::replace(name.begin(), name.end(), '/', '.');
  return fmt::format("sysctl -w {}={}   (or dure check --fix)", name, value);
}

// A setting that should be at least so much.
Answer at_least(const MachineFacts& facts, const std::string& name, int64_t wanted, std::string_view so) {
  const auto value = setting(facts, name);
  if (!value || *value >= wanted) return {};
  return Verdict{fmt::format("{} is {}, {}", name, *value, so),
                 command_for(name, std::to_string(wanted)),
                 {set_to(facts, name, std::to_string(wanted))}};
}

Answer feature(const MachineFacts& facts, const char* name, std::string_view module, std::string_view use) {
  if (!facts.root || facts.features.contains(name)) return {};  // without root nothing could be tried
  return Verdict{fmt::format("the kernel has no {}, which {}", name, use),
                 fmt::format("modprobe {}   (no such module: install a kernel that has it, e.g. linux-image-{})",
                             module, facts.architecture == "aarch64" ? "arm64" : "amd64")};
}

Answer kernel_too_old(const MachineFacts& facts, const CheckOptions&) {
  const int major = part(facts.kernel_release, 0), minor = part(facts.kernel_release, 1);
  if (facts.kernel_release.empty() || major > 5 || (major == 5 && minor >= 4)) return {};
  return Verdict{fmt::format("kernel {} is older than 5.4", facts.kernel_release),
                 "upgrade the distribution; pods, nftables sets and cgroups need a kernel of 2019 or later",
                 {},
                 major < 4 || (major == 4 && minor < 19) ? Severity::refuse : Severity::warn};
}

Answer no_overlay(const MachineFacts& facts, const CheckOptions&) {
  return feature(facts, "overlay", "overlay", "containers' file systems are made of");
}
Answer no_veth(const MachineFacts& facts, const CheckOptions&) {
  return feature(facts, "veth", "veth", "joins every pod to its node");
}
Answer no_bridge(const MachineFacts& facts, const CheckOptions& options) {
  if (options.network == "none") return {};
  return feature(facts, "bridge", "bridge", "joins the pods of a node");
}
Answer no_vxlan(const MachineFacts& facts, const CheckOptions& options) {
  if (options.network != "vxlan") return {};
  return feature(facts, "vxlan", "vxlan", "carries pod packets with --network vxlan");
}
Answer no_netns(const MachineFacts& facts, const CheckOptions&) {
  return feature(facts, "netns", "configs", "gives each pod its own network");
}
Answer no_nftables(const MachineFacts& facts, const CheckOptions&) {
  return feature(facts, "nft", "nf_tables", "Services are made of");
}
Answer no_nat(const MachineFacts& facts, const CheckOptions&) {
  if (!facts.features.contains("nft")) return {};  // said already
  return feature(facts, "nft_nat", "nft_chain_nat", "leads a Service's address to a pod");
}

Answer wireguard_missing(const MachineFacts& facts, const CheckOptions& options) {
  if (!facts.root || options.network != "wireguard" || facts.features.contains("wireguard")) return {};
  if (facts.wireguard_go && facts.features.contains("tun")) return {};
  if (facts.wireguard_go)
    return Verdict{"wireguard-go is here but the kernel has no TUN device (/dev/net/tun)", "modprobe tun"};
  return Verdict{"neither the kernel nor a program here speaks WireGuard, which carries all packets between nodes",
                 "modprobe wireguard   (no such module: apt-get install wireguard-go)"};
}

Answer wireguard_userspace(const MachineFacts& facts, const CheckOptions& options) {
  if (!facts.root || options.network != "wireguard" || facts.features.contains("wireguard")) return {};
  if (!facts.wireguard_go || !facts.features.contains("tun")) return {};
  return Verdict{"the kernel has no WireGuard; wireguard-go is used and costs more CPU per packet",
                 "modprobe wireguard"};
}

Answer cgroups_missing(const MachineFacts& facts, const CheckOptions&) {
  if (facts.cgroups != CgroupKind::none) return {};
  return Verdict{"no cgroups are mounted at /sys/fs/cgroup", "mount -t cgroup2 none /sys/fs/cgroup"};
}

Answer cgroup_memory_off(const MachineFacts& facts, const CheckOptions&) {
  if (facts.cgroups == CgroupKind::none || facts.controllers.contains("memory")) return {};
  const char* file = facts.command_line_file.empty() ? "the kernel's command line" : "/boot/firmware/cmdline.txt";
  return Verdict{"the memory controller of cgroups is off, as Raspberry Pi OS ships it",
                 fmt::format("append to the one line of {}: cgroup_enable=memory cgroup_memory=1   then reboot", file)};
}

Answer cgroup_controller_missing(const MachineFacts& facts, const CheckOptions&) {
  if (facts.cgroups == CgroupKind::none) return {};
  std::vector<std::string> missing;
  for (const char* name : {"cpu", "cpuset", "pids"})
    if (!facts.controllers.contains(name)) missing.push_back(name);
  if (missing.empty()) return {};
  return Verdict{
      fmt::format("cgroups lack the controllers {}", join(missing, ", ")),
      "boot a kernel with CONFIG_CGROUP_SCHED, CONFIG_CPUSETS and CONFIG_CGROUP_PIDS, without cgroup_disable="};
}

// The firmware reads the first line only.
Answer command_line_split(const MachineFacts& facts, const CheckOptions&) {
  const std::string_view text = trim(facts.command_line_file);
  if (text.find('\n') == std::string_view::npos) return {};
  return Verdict{"/boot/firmware/cmdline.txt has more than one line; the firmware reads only the first",
                 "join its lines into one and reboot"};
}

Answer forwarding_off(const MachineFacts& facts, const CheckOptions&) {
  const auto value = setting(facts, "net/ipv4/ip_forward");
  if (!value || *value == 1) return {};
  return Verdict{"IPv4 forwarding is off; dure turns it on when it starts",
                 command_for("net/ipv4/ip_forward", "1"),
                 {set_to(facts, "net/ipv4/ip_forward", "1")}};
}

Answer forwarding_pinned_off(const MachineFacts& facts, const CheckOptions&) {
  const auto pinned = facts.pinned_sysctls.find("net/ipv4/ip_forward");
  if (pinned == facts.pinned_sysctls.end() || pinned->second != "0") return {};
  return Verdict{
      "a file in /etc/sysctl.d sets net.ipv4.ip_forward = 0; the next boot or sysctl --system cuts all pods off",
      "grep -rl ip_forward /etc/sysctl.conf /etc/sysctl.d   and remove the line"};
}

// Flannel's daemon stops without the file.
Answer bridge_netfilter_missing(const MachineFacts& facts, const CheckOptions& options) {
  if (options.network != "none" || facts.sysctls.contains("net/bridge/bridge-nf-call-iptables")) return {};
  return Verdict{"br_netfilter is not loaded, without which Flannel and kube-proxy do not work",
                 "modprobe br_netfilter   (and at each boot: dure check --fix --network none)",
                 {{{Change::Kind::file, "/etc/modules-load.d/dure.conf"}, "br_netfilter\n"}}};
}

Answer bridge_netfilter_off(const MachineFacts& facts, const CheckOptions& options) {
  const auto value = setting(facts, "net/bridge/bridge-nf-call-iptables");
  if (options.network != "none" || !value || *value == 1) return {};
  return Verdict{"packets between pods of one node bypass the packet filter (bridge-nf-call-iptables is 0)",
                 command_for("net/bridge/bridge-nf-call-iptables", "1"),
                 {set_to(facts, "net/bridge/bridge-nf-call-iptables", "1")}};
}

Answer reverse_path_strict(const MachineFacts& facts, const CheckOptions&) {
  if (setting(facts, "net/ipv4/conf/all/rp_filter").value_or(0) != 1) return {};
  return Verdict{"the reverse path filter is strict (rp_filter = 1) and drops packets that return another way",
                 command_for("net/ipv4/conf/all/rp_filter", "2"),
                 {set_to(facts, "net/ipv4/conf/all/rp_filter", "2")}};
}

Answer ping_ignored(const MachineFacts& facts, const CheckOptions&) {
  if (setting(facts, "net/ipv4/icmp_echo_ignore_all").value_or(0) == 0) return {};
  return Verdict{"this machine answers no ping (icmp_echo_ignore_all = 1), so tests of paths to it fail",
                 command_for("net/ipv4/icmp_echo_ignore_all", "0"),
                 {set_to(facts, "net/ipv4/icmp_echo_ignore_all", "0")}};
}

Answer path_mtu_off(const MachineFacts& facts, const CheckOptions&) {
  if (setting(facts, "net/ipv4/ip_no_pmtu_disc").value_or(0) == 0) return {};
  return Verdict{"path MTU discovery is off (ip_no_pmtu_disc), so large packets vanish in tunnels",
                 command_for("net/ipv4/ip_no_pmtu_disc", "0"),
                 {set_to(facts, "net/ipv4/ip_no_pmtu_disc", "0")}};
}

Answer local_ports_cover_node_ports(const MachineFacts& facts, const CheckOptions&) {
  const auto found = facts.sysctls.find("net/ipv4/ip_local_port_range");
  if (found == facts.sysctls.end()) return {};
  const size_t end = found->second.find_first_of(" \t");
  const auto first = parse_int(std::string_view(found->second).substr(0, end));
  if (!first || *first > 30000) return {};
  return Verdict{
      fmt::format("outgoing connections may take ports from {} on, which NodePort Services use (30000-32767)", *first),
      command_for("net/ipv4/ip_local_port_range", "\"32768 60999\""),
      {set_to(facts, "net/ipv4/ip_local_port_range", "32768 60999")}};
}

Answer inotify_instances(const MachineFacts& facts, const CheckOptions&) {
  return at_least(facts, "fs/inotify/max_user_instances", 128, "so pods soon fail with \"too many open files\"");
}
Answer inotify_watches(const MachineFacts& facts, const CheckOptions&) {
  return at_least(facts, "fs/inotify/max_user_watches", 8192, "so pods that watch files fail with \"no space left\"");
}
Answer conntrack_max(const MachineFacts& facts, const CheckOptions&) {
  return at_least(facts, "net/netfilter/nf_conntrack_max", 16384, "so connections are dropped when it is full");
}
Answer pid_max(const MachineFacts& facts, const CheckOptions&) {
  return at_least(facts, "kernel/pid_max", 16384, "few for the processes of many pods");
}

Answer overcommit_strict(const MachineFacts& facts, const CheckOptions&) {
  if (setting(facts, "vm/overcommit_memory").value_or(0) != 2) return {};
  return Verdict{
      "memory is never overcommitted (vm.overcommit_memory = 2), so starting containers fails long before it is used "
      "up",
      command_for("vm/overcommit_memory", "0"),
      {set_to(facts, "vm/overcommit_memory", "0")}};
}

Answer open_files_low(const MachineFacts& facts, const CheckOptions&) {
  if (facts.open_files_max == 0 || facts.open_files_max >= 4096) return {};
  return Verdict{fmt::format("a process may open {} files at most", facts.open_files_max),
                 "raise it: DefaultLimitNOFILE= in /etc/systemd/system.conf, or ulimit -Hn 65536"};
}

constexpr Check kChecks[] = {
    {"KernelTooOld", Severity::refuse, false, "older kernels lack what pods and Services are made of", kernel_too_old},
    {"KernelNoOverlay", Severity::refuse, false, "images are stacked with overlayfs", no_overlay},
    {"KernelNoVeth", Severity::refuse, false, "each pod hangs on a pair of virtual cables", no_veth},
    {"KernelNoBridge", Severity::refuse, false, "pods of a node share a bridge", no_bridge},
    {"KernelNoVxlan", Severity::refuse, false, "the vxlan network needs it", no_vxlan},
    {"KernelNoNamespaces", Severity::refuse, false, "a pod is a set of namespaces", no_netns},
    {"KernelNoNftables", Severity::refuse, false, "Services are nftables maps", no_nftables},
    {"KernelNoNat", Severity::refuse, false, "a Service's address is translated to a pod's", no_nat},
    {"WireGuardMissing", Severity::refuse, false, "packets between nodes are encrypted by WireGuard",
     wireguard_missing},
    {"WireGuardUserspace", Severity::note, false, "the kernel's WireGuard needs less CPU", wireguard_userspace},
    {"CgroupsMissing", Severity::refuse, false, "pods are limited and counted by cgroups", cgroups_missing},
    {"CgroupMemoryOff", Severity::refuse, false, "memory limits of pods do nothing without it", cgroup_memory_off},
    {"CgroupControllerMissing", Severity::refuse, false, "CPU and process limits need them", cgroup_controller_missing},
    {"CommandLineSplit", Severity::warn, false, "cgroup flags on a second line have no effect", command_line_split},
    {"ForwardingOff", Severity::note, false, "a node forwards the packets of its pods", forwarding_off},
    {"ForwardingPinnedOff", Severity::warn, false, "it comes back at the next boot", forwarding_pinned_off},
    {"BridgeNetfilterMissing", Severity::warn, false, "third-party networks expect it", bridge_netfilter_missing},
    {"BridgeNetfilterOff", Severity::warn, false, "Services break between pods of one node", bridge_netfilter_off},
    {"ReversePathStrict", Severity::warn, false, "a strict filter drops what roams or has two ways",
     reverse_path_strict},
    {"PingIgnored", Severity::note, false, "ping is the first thing everybody tries", ping_ignored},
    {"PathMtuOff", Severity::warn, false, "tunnels have smaller packets than cables", path_mtu_off},
    {"LocalPortsCoverNodePorts", Severity::warn, false, "a NodePort can be taken by any connection",
     local_ports_cover_node_ports},
    {"InotifyInstancesLow", Severity::warn, false, "each kubectl logs -f and many programs take one",
     inotify_instances},
    {"InotifyWatchesLow", Severity::warn, false, "pods that watch files take many", inotify_watches},
    {"ConntrackSmall", Severity::warn, false, "every connection of every pod has an entry", conntrack_max},
    {"PidMaxLow", Severity::warn, false, "all pods share the machine's process numbers", pid_max},
    {"OvercommitStrict", Severity::warn, false, "programs reserve more than they use", overcommit_strict},
    {"OpenFilesLow", Severity::warn, false, "the runtime holds files open for every pod", open_files_low},
};

}  // namespace

std::span<const Check> kernel_checks() { return kChecks; }

}  // namespace dure::bootstrap
