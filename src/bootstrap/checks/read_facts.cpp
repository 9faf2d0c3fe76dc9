#include <algorithm>
#include <array>

#include "base/text.h"
#include "bootstrap/checks/fact_files.h"
#include "bootstrap/checks/machine_facts.h"
#include "bootstrap/checks/virtualization.h"
#include "os/disk.h"

namespace dure::bootstrap {
namespace {

constexpr std::array kSysctls = {"net/ipv4/ip_forward",
                                 "net/bridge/bridge-nf-call-iptables",
                                 "net/ipv4/conf/all/rp_filter",
                                 "net/ipv4/icmp_echo_ignore_all",
                                 "net/ipv4/ip_no_pmtu_disc",
                                 "net/ipv4/ip_local_port_range",
                                 "fs/inotify/max_user_instances",
                                 "fs/inotify/max_user_watches",
                                 "net/netfilter/nf_conntrack_max",
                                 "kernel/pid_max",
                                 "vm/overcommit_memory"};

constexpr std::array kLeftoverPaths = {"/var/lib/rancher/k3s",
                                       "/etc/rancher/k3s",
                                       "/usr/local/bin/k3s",
                                       "/etc/kubernetes/kubelet.conf",
                                       "/etc/kubernetes/admin.conf",
                                       "/var/lib/etcd/member",
                                       "/var/lib/kubelet/config.yaml",
                                       "/var/lib/k0s",
                                       "/var/snap/microk8s",
                                       "/run/flannel/subnet.env",
                                       "/var/lib/calico",
                                       "/sys/fs/bpf/cilium",
                                       "/root/.kube/config"};

constexpr std::array kProcesses = {"kubelet",  "k3s-server",     "k3s-agent",  "k3s",  "k0s",
                                   "kubelite", "kube-apiserver", "kube-proxy", "rke2", "firewalld"};

class Reader {
 public:
  Reader(os::Disk& disk, MachineProbe& probe, const FactPlaces& places) : disk_(disk), probe_(probe), places_(places) {}

  MachineFacts read() {
    facts_.root = probe_.root();
    facts_.now = probe_.now();
    kernel();
    cgroups();
    size();
    data();
    identity();
    power();
    security();
    environment();
    network();
    listeners();
    resolver();
    processes();
    firewall();
    runtime();
    leftovers();
    return std::move(facts_);
  }

 private:
  std::string text(const std::string& path) {
    auto read = os::read_file(disk_, path, 1 << 20);
    return read ? *read : std::string();
  }
  std::string line(const std::string& path) { return std::string(trim(text(path))); }
  bool exists(const std::string& path) { return disk_.exists(path); }
  std::vector<std::string> list(const std::string& path) {
    auto names = disk_.list(path);
    return names ? *names : std::vector<std::string>{};
  }

  void kernel() {
    facts_.kernel_release = line("/proc/sys/kernel/osrelease");
    facts_.architecture = line("/proc/sys/kernel/arch");
    facts_.command_line = line("/proc/cmdline");
    for (const char* path : {"/boot/firmware/cmdline.txt", "/boot/cmdline.txt"})
      if (facts_.command_line_file.empty()) facts_.command_line_file = text(path);
    for (const std::string& one : lines_of(text("/proc/modules"))) facts_.modules.insert(words_of(one)[0]);
    features();
    for (const char* name : kSysctls)
      if (const std::string path = std::string("/proc/sys/") + name; exists(path)) facts_.sysctls[name] = line(path);
    pinned();
  }

  void features() {
    facts_.wireguard_go = probe_.has_program("wireguard-go");
    if (!facts_.root) return;
    facts_.features = probe_.features();
    const auto file_systems = words_of(text("/proc/filesystems"));
    if (std::ranges::find(file_systems, "overlay") != file_systems.end() || has_module("overlay"))
      facts_.features.insert("overlay");
    if (exists("/dev/net/tun")) facts_.features.insert("tun");
    if (has_module("wireguard")) facts_.features.insert("wireguard");
  }

  // Loaded, built in, or a file that can be loaded.
  bool has_module(const std::string& name) {
    if (exists("/sys/module/" + name)) return true;
    for (const char* root : {"/lib/modules/", "/usr/lib/modules/"})
      for (const char* file : {"modules.builtin", "modules.dep"}) {
        auto read = os::read_file(disk_, root + facts_.kernel_release + "/" + file, 8 << 20);
        if (read && read->find("/" + name + ".ko") != std::string::npos) return true;
      }
    return false;
  }

  // Later files win; sysctl.conf is the last.
  void pinned() {
    std::vector<std::string> files;
    for (const char* folder : {"/usr/lib/sysctl.d/", "/etc/sysctl.d/"})
      for (const std::string& name : list(folder))
        if (name.ends_with(".conf")) files.push_back(folder + name);
    files.push_back("/etc/sysctl.conf");
    for (const std::string& file : files)
      for (const auto& [key, value] : assignments(text(file))) {
        std::string name = key;
        if (name.starts_with('-')) name.erase(0, 1);
        std::ranges::replace(name, '.', '/');
        facts_.pinned_sysctls[name] = value;
      }
  }

