// Size, disk, identity, clock and power of the machine.
#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/text.h"
#include "bootstrap/checks/checks.h"

namespace dure::bootstrap {
namespace {

using Answer = std::optional<Verdict>;
using Severity = Finding::Severity;

constexpr uint64_t mb = 1 << 20;

Answer not_root(const MachineFacts& facts, const CheckOptions&) {
  if (facts.root) return {};
  return Verdict{"not run by root, so the kernel's features and the packet filter could not be looked at",
                 "sudo dure check"};
}

Answer swap_on(const MachineFacts& facts, const CheckOptions&) {
  if (facts.swap_bytes == 0) return {};
  return Verdict{fmt::format("{} MB of swap are on, which is fine: pods with a memory limit do not use it, and nothing "
                             "has to be turned off",
                             facts.swap_bytes / mb),
                 ""};
}

Answer one_processor(const MachineFacts& facts, const CheckOptions&) {
  if (facts.processors != 1) return {};
  return Verdict{"one processor runs the control plane and all pods of this machine",
                 "nothing has to be done; give a virtual machine a second one if pods are slow to start"};
}

Answer memory_small(const MachineFacts& facts, const CheckOptions& options) {
  const uint64_t wanted = options.role == Role::server ? 448 : 256, recommended = wanted + 192;
  if (facts.memory_bytes == 0 || facts.memory_bytes >= recommended * mb) return {};
  return Verdict{fmt::format("{} MB of memory; a {} works with {} MB and needs {} MB at least", facts.memory_bytes / mb,
                             options.role == Role::server ? "server" : "worker", recommended, wanted),
                 "give the machine more memory, or add swap",
                 {},
                 facts.memory_bytes < wanted * mb ? Severity::refuse : Severity::warn};
}

Answer disk_space_low(const MachineFacts& facts, const CheckOptions&) {
  if (!facts.data || facts.data->bytes == 0 || facts.data->bytes_free >= 3000 * mb) return {};
  return Verdict{fmt::format("{} MB are free for images, logs and data below /var/lib", facts.data->bytes_free / mb),
                 "make room: apt-get clean; journalctl --vacuum-size=100M; crictl rmi --prune",
                 {},
                 facts.data->bytes_free < 500 * mb ? Severity::refuse : Severity::warn};
}

Answer inodes_low(const MachineFacts& facts, const CheckOptions&) {
  if (!facts.data || facts.data->inodes == 0 || facts.data->inodes_free * 20 >= facts.data->inodes) return {};
  return Verdict{fmt::format("{} of {} inodes are free below /var/lib", facts.data->inodes_free, facts.data->inodes),
                 "find the folder with too many files: du --inodes -xd3 / | sort -n | tail"};
}

Answer data_read_only(const MachineFacts& facts, const CheckOptions&) {
  if (!facts.data || !facts.data->read_only) return {};
  return Verdict{"/var/lib is read-only", "mount -o remount,rw /   (an SD card that turned read-only is worn out)"};
}

Answer data_on_tmpfs(const MachineFacts& facts, const CheckOptions&) {
  if (facts.data_type != "tmpfs" && facts.data_type != "ramfs") return {};
  return Verdict{"/var/lib lies in memory (" + facts.data_type + ") and is gone after a reboot, with this node's keys",
                 "run from an installed system, or mount a disk at /var/lib"};
}

Answer data_on_network(const MachineFacts& facts, const CheckOptions&) {
  if (!facts.data_type.starts_with("nfs") && facts.data_type != "cifs" && facts.data_type != "9p" &&
      facts.data_type != "vboxsf")
    return {};
  return Verdict{"/var/lib lies on " + facts.data_type + ", where containers' file systems cannot live",
                 "mount a local disk at /var/lib"};
}

Answer data_on_sd_card(const MachineFacts& facts, const CheckOptions&) {
  if (!facts.data_device.starts_with("/dev/mmcblk")) return {};
  return Verdict{"the data lies on an SD card or eMMC (" + facts.data_device +
                     "); dure writes little, databases in pods wear it out",
                 "put volumes of busy pods on a USB disk or SSD"};
}

Answer data_on_spinning_disk(const MachineFacts& facts, const CheckOptions&) {
  if (!facts.data_rotational || facts.data_device.starts_with("/dev/mmcblk")) return {};
  if (!facts.virtualization.empty()) return {};  // virtual disks say so whatever they lie on
  return Verdict{"the data lies on a spinning disk (" + facts.data_device + "); every durable write waits for it",
                 "put /var/lib/dure on an SSD if the cluster feels slow"};
}

Answer machine_id_empty(const MachineFacts& facts, const CheckOptions&) {
  if (facts.machine_id.size() == 32 && facts.machine_id.find_first_not_of('0') != std::string::npos) return {};
  return Verdict{facts.machine_id.empty() ? "/etc/machine-id is empty or missing"
                                          : "/etc/machine-id is no machine id: \"" + facts.machine_id + "\"",
                 "rm -f /etc/machine-id; systemd-machine-id-setup"};
}

Answer machine_id_differs(const MachineFacts& facts, const CheckOptions&) {
  if (facts.dbus_machine_id.empty() || facts.dbus_machine_id == facts.machine_id) return {};
  return Verdict{"/etc/machine-id and /var/lib/dbus/machine-id differ: one was made anew after cloning, the other not",
                 "ln -sf /etc/machine-id /var/lib/dbus/machine-id"};
}

bool is_label(std::string_view text) {
  return !text.empty() && text.size() <= 63 && text.front() != '-' && text.back() != '-' &&
         std::ranges::all_of(text, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; });
}

// What the node is called or would be.
std::string node_name(const MachineFacts& facts, const CheckOptions& options) {
  return lower(options.node_name.empty() ? facts.hostname : options.node_name);
}

Answer hostname_invalid(const MachineFacts& facts, const CheckOptions& options) {
  const std::string name = node_name(facts, options);
  if (name.size() <= 253 && std::ranges::all_of(split(name, '.'), is_label)) return {};
  return Verdict{"the name \"" + name + "\" cannot name a node: letters, digits, '-' and '.' only",
                 "hostnamectl set-hostname NAME   (or --node-name NAME)"};
}

Answer hostname_uppercase(const MachineFacts& facts, const CheckOptions&) {
  if (lower(facts.hostname) == facts.hostname) return {};
  return Verdict{"the host name \"" + facts.hostname + "\" has capitals; the node will be called \"" +
                     lower(facts.hostname) + "\"",
                 "hostnamectl set-hostname " + lower(facts.hostname)};
}

Answer hostname_localhost(const MachineFacts& facts, const CheckOptions& options) {
  const std::string name = node_name(facts, options);
  if (split(name, '.')[0] != "localhost") return {};
  return Verdict{"the name is \"" + name + "\", which every machine calls itself",
                 "hostnamectl set-hostname NAME   (or --node-name NAME)"};
}

Answer hostname_unresolved(const MachineFacts& facts, const CheckOptions&) {
  if (facts.hostname_resolves || facts.hostname.empty()) return {};
  return Verdict{"the host name \"" + facts.hostname + "\" has no address on this machine itself",
                 "echo \"127.0.1.1 " + facts.hostname + "\" >> /etc/hosts"};
}

Answer hostname_of_template(const MachineFacts& facts, const CheckOptions&) {
  constexpr std::array names = {"ubuntu", "debian",  "raspberrypi", "raspberry", "template", "golden", "base",
                                "clone",  "vagrant", "osboxes",     "kali",      "fedora",   "centos", "rocky"};
  const std::string first(split(lower(facts.hostname), '.')[0]);
  if (std::ranges::find(names, first) == names.end()) return {};
  return Verdict{
      "the host name \"" + facts.hostname + "\" is an image's own; a clone of this machine would claim the same node",
      "hostnamectl set-hostname NAME   (after cloning also: rm /etc/machine-id; systemd-machine-id-setup)"};
}

Answer clock_wrong(const MachineFacts& facts, const CheckOptions&) {
  const WallTime earliest = *parse_time("2026-01-01T00:00:00Z"), latest = *parse_time("2056-01-01T00:00:00Z");
  if (facts.now >= earliest && facts.now < latest) return {};
  return Verdict{"the clock says " + format_time(facts.now) + "; no certificate is valid at that time",
                 "timedatectl set-ntp true   (without a network: date -s \"2026-11-27 12:00\")"};
}

Answer clock_unsynchronised(const MachineFacts& facts, const CheckOptions&) {
  if (facts.clock_synchronised || facts.container) return {};
  return Verdict{"no time service keeps the clock right; certificates and tokens fail when it is minutes off",
                 "timedatectl set-ntp true   (or: apt-get install systemd-timesyncd)"};
}

Answer no_hardware_clock(const MachineFacts& facts, const CheckOptions&) {
  if (facts.hardware_clock || facts.clock_synchronised || facts.container) return {};
  return Verdict{"there is no hardware clock: after a power loss the time is wrong until the network is up",
                 "apt-get install systemd-timesyncd fake-hwclock   (Raspberry Pi 5: add the battery)"};
}

Answer lid_sleeps(const MachineFacts& facts, const CheckOptions&) {
  if (!facts.battery || facts.lid_switch == "ignore" || facts.sleep_masked || !facts.systemd) return {};
  return Verdict{"this laptop sleeps when its lid is closed, and its pods with it",
                 "mkdir -p /etc/systemd/logind.conf.d; printf '[Login]\\nHandleLidSwitch=ignore\\n' > "
                 "/etc/systemd/logind.conf.d/dure.conf; systemctl restart systemd-logind"};
}

Answer desktop_sleeps(const MachineFacts& facts, const CheckOptions&) {
  if (!facts.graphical || facts.sleep_masked || !facts.systemd) return {};
  return Verdict{"this machine boots into a desktop, which suspends it when nobody is there",
                 "systemctl mask sleep.target suspend.target hibernate.target hybrid-sleep.target"};
}

Answer systemd_absent(const MachineFacts& facts, const CheckOptions&) {
  if (facts.systemd) return {};
  return Verdict{"there is no systemd; dure runs in the foreground and something else must start it at boot",
                 "dure server & dure agent"};
}

Answer inside_container(const MachineFacts& facts, const CheckOptions&) {
  if (!facts.container) return {};
  return Verdict{
      "this is a " + facts.virtualization + " container; pods need its privileges (nesting, /dev/net/tun, cgroups)",
      "run dure on the machine itself or in a virtual machine"};
}

Answer selinux_enforcing(const MachineFacts& facts, const CheckOptions&) {
  if (!facts.selinux_enforcing || facts.selinux_container_policy) return {};
  return Verdict{"SELinux is enforcing and has no policy for containers", "dnf install container-selinux"};
}

Answer apparmor_without_parser(const MachineFacts& facts, const CheckOptions&) {
  if (!facts.apparmor || facts.apparmor_parser) return {};
  return Verdict{"AppArmor is on but apparmor_parser is missing, so containers run without their profile",
                 "apt-get install apparmor"};
}

constexpr Check kChecks[] = {
    {"NotRoot", Severity::warn, false, "half of the checks need to try things", not_root},
    {"SwapOn", Severity::note, false, "other guides turn it off; dure does not need that", swap_on},
    {"OneProcessor", Severity::note, true, "kubeadm refuses it, dure does not", one_processor},
    {"MemorySmall", Severity::refuse, false, "a node that runs out of memory takes its pods down", memory_small},
    {"DiskSpaceLow", Severity::refuse, false, "images fill disks", disk_space_low},
    {"InodesLow", Severity::warn, false, "images have many small files", inodes_low},
    {"DataReadOnly", Severity::refuse, false, "keys, images and logs must be written", data_read_only},
    {"DataOnTmpfs", Severity::warn, false, "identity must survive a reboot", data_on_tmpfs},
    {"DataOnNetwork", Severity::refuse, false, "overlayfs does not work above network file systems", data_on_network},
    {"DataOnSdCard", Severity::note, false, "SD cards wear out by writes", data_on_sd_card},
    {"DataOnSpinningDisk", Severity::note, true, "the store syncs every write", data_on_spinning_disk},
    {"MachineIdEmpty", Severity::refuse, false, "a node is told apart by it", machine_id_empty},
    {"MachineIdDiffers", Severity::note, false, "a half-renewed clone confuses programs", machine_id_differs},
    {"HostnameInvalid", Severity::refuse, false, "a node is named after its host", hostname_invalid},
    {"HostnameUppercase", Severity::note, false, "Kubernetes names are lower case", hostname_uppercase},
    {"HostnameLocalhost", Severity::refuse, false, "two nodes cannot have one name", hostname_localhost},
    {"HostnameUnresolved", Severity::warn, false, "sudo and many programs wait for it", hostname_unresolved},
    {"HostnameOfTemplate", Severity::note, false, "clones of an image keep its name", hostname_of_template},
    {"ClockWrong", Severity::refuse, false, "certificates are valid from a date on", clock_wrong},
    {"ClockUnsynchronised", Severity::warn, false, "clocks drift apart by seconds a day", clock_unsynchronised},
    {"NoHardwareClock", Severity::note, false, "the clock starts in the past after a power loss", no_hardware_clock},
    {"LidSleeps", Severity::warn, false, "a sleeping node is gone", lid_sleeps},
    {"DesktopSleeps", Severity::warn, false, "desktops suspend after a while", desktop_sleeps},
    {"SystemdAbsent", Severity::note, false, "it starts dure at boot", systemd_absent},
    {"InsideContainer", Severity::warn, false, "containers hide what pods need", inside_container},
    {"SelinuxEnforcing", Severity::warn, false, "containers are denied their own files", selinux_enforcing},
    {"AppArmorWithoutParser", Severity::note, false, "profiles are not applied", apparmor_without_parser},
};

}  // namespace

std::span<const Check> machine_checks() { return kChecks; }

}  // namespace dure::bootstrap
