// MachineFacts: everything the checks look at, read once. A value; the checks never touch the machine.
//
// `read_machine_facts` takes what files tell from a Disk and the rest from a MachineProbe, so that a test can stand a
// whole machine up in memory. Reading changes nothing that stays and needs no root; without it some facts are missing
// and `root` says so. Cost: some 50 small files and a few programs, half a second at most.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "base/time.h"
#include "kernel/links.h"
#include "os/machine.h"

namespace dure::os {
class Disk;
}

namespace dure::bootstrap {

struct Interface {
  std::string name, kind;  // kind as the kernel names it: "bridge", "veth", "vxlan", "wireguard"; empty: a plain device
  Mac mac;
  int mtu = 1500;
  bool up = true, loopback = false, wireless = false;
  bool physical = false;  // a device stands behind it (a virtual machine's adapter, too)
  bool power_save = false;
  std::vector<IpPrefix> addresses;
};

struct RouteFact {
  IpPrefix destination;  // length 0: the default route
  std::string interface;
  uint32_t metric = 0;
  friend auto operator<=>(const RouteFact&, const RouteFact&) = default;
};

struct Listener {
  std::string protocol;  // "tcp", "udp"
  Ip ip;                 // unspecified: all addresses
  uint16_t port = 0;
};

struct FilterChain {  // a base chain of nftables (iptables-nft's too)
  std::string family, table, name, hook;
  bool drops = false;              // policy drop
  std::vector<std::string> rules;  // as nft prints them
};

struct FirewallFacts {
  std::vector<FilterChain> chains;
  bool ufw = false;                     // enabled
  std::string ufw_input, ufw_forward;   // default policies: "DROP", "REJECT", "ACCEPT"
  std::vector<std::string> ufw_rules;   // "### tuple ### allow tcp 6443 ..." without the prefix
  bool firewalld = false;               // running
  std::string firewalld_zone;           // the default zone, as `firewall-cmd --list-all` prints it
  std::string firewalld_trusted;        // and the zone "trusted"
  bool docker = false;                  // Docker's chains are there
  bool docker_user_accepts = false;     // somebody put an accept into DOCKER-USER
  std::vector<std::string> kube_proxy;  // chains of another Kubernetes' service proxy
  bool legacy_tables = false;           // iptables-legacy has tables loaded
};

struct ResolverFacts {
  std::vector<std::string> nameservers, search;
  std::vector<std::string> upstream;  // nameservers of systemd-resolved's /run/systemd/resolve/resolv.conf
};

struct RuntimeFacts {
  std::string program;  // "containerd", "crio", "docker" (its own containerd); empty: none was found
  std::string version;  // "1.7.24"; empty: unknown
  std::string socket;   // the one that was asked for
  bool socket_exists = false;
  bool cri_disabled = false;  // by containerd's configuration
  bool systemd_cgroup = false;
  bool runc = false, crun = false;
};

enum class CgroupKind { none, v1, hybrid, v2 };

struct MachineFacts {
  bool root = true;
  WallTime now;
  // Kernel
  std::string kernel_release, architecture, command_line;
  std::string command_line_file;   // Raspberry Pi's /boot/firmware/cmdline.txt as text; empty: none
  std::set<std::string> features;  // "overlay" "veth" "bridge" "vxlan" "tun" "wireguard" "nft" "nft_nat" "netns"
  bool wireguard_go = false;       // the program is on the PATH
  std::set<std::string> modules;   // loaded
  CgroupKind cgroups = CgroupKind::v2;
  std::set<std::string> controllers;
  std::map<std::string, std::string> sysctls;         // below /proc/sys; those that the checks look at and that exist
  std::map<std::string, std::string> pinned_sysctls;  // set by files of /etc/sysctl.d and /etc/sysctl.conf
  // Machine
  uint64_t processors = 0, memory_bytes = 0, swap_bytes = 0, open_files_max = 0;
  std::optional<os::FileSystemFacts> data;  // where the data folder lies
  std::string data_type, data_device;       // "ext4", "/dev/mmcblk0p2"
  bool data_rotational = false;
  std::string machine_id, dbus_machine_id;
  std::string virtualization;  // "kvm" "oracle" "vmware" "microsoft" "lxc" "docker" ...; empty: none
  bool container = false;
  bool systemd = true, clock_synchronised = true, hardware_clock = true;
  bool battery = false;       // a laptop
  std::string lid_switch;     // logind's HandleLidSwitch; empty: its default, suspend
  bool sleep_masked = false;  // sleep.target is masked
  bool graphical = false;     // boots into a desktop
  bool selinux_enforcing = false, selinux_container_policy = false;
  bool apparmor = false, apparmor_parser = false;
  std::map<std::string, std::string> environment;  // proxy variables, lower case; this process' and /etc/environment's
  // Network
  std::string hostname;
  bool hostname_resolves = true;
  std::vector<Interface> interfaces;
  std::vector<RouteFact> routes;  // main table, IPv4
  std::vector<Listener> listeners;
  FirewallFacts firewall;
  ResolverFacts resolver;
  RuntimeFacts runtime;
  // Who was here before
  std::set<std::string> processes;            // names of those that belong to a Kubernetes or to DNS
  std::set<std::string> paths;                // leftovers: those of `leftover_paths` that exist
  std::vector<std::string> cni_files;         // in /etc/cni/net.d
  std::vector<std::string> static_manifests;  // in /etc/kubernetes/manifests
  bool member = false;                        // dure was set up here already
  bool server = false;                        // and the control plane is here
  std::string apt_insecure;                   // a file that turns apt's signature checks off; empty: none
};

// What is not in files.
class MachineProbe {
 public:
  virtual ~MachineProbe() = default;
  virtual bool root() = 0;
  virtual WallTime now() = 0;
  virtual bool clock_synchronised() = 0;
  virtual uint64_t processors() = 0;
  virtual uint64_t open_files_max() = 0;
  virtual std::optional<os::FileSystemFacts> file_system(const std::string& path) = 0;  // of the nearest that exists
  virtual bool resolves(const std::string& host) = 0;
  virtual std::vector<kernel::Link> links() = 0;
  virtual std::vector<kernel::LinkAddress> addresses() = 0;
  virtual std::vector<kernel::Route> routes() = 0;
  // Those of MachineFacts::features that work, tried in a throw-away network namespace; nothing without root.
  virtual std::set<std::string> features() = 0;
  virtual std::string environment(const std::string& name) = 0;
  virtual bool has_program(const std::string& name) = 0;
  virtual std::string run(std::vector<std::string> command) = 0;  // what it printed; empty when it failed
};
std::unique_ptr<MachineProbe> open_machine_probe();  // the machine's

struct FactPlaces {
  std::string data = "/var/lib/dure", settings = "/etc/dure";
  std::string runtime_socket = "/run/containerd/containerd.sock";
};
MachineFacts read_machine_facts(os::Disk& disk, MachineProbe& probe, const FactPlaces& places = {});

}  // namespace dure::bootstrap