  void cgroups() {
    const std::string root = "/sys/fs/cgroup";
    if (exists(root + "/cgroup.controllers")) {
      facts_.cgroups = CgroupKind::v2;
      for (const std::string& name : words_of(text(root + "/cgroup.controllers"))) facts_.controllers.insert(name);
      return;
    }
    // "name hierarchy groups enabled"
    for (const std::string& one : lines_of(text("/proc/cgroups")))
      if (const auto words = words_of(one);
          words.size() == 4 && words[0][0] != '#' && words[3] == "1" && words[1] != "0")
        facts_.controllers.insert(words[0]);
    const bool unified = exists(root + "/unified");
    facts_.cgroups = facts_.controllers.empty() ? CgroupKind::none : unified ? CgroupKind::hybrid : CgroupKind::v1;
  }

  void size() {
    const std::string memory = text("/proc/meminfo");
    facts_.memory_bytes = meminfo_bytes(memory, "MemTotal");
    facts_.swap_bytes = meminfo_bytes(memory, "SwapTotal");
    facts_.processors = probe_.processors();
    facts_.open_files_max = probe_.open_files_max();
  }

  void data() {
    facts_.data = probe_.file_system(places_.data);
    const MountFact mount = mount_of(text("/proc/self/mountinfo"), places_.data);
    facts_.data_type = mount.type;
    facts_.data_device = mount.device;
    const std::string device = "/sys/dev/block/" + mount.device_number;
    facts_.data_rotational = line(device + "/queue/rotational") == "1" || line(device + "/../queue/rotational") == "1";
  }

  void identity() {
    facts_.hostname = line("/proc/sys/kernel/hostname");
    facts_.hostname_resolves = probe_.resolves(facts_.hostname);
    facts_.machine_id = line("/etc/machine-id");
    facts_.dbus_machine_id = line("/var/lib/dbus/machine-id");
    facts_.clock_synchronised = probe_.clock_synchronised();
    facts_.hardware_clock = exists("/sys/class/rtc/rtc0");
    facts_.systemd = exists("/run/systemd/system");
    virtualization();
  }

  void virtualization() {
    const Virtualization seen = read_virtualization(disk_);
    facts_.container = seen.container;
    facts_.virtualization = seen.kind;
  }

  void power() {
    for (const std::string& name : list("/sys/class/power_supply"))
      if (line("/sys/class/power_supply/" + name + "/type") == "Battery" &&
          line("/sys/class/power_supply/" + name + "/scope") != "Device")
        facts_.battery = true;
    std::vector<std::string> files = {"/etc/systemd/logind.conf"};
    for (const std::string& name : list("/etc/systemd/logind.conf.d"))
      if (name.ends_with(".conf")) files.push_back("/etc/systemd/logind.conf.d/" + name);
    for (const std::string& file : files)
      if (const auto values = assignments(text(file)); values.contains("HandleLidSwitch"))
        facts_.lid_switch = values.at("HandleLidSwitch");
    if (!facts_.systemd) return;
    facts_.sleep_masked = trim(probe_.run({"systemctl", "show", "-P", "LoadState", "sleep.target"})) == "masked";
    facts_.graphical = trim(probe_.run({"systemctl", "get-default"})) == "graphical.target" &&
                       (exists("/usr/share/xsessions") || exists("/usr/share/wayland-sessions"));
  }

  void security() {
    facts_.selinux_enforcing = line("/sys/fs/selinux/enforce") == "1";
    facts_.selinux_container_policy =
        exists("/usr/share/containers/selinux/contexts") || exists("/usr/share/selinux/packages/container.pp.bz2");
    facts_.apparmor = line("/sys/module/apparmor/parameters/enabled") == "Y";
    facts_.apparmor_parser = exists("/usr/sbin/apparmor_parser") || exists("/sbin/apparmor_parser");
  }

  void environment() {
    for (const auto& [name, value] : assignments(text("/etc/environment"))) take_variable(name, value);
    for (const char* name : {"http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"})
      take_variable(name, probe_.environment(name));
  }
  void take_variable(const std::string& name, const std::string& value) {
    const std::string key = lower(name);
    if (!value.empty() && (key == "http_proxy" || key == "https_proxy" || key == "no_proxy"))
      facts_.environment[key] = value;
  }

  void network() {
    std::map<int, std::string> names;
    for (const kernel::Link& link : probe_.links()) {
      names[link.index] = link.name;
      Interface one{.name = link.name,
                    .kind = link.kind,
                    .mac = link.mac,
                    .mtu = link.mtu,
                    .up = link.up,
                    .loopback = link.loopback};
      const std::string folder = "/sys/class/net/" + link.name;
      one.wireless = exists(folder + "/wireless") || exists(folder + "/phy80211");
      one.physical = exists(folder + "/device");
      if (one.wireless)
        one.power_save = probe_.run({"iw", "dev", link.name, "get", "power_save"}).find("on") != std::string::npos;
      facts_.interfaces.push_back(std::move(one));
    }
    for (const kernel::LinkAddress& address : probe_.addresses())
      for (Interface& one : facts_.interfaces)
        if (one.name == names[address.link]) one.addresses.push_back(address.address);
    for (const kernel::Route& route : probe_.routes())
      if (!route.destination.ip.v6) facts_.routes.push_back({route.destination, names[route.link], route.metric});
  }

