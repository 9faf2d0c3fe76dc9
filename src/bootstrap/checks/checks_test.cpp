#include "bootstrap/checks/checks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "base/text.h"
#include "bootstrap/checks/fact_files.h"
#include "bootstrap/checks/fix.h"
#include "bootstrap/reset.h"
#include "bootstrap/settings.h"
#include "kernel/sysctl.h"
#include "bootstrap/checks/virtualization.h"
#include "os/disk.h"

namespace dure::bootstrap {
namespace {

using Severity = Finding::Severity;

// A PC with Debian 12 and its containerd, on a cable, behind a home router.
MachineFacts clean_machine() {
  MachineFacts out;
  out.now = *parse_time("2026-11-27T12:00:00Z");
  out.kernel_release = "6.1.0-44-amd64";
  out.architecture = "x86_64";
  out.features = {"overlay", "veth", "bridge", "vxlan", "tun", "wireguard", "nft", "nft_nat", "netns"};
  out.cgroups = CgroupKind::v2;
  out.controllers = {"cpu", "cpuset", "memory", "pids", "io"};
  out.sysctls = {{"net/ipv4/ip_forward", "1"},
                 {"net/ipv4/conf/all/rp_filter", "0"},
                 {"net/ipv4/icmp_echo_ignore_all", "0"},
                 {"net/ipv4/ip_no_pmtu_disc", "0"},
                 {"net/ipv4/ip_local_port_range", "32768\t60999"},
                 {"fs/inotify/max_user_instances", "128"},
                 {"fs/inotify/max_user_watches", "65536"},
                 {"net/netfilter/nf_conntrack_max", "131072"},
                 {"kernel/pid_max", "4194304"},
                 {"vm/overcommit_memory", "0"}};
  out.processors = 4;
  out.memory_bytes = 8ull << 30;
  out.open_files_max = 1048576;
  out.data =
      os::FileSystemFacts{.bytes = 100ull << 30, .bytes_free = 60ull << 30, .inodes = 6000000, .inodes_free = 5000000};
  out.data_type = "ext4";
  out.data_device = "/dev/nvme0n1p2";
  out.machine_id = "0f2d3c9a1b7e4f60a5d4c3b2a1908070";
  out.hostname = "attic";
  Interface lo{.name = "lo", .mtu = 65536, .loopback = true};
  lo.addresses = {*IpPrefix::parse("127.0.0.1/8")};
  Interface cable{.name = "enp3s0", .mac = *Mac::parse("d8:bb:c1:00:12:34"), .physical = true};
  cable.addresses = {*IpPrefix::parse("192.168.0.20/24")};
  out.interfaces = {lo, cable};
  out.routes = {{*IpPrefix::parse("0.0.0.0/0"), "enp3s0", 100}, {*IpPrefix::parse("192.168.0.0/24"), "enp3s0", 100}};
  out.listeners = {{"tcp", *Ip::parse("0.0.0.0"), 22}, {"udp", *Ip::parse("0.0.0.0"), 68}};
  out.resolver.nameservers = {"192.168.0.1"};
  out.resolver.search = {"home"};
  out.runtime = {.program = "containerd",
                 .version = "1.6.20",
                 .socket = "/run/containerd/containerd.sock",
                 .socket_exists = true,
                 .runc = true};
  return out;
}

struct Break {
  const char* code;
  std::function<void(MachineFacts&, CheckOptions&)> mutate;
};

void add_link(MachineFacts& facts, const std::string& name, const char* address = nullptr) {
  Interface one{.name = name};
  if (address) one.addresses = {*IpPrefix::parse(address)};
  facts.interfaces.push_back(one);
}

FilterChain dropping(const std::string& hook, std::vector<std::string> rules = {}) {
  return {"ip", "filter", lower(hook) == "input" ? "INPUT" : "FORWARD", hook, true, std::move(rules)};
}

#define BREAK(code, ...)                        \
  {code, [](MachineFacts& f, CheckOptions& o) { \
     (void)f;                                   \
     (void)o;                                   \
     __VA_ARGS__;                               \
   }}
const std::vector<Break>& breaks() {
  static const std::vector<Break> all = {
    BREAK("KernelTooOld", f.kernel_release = "4.9.0"),
    BREAK("KernelTooOld", f.kernel_release = "5.3.18"),
    BREAK("KernelNoOverlay", f.features.erase("overlay")),
    BREAK("KernelNoVeth", f.features.erase("veth")),
    BREAK("KernelNoBridge", f.features.erase("bridge")),
    BREAK("KernelNoVxlan", o.network = "vxlan"; f.features.erase("vxlan")),
    BREAK("KernelNoNamespaces", f.features.erase("netns")),
    BREAK("KernelNoNftables", f.features.erase("nft"); f.features.erase("nft_nat")),
    BREAK("KernelNoNat", f.features.erase("nft_nat")),
    BREAK("WireGuardMissing", f.features.erase("wireguard")),
    BREAK("WireGuardMissing", f.features.erase("wireguard"); f.wireguard_go = true; f.features.erase("tun")),
    BREAK("WireGuardUserspace", f.features.erase("wireguard"); f.wireguard_go = true),
    BREAK("CgroupsMissing", f.cgroups = CgroupKind::none; f.controllers.clear()),
    BREAK("CgroupMemoryOff", f.controllers.erase("memory")),
    BREAK("CgroupControllerMissing", f.controllers.erase("pids")),
    BREAK("CommandLineSplit", f.command_line_file = "console=tty1\ncgroup_enable=memory\n"),
    BREAK("ForwardingOff", f.sysctls["net/ipv4/ip_forward"] = "0"),
    BREAK("ForwardingPinnedOff", f.pinned_sysctls["net/ipv4/ip_forward"] = "0"),
    BREAK("BridgeNetfilterMissing", o.network = "none"),
    BREAK("BridgeNetfilterOff", o.network = "none"; f.sysctls["net/bridge/bridge-nf-call-iptables"] = "0"),
    BREAK("ReversePathStrict", f.sysctls["net/ipv4/conf/all/rp_filter"] = "1"),
    BREAK("PingIgnored", f.sysctls["net/ipv4/icmp_echo_ignore_all"] = "1"),
    BREAK("PathMtuOff", f.sysctls["net/ipv4/ip_no_pmtu_disc"] = "1"),
    BREAK("LocalPortsCoverNodePorts", f.sysctls["net/ipv4/ip_local_port_range"] = "1024\t65535"),
    BREAK("InotifyInstancesLow", f.sysctls["fs/inotify/max_user_instances"] = "64"),
    BREAK("InotifyWatchesLow", f.sysctls["fs/inotify/max_user_watches"] = "1024"),
    BREAK("ConntrackSmall", f.sysctls["net/netfilter/nf_conntrack_max"] = "4096"),
    BREAK("PidMaxLow", f.sysctls["kernel/pid_max"] = "4096"),
    BREAK("OvercommitStrict", f.sysctls["vm/overcommit_memory"] = "2"),
    BREAK("OpenFilesLow", f.open_files_max = 1024),
    BREAK("NotRoot", f.root = false; f.features.clear()),
    BREAK("SwapOn", f.swap_bytes = 2ull << 30),
    BREAK("OneProcessor", o.role = Role::server; f.processors = 1),
    BREAK("MemorySmall", f.memory_bytes = 128 << 20),
    BREAK("DiskSpaceLow", f.data->bytes_free = 100 << 20),
    BREAK("InodesLow", f.data->inodes_free = 1000),
    BREAK("DataReadOnly", f.data->read_only = true),
    BREAK("DataOnTmpfs", f.data_type = "tmpfs"),
    BREAK("DataOnNetwork", f.data_type = "nfs4"),
    BREAK("DataOnSdCard", f.data_device = "/dev/mmcblk0p2"),
    BREAK("DataOnSpinningDisk", o.role = Role::server; f.data_rotational = true),
    BREAK("MachineIdEmpty", f.machine_id = ""),
    BREAK("MachineIdEmpty", f.machine_id = "uninitialized"),
    BREAK("MachineIdDiffers", f.dbus_machine_id = "11112222333344445555666677778888"),
    BREAK("HostnameInvalid", f.hostname = "my_pc"),
    BREAK("HostnameInvalid", o.node_name = "my_pc"),
    BREAK("HostnameUppercase", f.hostname = "Attic"),
    BREAK("HostnameLocalhost", f.hostname = "localhost.localdomain"),
    BREAK("HostnameUnresolved", f.hostname_resolves = false),
    BREAK("HostnameOfTemplate", f.hostname = "ubuntu"),
    BREAK("ClockWrong", f.now = WallTime{}),
    BREAK("ClockUnsynchronised", f.clock_synchronised = false),
    BREAK("LidSleeps", f.battery = true),
    BREAK("DesktopSleeps", f.graphical = true),
    BREAK("SystemdAbsent", f.systemd = false),
    BREAK("InsideContainer", f.container = true; f.virtualization = "lxc"),
    BREAK("SelinuxEnforcing", f.selinux_enforcing = true),
    BREAK("AppArmorWithoutParser", f.apparmor = true),
    BREAK("NoAddress", f.interfaces.pop_back(); f.routes.clear()),
    BREAK("NoDefaultRoute", f.routes.erase(f.routes.begin())),
    BREAK("DefaultRoutesEqual", f.routes.push_back({*IpPrefix::parse("0.0.0.0/0"), "wlan0", 100})),
    BREAK("VirtualBoxNatOnly", f.interfaces[1].addresses = {*IpPrefix::parse("10.0.2.15/24")}),
    BREAK("VirtualBoxNatOnly", o.role = Role::server; f.interfaces[1].addresses = {*IpPrefix::parse("10.0.2.15/24")}),
    BREAK("MacDuplicated", f.interfaces.push_back(f.interfaces[1]); f.interfaces[2].name = "enp4s0";
          f.interfaces[2].addresses.clear()),
    BREAK("MtuTooSmall", f.interfaces[1].mtu = 1200),
    BREAK("MtuMixed", f.interfaces.push_back(f.interfaces[1]); f.interfaces[2].name = "enp4s0";
          f.interfaces[2].mtu = 9000; f.interfaces[2].mac = *Mac::parse("d8:bb:c1:00:12:35")),
    BREAK("WifiPowerSave", f.interfaces[1].wireless = true; f.interfaces[1].power_save = true),
    BREAK("WifiUplink", o.role = Role::server; f.interfaces[1].wireless = true),
    BREAK("RangeOverlap", f.interfaces[1].addresses = {*IpPrefix::parse("10.244.3.7/24")}),
    BREAK("RangeOverlap", add_link(f, "tun0", "10.96.0.5/24")),
    BREAK("DockerOverlap", add_link(f, "docker0", "10.245.0.1/16")),
    BREAK("DockerOverlap", add_link(f, "br-1a2b3c", "10.100.0.1/16")),
    BREAK("RouteOverlap", f.routes.push_back({*IpPrefix::parse("10.244.7.0/24"), "tun0", 0})),
    BREAK("RouteInsideLan", f.routes.push_back({*IpPrefix::parse("192.168.0.64/26"), "tunl0", 0})),
    BREAK("BehindCarrierNat", o.role = Role::server; f.interfaces[1].addresses = {*IpPrefix::parse("100.72.3.4/10")}),
    BREAK("ApiPortTaken", o.role = Role::server; f.listeners.push_back({"tcp", *Ip::parse("::"), 6443})),
    BREAK("WireGuardPortTaken", f.listeners.push_back({"udp", *Ip::parse("0.0.0.0"), 51820})),
    BREAK("VxlanPortTaken", o.network = "vxlan"; f.listeners.push_back({"udp", *Ip::parse("0.0.0.0"), 8472})),
    BREAK("DnsPortTaken", f.listeners.push_back({"udp", *Ip::parse("0.0.0.0"), 53})),
    BREAK("ResolverLoops", f.resolver.nameservers = {"127.0.0.53"}),
    BREAK("ResolverInCluster", f.resolver.nameservers = {"10.96.0.10"}),
    BREAK("NoNameserver", f.resolver.nameservers.clear()),
    BREAK("NameserversMany", f.resolver.nameservers = {"192.168.0.1", "1.1.1.1", "8.8.8.8", "9.9.9.9"}),
    BREAK("SearchDomainsMany", f.resolver.search.assign(30, "corp.example")),
    BREAK("SearchDomainClashes", f.resolver.search = {"default.svc.cluster.local"}),
    BREAK("ProxyWithoutExceptions", f.environment["https_proxy"] = "http://proxy.corp:3128"),
    BREAK("ProxyWithoutExceptions", f.environment["http_proxy"] = "http://proxy.corp:3128";
          f.environment["no_proxy"] = "localhost,10.0.0.0/8"),
    BREAK("UfwBlocksApi", o.role = Role::server; f.firewall.ufw = true; f.firewall.ufw_input = "DROP";
          f.firewall.ufw_rules = {"allow any any 0.0.0.0/0 any 0.0.0.0/0 in_cni0",
                                  "allow udp 51820 0.0.0.0/0 any 0.0.0.0/0 in"}),
    BREAK("UfwBlocksPods", f.firewall.ufw = true; f.firewall.ufw_input = "ACCEPT"; f.firewall.ufw_forward = "DROP"),
    BREAK("UfwBlocksDirectPaths", f.firewall.ufw = true; f.firewall.ufw_input = "REJECT";
          f.firewall.ufw_rules = {"allow any any 0.0.0.0/0 any 0.0.0.0/0 in_cni0"}),
    BREAK("FirewalldBlocksApi", o.role = Role::server; f.firewall.firewalld = true;
          f.firewall.firewalld_zone = "ports: 51820/udp"; f.firewall.firewalld_trusted = "sources: 10.244.0.0/16"),
    BREAK("FirewalldBlocksPods", f.firewall.firewalld = true; f.firewall.firewalld_zone = "ports: 51820/udp"),
    BREAK("FirewalldBlocksDirectPaths", f.firewall.firewalld = true;
          f.firewall.firewalld_trusted = "sources: 10.244.0.0/16"),
    BREAK("FilterBlocksApi", o.role = Role::server;
          f.firewall.chains = {dropping("input", {"iifname \"cni0\" accept"})}),
    BREAK("FilterBlocksPods", f.firewall.chains = {dropping("forward")}),
    BREAK("FilterBlocksPods", f.firewall.chains = {dropping("input", {"tcp dport 22 accept"})}),
    BREAK("DockerForwardDrop", f.firewall.chains = {dropping("forward")}; f.firewall.docker = true),
    BREAK("IcmpDropped", f.firewall.chains = {dropping("input", {"icmp type echo-request drop"})};
          f.firewall.chains[0].drops = false),
    BREAK("LegacyTables", f.firewall.legacy_tables = true),
    BREAK("RuntimeMissing", f.runtime = {.socket = "/run/containerd/containerd.sock"}),
    BREAK("RuntimeNotRunning", f.runtime.socket_exists = false),
    BREAK("RuntimeTooOld", f.runtime.version = "1.4.13"),
    BREAK("CriDisabled", f.runtime.cri_disabled = true),
    BREAK("RuncMissing", f.runtime.runc = false),
    BREAK("OtherKubernetesRuns", f.processes = {"k3s-agent"}),
    BREAK("K3sLeft", f.paths = {"/var/lib/rancher/k3s"}),
    BREAK("KubeadmLeft", f.static_manifests = {"etcd.yaml"}),
    BREAK("KubeadmLeft", f.paths = {"/etc/kubernetes/kubelet.conf"}),
    BREAK("OtherDistributionLeft", f.paths = {"/var/lib/k0s"}),
    BREAK("ForeignCni", f.cni_files = {"10-calico.conflist"}),
    BREAK("ForeignCni", f.cni_files = {"87-podman.conflist"}),
    BREAK("AdminConfOnWorker", f.member = true; f.paths = {"/root/.kube/config"}),
    BREAK("AptInsecure", f.apt_insecure = "/etc/apt/apt.conf.d/99allow-insecure-repositories"),
    BREAK("FlannelLeft", add_link(f, "flannel.1")),
    BREAK("CalicoLeft", add_link(f, "cali0123456789a")),
    BREAK("CiliumLeft", add_link(f, "cilium_host")),
    BREAK("WeaveLeft", add_link(f, "weave")),
    BREAK("ForeignBridge", add_link(f, "cni0")),
    BREAK("KubeProxyLeft", add_link(f, "kube-ipvs0")),
    BREAK("KubeProxyLeft", f.firewall.kube_proxy = {"KUBE-SERVICES"}),
  };
  return all;
}

// Those that cannot be broken alone, with what they bring along.
const std::vector<std::pair<Break, std::vector<std::string>>>& joint_breaks() {
  static const std::vector<std::pair<Break, std::vector<std::string>>> all = {
      {BREAK("NoHardwareClock", f.hardware_clock = false; f.clock_synchronised = false),
       {"ClockUnsynchronised", "NoHardwareClock"}},
      {BREAK("CgroupDriverMismatch", f.runtime.systemd_cgroup = true; f.systemd = false),
       {"SystemdAbsent", "CgroupDriverMismatch"}},
  };
  return all;
}
#undef BREAK

std::vector<std::string> codes_of(const std::vector<Finding>& findings) {
  std::vector<std::string> out;
  for (const Finding& one : findings) out.push_back(one.code);
  return out;
}

TEST(Checks, ACleanMachineHasNoFindings) {
  for (const Role role : {Role::worker, Role::server})
    for (const char* network : {"wireguard", "vxlan"}) {
      CheckOptions options{.role = role, .network = network};
      EXPECT_EQ(codes_of(check_machine(clean_machine(), options)), std::vector<std::string>{});
    }
}

TEST(Checks, EachBreakGivesExactlyItsCode) {
  std::vector<std::pair<Break, std::vector<std::string>>> all = joint_breaks();
  for (const Break& one : breaks()) all.push_back({one, {one.code}});
  for (const auto& [one, expected] : all) {
    MachineFacts facts = clean_machine();
    CheckOptions options;
    one.mutate(facts, options);
    const auto findings = check_machine(facts, options);
    EXPECT_EQ(codes_of(findings), expected) << one.code;
    for (const Finding& finding : findings) {
      EXPECT_FALSE(finding.sentence.empty());
      EXPECT_FALSE(finding.sentence.ends_with('.')) << finding.sentence;
      if (finding.severity != Severity::note) EXPECT_FALSE(finding.fix.empty()) << one.code;
    }
  }
}

TEST(Checks, EveryCheckIsBrokenByATest) {
  std::set<std::string> broken, codes;
  for (const Break& one : breaks()) broken.insert(one.code);
  for (const auto& [one, expected] : joint_breaks()) broken.insert(one.code);
  for (const Check& check : all_checks()) EXPECT_TRUE(codes.insert(std::string(check.code)).second) << check.code;
  EXPECT_EQ(broken, codes);
  EXPECT_GE(codes.size(), 40u);
}

TEST(Checks, WhatIsFineSaysNothing) {
  MachineFacts facts = clean_machine();
  facts.sysctls["net/ipv6/conf/all/disable_ipv6"] = "1";  // IPv6 is not needed
  facts.environment["TZ"] = "Asia/Seoul";                 // clocks are compared in UTC
  facts.resolver.nameservers = {"127.0.0.53"};
  facts.resolver.upstream = {"192.168.0.1"};  // systemd-resolved, with somebody behind it
  facts.environment["https_proxy"] = "http://proxy.corp:3128";
  facts.environment["no_proxy"] = "10.0.0.0/8,.svc,.cluster.local";
  facts.routes.push_back(
      {*IpPrefix::parse("10.0.0.0/8"), "tun0", 50});  // a company's VPN: the cluster's are more exact
  add_link(facts, "docker0", "172.17.0.1/16");
  facts.firewall.docker = facts.firewall.docker_user_accepts = true;
  facts.firewall.chains = {dropping("forward", {"jump DOCKER-USER"})};
  EXPECT_EQ(codes_of(check_machine(facts, {})), std::vector<std::string>{});
}

TEST(Checks, AMemberIsNotItsOwnLeftover) {
  MachineFacts facts = clean_machine();
  facts.member = facts.server = true;
  facts.paths = {"/etc/kubernetes/kubelet.conf", "/etc/kubernetes/admin.conf"};
  facts.cni_files = {"10-dure.conflist"};
  facts.listeners.push_back({"tcp", *Ip::parse("0.0.0.0"), 6443});
  facts.listeners.push_back({"udp", *Ip::parse("0.0.0.0"), 51820});
  facts.listeners.push_back({"udp", *Ip::parse("10.96.0.10"), 53});
  for (const char* name : {"cni0", "flannel.1", "dure-wg", "veth123"}) add_link(facts, name, "10.244.0.1/24");
  facts.routes.push_back({*IpPrefix::parse("10.244.1.0/24"), "flannel.1", 0});
  EXPECT_EQ(codes_of(check_machine(facts, {.role = Role::server})), std::vector<std::string>{});
}

TEST(Checks, ACniFileIsWorseWhenItComesFirst) {
  MachineFacts facts = clean_machine();
  facts.cni_files = {"87-podman.conflist", "10-dure.conflist"};
  EXPECT_EQ(check_machine(facts, {})[0].severity, Severity::note);
  facts.cni_files.push_back("05-cilium.conflist");
  EXPECT_EQ(check_machine(facts, {})[0].severity, Severity::refuse);
}

TEST(Checks, FixesSayTheExactRules) {
  MachineFacts facts = clean_machine();
  facts.firewall.ufw = true;
  facts.firewall.ufw_input = facts.firewall.ufw_forward = "DROP";
  const auto findings = check_machine(facts, {.role = Role::server});
  ASSERT_EQ(findings.size(), 3u);
  EXPECT_EQ(findings[0].fix, "ufw allow 6443/tcp");
  EXPECT_EQ(findings[1].fix, "ufw allow in on cni0; ufw route allow in on cni0; ufw route allow out on cni0");
  EXPECT_EQ(findings[2].fix, "ufw allow 51820/udp");
  facts.firewall.ufw_rules = {
      "allow tcp 6443 0.0.0.0/0 any 0.0.0.0/0 in", "allow any any 0.0.0.0/0 any 0.0.0.0/0 in_cni0",
      "route:allow any any 0.0.0.0/0 any 0.0.0.0/0 in_cni0", "route:allow any any 0.0.0.0/0 any 0.0.0.0/0 out_cni0",
      "allow udp 51000:52000 0.0.0.0/0 any 0.0.0.0/0 in"};
  EXPECT_EQ(codes_of(check_machine(facts, {.role = Role::server})), std::vector<std::string>{});
}

TEST(Checks, ANameThatWasGivenStandsForTheHostName) {
  MachineFacts facts = clean_machine();
  facts.hostname = "localhost";
  EXPECT_EQ(codes_of(check_machine(facts, {.node_name = "attic"})), std::vector<std::string>{});
}

TEST(Checks, IgnoredErrorsOnlyWarn) {
  MachineFacts facts = clean_machine();
  facts.runtime.runc = false;
  facts.swap_bytes = 1 << 30;
  for (const auto& [ignored, refused] : {std::pair{"runcmissing", false}, {"ALL", false}, {"Other", true}}) {
    auto findings = check_machine(facts, {});
    ignore_refusals(findings, {ignored});
    EXPECT_EQ(findings.size(), 2u);
    EXPECT_EQ(refusal(findings).has_value(), refused) << ignored;
  }
}

TEST(Checks, TheReportHasTheWorstFirst) {
  const std::vector<Finding> findings = {{"SwapOn", Severity::note, "swap is on", ""},
                                         {"RuncMissing", Severity::refuse, "no runc", "apt-get install runc"}};
  EXPECT_EQ(check_report(findings, 90),
            "error    RuncMissing  no runc\n"
            "                      apt-get install runc\n"
            "note     SwapOn       swap is on\n"
            "90 checks: 1 errors, 0 warnings, 1 notes\n");
}

// --- Reading

class StubProbe final : public MachineProbe {
 public:
  bool root() override { return true; }
  WallTime now() override { return *parse_time("2026-11-27T12:00:00Z"); }
  bool clock_synchronised() override { return true; }
  uint64_t processors() override { return 4; }
  uint64_t open_files_max() override { return 1048576; }
  std::optional<os::FileSystemFacts> file_system(const std::string&) override {
    return os::FileSystemFacts{.bytes = 1ull << 40, .bytes_free = 1ull << 39, .inodes = 1000, .inodes_free = 900};
  }
  bool resolves(const std::string&) override { return true; }
  std::vector<kernel::Link> links() override {
    kernel::Link lo{.index = 1, .name = "lo"}, cable{.index = 2, .name = "eth0"};
    lo.loopback = lo.up = cable.up = true;
    cable.mtu = 1500;
    cable.mac = *Mac::parse("d8:bb:c1:00:12:34");
    return {lo, cable};
  }
  std::vector<kernel::LinkAddress> addresses() override { return {{2, *IpPrefix::parse("192.168.0.20/24")}}; }
  std::vector<kernel::Route> routes() override {
    kernel::Route route;
    route.destination = *IpPrefix::parse("0.0.0.0/0");
    route.link = 2;
    return {route};
  }
  std::set<std::string> features() override { return {"veth", "bridge", "vxlan", "nft", "nft_nat", "netns"}; }
  std::string environment(const std::string& name) override { return name == "HTTPS_PROXY" ? proxy : ""; }
  bool has_program(const std::string& name) override { return name == "containerd" || name == "runc"; }
  std::string run(std::vector<std::string> command) override {
    if (command[0] == "nft") return ruleset;
    if (command[0] == "containerd")
      return "containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u1\n";
    if (command[0] == "systemctl" && command[1] == "get-default") return "multi-user.target\n";
    return {};
  }
  std::string ruleset, proxy;
};

class MemoryMachine {
 public:
  MemoryMachine() {
    write("/proc/sys/kernel/osrelease", "6.1.0-44-amd64\n");
    write("/proc/sys/kernel/hostname", "attic\n");
    write("/proc/sys/net/ipv4/ip_forward", "1\n");
    write("/proc/filesystems", "nodev\tsysfs\nnodev\toverlay\n\text4\n");
    write("/proc/meminfo", "MemTotal:        8000000 kB\nSwapTotal:             0 kB\n");
    write("/proc/self/mountinfo",
          "22 1 8:2 / / rw,relatime - ext4 /dev/sda2 rw\n25 22 0:5 / /proc rw - proc proc rw\n"
          "30 22 179:2 / /var/lib rw shared:3 - ext4 /dev/mmcblk0p2 rw\n");
    write("/proc/net/tcp",
          "  sl  local_address rem_address   st\n   0: 00000000:0016 00000000:0000 0A 00000000:00000000\n");
    write("/proc/modules", "wireguard 1 0 - Live 0x0\n");
    write("/sys/module/wireguard/version", "1");
    write("/dev/net/tun", "");
    write("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n");
    write("/etc/machine-id", "0f2d3c9a1b7e4f60a5d4c3b2a1908070\n");
    write("/etc/resolv.conf", "# made by hand\nnameserver 192.168.0.1\nsearch home\n");
    write("/run/systemd/system/x", "");
    write("/run/containerd/containerd.sock", "");
    write("/sys/class/rtc/rtc0/name", "rtc");
  }
  void write(const std::string& path, std::string_view text) {
    ASSERT_TRUE(disk.make_directories(path.substr(0, path.rfind('/'))));
    ASSERT_TRUE(os::write_file_atomic(disk, path, text));
  }
  MachineFacts read() { return read_machine_facts(disk, probe); }
  os::MemoryDisk disk;
  StubProbe probe;
};

TEST(Virtualization, WhatAMachineIsMadeOf) {
  const struct {
    const char *path, *text, *kind, *label;
  } rows[] = {{"/etc/none", "", "", "physical"},
              {"/run/systemd/container", "lxc\n", "lxc", "container"},
              {"/run/host/container-manager", "dure-lab\n", "dure-lab", "container"},
              {"/.dockerenv", "", "docker", "container"},
              {"/run/.containerenv", "", "podman", "container"},
              {"/sys/class/dmi/id/sys_vendor", "innotek GmbH\n", "oracle", "vm"},
              {"/sys/class/dmi/id/product_name", "VMware Virtual Platform\n", "vmware", "vm"},
              {"/sys/class/dmi/id/sys_vendor", "QEMU\n", "kvm", "vm"},
              {"/sys/class/dmi/id/product_name", "Virtual Machine\n", "microsoft", "vm"},
              {"/sys/class/dmi/id/sys_vendor", "Dell Inc.\n", "", "physical"},
              {"/proc/cpuinfo", "flags : fpu vme hypervisor lahf_lm\n", "vm-other", "vm"}};
  for (const auto& row : rows) {
    os::MemoryDisk disk;
    const std::string path = row.path;
    ASSERT_TRUE(disk.make_directories("/" + path.substr(1, path.rfind('/') ? path.rfind('/') - 1 : 0)));
    ASSERT_TRUE(os::write_file_atomic(disk, path, row.text));
    const Virtualization seen = read_virtualization(disk);
    EXPECT_EQ(seen.kind, row.kind) << path;
    EXPECT_EQ(seen.label(), row.label) << path;
  }
}

TEST(ReadFacts, AMachineInMemory) {
  MemoryMachine machine;
  const MachineFacts facts = machine.read();
  EXPECT_EQ(facts.kernel_release, "6.1.0-44-amd64");
  EXPECT_TRUE(facts.features.contains("overlay"));
  EXPECT_TRUE(facts.features.contains("wireguard"));
  EXPECT_EQ(facts.memory_bytes, 8000000ull << 10);
  EXPECT_EQ(facts.data_device, "/dev/mmcblk0p2");
  ASSERT_EQ(facts.listeners.size(), 1u);
  EXPECT_EQ(facts.listeners[0].port, 22);
  EXPECT_EQ(facts.runtime.version, "1.6.20");
  EXPECT_EQ(facts.interfaces[1].addresses.size(), 1u);
  EXPECT_EQ(codes_of(check_machine(facts, {})), std::vector<std::string>{"DataOnSdCard"});
}

TEST(ReadFacts, WhatIsBrokenInFilesIsFound) {
  MemoryMachine machine;
  machine.write("/proc/self/mountinfo", "22 1 8:2 / / rw,relatime - ext4 /dev/sda2 rw\n");
  machine.write("/etc/ufw/ufw.conf", "ENABLED=yes\nLOGLEVEL=low\n");
  machine.write("/etc/default/ufw", "DEFAULT_INPUT_POLICY=\"DROP\"\nDEFAULT_FORWARD_POLICY=\"DROP\"\n");
  machine.write("/etc/ufw/user.rules", "*filter\n### tuple ### allow udp 51820 0.0.0.0/0 any 0.0.0.0/0 in\n");
  machine.write("/etc/containerd/config.toml", "disabled_plugins = [\n  \"cri\", # Docker\n]\n");
  machine.write("/etc/cni/net.d/10-flannel.conflist", "{}");
  machine.write("/etc/sysctl.d/99-hard.conf", "net.ipv4.ip_forward=0\n");
  machine.write("/etc/resolv.conf", "nameserver 127.0.0.53\n");
  machine.write("/etc/apt/apt.conf.d/99x", "APT::Get::AllowUnauthenticated \"true\";\n");
  machine.write("/proc/812/comm", "k3s-server\n");
  machine.write("/proc/net/udp6",
                "x\n 1: 00000000000000000000000000000000:0035 00000000000000000000000000000000:0000 07 0\n");
  machine.write("/sys/class/power_supply/BAT0/type", "Battery\n");
  machine.probe.proxy = "http://proxy:3128";
  EXPECT_EQ(codes_of(check_machine(machine.read(), {})),
            (std::vector<std::string>{"ForwardingPinnedOff", "LidSleeps", "DnsPortTaken", "ResolverLoops",
                                      "ProxyWithoutExceptions", "UfwBlocksPods", "CriDisabled", "OtherKubernetesRuns",
                                      "ForeignCni", "AptInsecure"}));
}

TEST(ReadFacts, Ruleset) {
  FirewallFacts firewall;
  take_ruleset(R"(table ip filter {
  chain DOCKER-USER {
    counter packets 0 bytes 0 return
  }
  chain FORWARD {
    type filter hook forward priority 0; policy drop;
    counter packets 0 bytes 0 jump DOCKER-USER
  }
  chain KUBE-SERVICES {
  }
}
table ip dure {
  set s {
    type ipv4_addr
    elements = { 10.0.0.1,
           10.0.0.2 }
  }
  chain forward {
    type filter hook forward priority 0; policy accept;
  }
}
)",
               firewall);
  ASSERT_EQ(firewall.chains.size(), 1u);
  EXPECT_EQ(firewall.chains[0].name, "FORWARD");
  EXPECT_TRUE(firewall.chains[0].drops);
  EXPECT_TRUE(firewall.docker);
  EXPECT_FALSE(firewall.docker_user_accepts);
  EXPECT_EQ(firewall.kube_proxy, std::vector<std::string>{"KUBE-SERVICES"});
}