  void listeners() {
    for (const char* protocol : {"tcp", "udp"})
      for (const char* version : {"", "6"})
        for (Listener& one : listeners_of(text(std::string("/proc/net/") + protocol + version), protocol))
          facts_.listeners.push_back(std::move(one));
  }

  void resolver() {
    facts_.resolver = resolver_of(text("/etc/resolv.conf"));
    facts_.resolver.upstream = resolver_of(text("/run/systemd/resolve/resolv.conf")).nameservers;
  }

  void processes() {
    for (const std::string& name : list("/proc")) {
      if (name.find_first_not_of("0123456789") != std::string::npos) continue;
      const std::string program = line("/proc/" + name + "/comm");
      if (std::ranges::find(kProcesses, program) != kProcesses.end()) facts_.processes.insert(program);
    }
  }

  void firewall() {
    FirewallFacts& out = facts_.firewall;
    if (facts_.root) take_ruleset(probe_.run({"nft", "-n", "list", "ruleset"}), out);
    out.legacy_tables = !line("/proc/net/ip_tables_names").empty();
    if (facts_.root && out.legacy_tables) take_iptables(probe_.run({"iptables-legacy-save"}), out);
    out.ufw = lower(assignments(text("/etc/ufw/ufw.conf"))["ENABLED"]) == "yes";
    auto defaults = assignments(text("/etc/default/ufw"));
    out.ufw_input = defaults["DEFAULT_INPUT_POLICY"];
    out.ufw_forward = defaults["DEFAULT_FORWARD_POLICY"];
    constexpr std::string_view mark = "### tuple ### ";
    for (const std::string& one : lines_of(text("/etc/ufw/user.rules")))
      if (one.starts_with(mark)) out.ufw_rules.push_back(one.substr(mark.size()));
    out.firewalld = facts_.processes.erase("firewalld") > 0;
    if (!out.firewalld) return;
    out.firewalld_zone = probe_.run({"firewall-cmd", "--list-all"});
    out.firewalld_trusted = probe_.run({"firewall-cmd", "--zone=trusted", "--list-all"});
  }

  void runtime() {
    RuntimeFacts& out = facts_.runtime;
    out.socket = places_.runtime_socket;
    if (out.socket.starts_with("unix://")) out.socket.erase(0, 7);
    out.socket_exists = exists(out.socket);
    for (const char* program : {"containerd", "crio"})
      if (out.program.empty() && probe_.has_program(program)) out.program = program;
    if (out.program == "containerd" && probe_.has_program("dockerd")) out.program = "docker";
    out.runc = probe_.has_program("runc");
    out.crun = probe_.has_program("crun");
    if (out.program.empty() || out.program == "crio") return;
    take_containerd_config(text("/etc/containerd/config.toml"), out);
    // "containerd github.com/containerd/containerd v1.7.24 88bf19b..."
    for (std::string word : words_of(probe_.run({"containerd", "--version"}))) {
      if (word.starts_with('v')) word.erase(0, 1);
      if (out.version.empty() && !word.empty() && word[0] >= '0' && word[0] <= '9' &&
          word.find('.') != std::string::npos)
        out.version = word.substr(0, word.find_first_of("~-+"));
    }
  }

  void leftovers() {
    for (const char* path : kLeftoverPaths)
      if (exists(path)) facts_.paths.insert(path);
    for (const std::string& name : list("/etc/cni/net.d")) facts_.cni_files.push_back(name);
    for (const std::string& name : list("/etc/kubernetes/manifests"))
      if (name.ends_with(".yaml")) facts_.static_manifests.push_back(name);
    facts_.member = exists(places_.settings + "/agent.conf");
    facts_.server = exists(places_.settings + "/server.conf");
    for (const std::string& name : list("/etc/apt/apt.conf.d")) {
      std::string content = lower(text("/etc/apt/apt.conf.d/" + name));
      std::erase_if(content, [](char c) { return c == ' ' || c == '"'; });
      if (content.find("allowunauthenticatedtrue") != std::string::npos)
        facts_.apt_insecure = "/etc/apt/apt.conf.d/" + name;
    }
  }

  os::Disk& disk_;
  MachineProbe& probe_;
  const FactPlaces& places_;
  MachineFacts facts_;
};

}  // namespace

MachineFacts read_machine_facts(os::Disk& disk, MachineProbe& probe, const FactPlaces& places) {
  return Reader(disk, probe, places).read();
}

}  // namespace dure::bootstrap