TEST(ReadFacts, LegacyTables) {
  FirewallFacts firewall;
  take_iptables(
      "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [1:2]\n:DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\n-A "
      "DOCKER-USER -i cni0 -j ACCEPT\nCOMMIT\n",
      firewall);
  ASSERT_EQ(firewall.chains.size(), 2u);
  EXPECT_TRUE(firewall.chains[1].drops);
  EXPECT_TRUE(firewall.docker_user_accepts);
}

TEST(ReadFacts, ThisMachine) {
  const auto disk = os::make_disk();
  const auto probe = open_machine_probe();
  const MachineFacts facts = read_machine_facts(*disk, *probe);
  EXPECT_FALSE(facts.kernel_release.empty());
  EXPECT_GT(facts.memory_bytes, 0u);
  EXPECT_GT(facts.processors, 0u);
  EXPECT_FALSE(facts.hostname.empty());
  EXPECT_FALSE(facts.data_type.empty());
  ASSERT_TRUE(facts.data);
  EXPECT_GT(facts.data->bytes, 0u);
  EXPECT_TRUE(std::ranges::any_of(facts.interfaces, [](const Interface& one) { return one.loopback; }));
  if (facts.root) EXPECT_TRUE(facts.features.contains("veth") || !facts.features.contains("netns"));
}

// --- Fixing

TEST(Fix, OnlyWhatTheJournalCanUndo) {
  os::MemoryDisk disk;
  kernel::MemorySysctl sysctl;
  ASSERT_TRUE(disk.make_directories("/etc/sysctl.d"));
  ASSERT_TRUE(sysctl.set("net/ipv4/conf/all/rp_filter", "1"));
  MachineFacts facts = clean_machine();
  facts.sysctls["net/ipv4/conf/all/rp_filter"] = "1";
  facts.runtime.runc = false;  // nothing to be done for the user
  CheckOptions options{.network = "none"};
  const Places places;
  std::vector<std::string> loaded;
  auto load = [&](const std::string& module) -> Status {
    loaded.push_back(module);
    return {};
  };
  const auto findings = check_machine(facts, options);
  for (int round = 0; round < 2; ++round) {  // again: nothing changes
    const FixReport report = apply_fixes(disk, sysctl, places, findings, load);
    EXPECT_EQ(report.failed, std::vector<std::string>{});
    EXPECT_EQ(report.done.size(), 2u);
  }
  EXPECT_EQ(*sysctl.get("net/ipv4/conf/all/rp_filter"), "2");
  EXPECT_EQ(*os::read_file(disk, "/etc/sysctl.d/90-dure.conf"), "net.ipv4.conf.all.rp_filter = 2\n");
  EXPECT_EQ(*os::read_file(disk, "/etc/modules-load.d/dure.conf"), "br_netfilter\n");
  EXPECT_EQ(loaded[0], "br_netfilter");
  const std::vector<Change> expected = {{Change::Kind::folder, "/var/lib/dure"},
                                        {Change::Kind::folder, "/etc/modules-load.d"},
                                        {Change::Kind::file, "/etc/modules-load.d/dure.conf"},
                                        {Change::Kind::sysctl, "net/ipv4/conf/all/rp_filter", "1"},
                                        {Change::Kind::file, "/etc/sysctl.d/90-dure.conf"}};
  EXPECT_EQ(*Journal(disk, places.journal()).changes(), expected);
}

TEST(Fix, AFileOfSomebodyElseStays) {
  os::MemoryDisk disk;
  kernel::MemorySysctl sysctl;
  ASSERT_TRUE(disk.make_directories("/etc/modules-load.d"));
  ASSERT_TRUE(os::write_file_atomic(disk, "/etc/modules-load.d/dure.conf", "mine\n"));
  const auto findings = check_machine(clean_machine(), {.network = "none"});
  const FixReport report = apply_fixes(disk, sysctl, {}, findings, [](const std::string&) { return Status{}; });
  EXPECT_EQ(report.failed.size(), 1u);
  EXPECT_EQ(*os::read_file(disk, "/etc/modules-load.d/dure.conf"), "mine\n");
}

}  // namespace
}  // namespace dure::bootstrap
