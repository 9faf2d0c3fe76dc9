#include "bootstrap/join_verdicts.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/text.h"

namespace dure::bootstrap {
namespace {

using Severity = Finding::Severity;
constexpr std::string_view new_machine_id =
    "rm -f /etc/machine-id /var/lib/dbus/machine-id && systemd-machine-id-setup";

std::string heard(const Member& member) {
  return member.silent_for < member_alive_for ? "is a member now"
                                              : fmt::format("was last heard {} ago", human_duration(member.silent_for));
}

bool shares_a_mac(const Fingerprint& a, const Fingerprint& b) {
  return std::ranges::any_of(a.macs,
                             [&](const std::string& mac) { return std::ranges::find(b.macs, mac) != b.macs.end(); });
}

class Verdicts {
 public:
  Verdicts(const Newcomer& newcomer, const ClusterView& cluster) : newcomer_(newcomer), cluster_(cluster) {}

  std::vector<Finding> all() {
    for (const Member& member : cluster_.members)
      if (member.node == newcomer_.node_name)
        judge_name(member);
      else
        judge_twin(member);
    if (newcomer_.machine.id.empty())
      warn("NoMachineId", "this machine has no /etc/machine-id, so that clones of it cannot be told from it",
           "systemd-machine-id-setup");
    judge_ranges();
    if (auto clock = clock_verdict(newcomer_.now, cluster_.now)) findings_.push_back(std::move(*clock));
    if (!newcomer_.kernel_missing.empty())
      refuse("KernelLacks",
             fmt::format("this kernel lacks what a node needs: {}", join(newcomer_.kernel_missing, ", ")),
             "a kernel with these, such as the distribution's own: apt-get install linux-image-amd64 (or -arm64)");
    judge_version();
    return std::move(findings_);
  }

 private:
  void refuse(std::string code, std::string sentence, std::string fix) {
    findings_.push_back({std::move(code), Severity::refuse, std::move(sentence), std::move(fix)});
  }
  void warn(std::string code, std::string sentence, std::string fix) {
    findings_.push_back({std::move(code), Severity::warn, std::move(sentence), std::move(fix)});
  }

  // The same machine may come back to its own name once its former self is silent.
  void judge_name(const Member& member) {
    const bool is_itself = !member.machine.id.empty() && member.machine.id == newcomer_.machine.id;
    const bool alive = member.silent_for < member_alive_for;
    if (is_itself && alive)
      return refuse(
          "NodeNameTaken",
          fmt::format("a machine with this machine-id is a member as \"{}\" now: this one is a clone of it, or "
                      "was reset a moment ago",
                      member.node),
          fmt::format("a clone: {}, and hostnamectl set-hostname ANOTHER; a machine that was reset: kubectl "
                      "delete node {}",
                      new_machine_id, member.node));
    if (alive || (!is_itself && member.machine != Fingerprint{}))
      refuse("NodeNameTaken", fmt::format("another machine is the member \"{}\" ({})", member.node, heard(member)),
             fmt::format("--node-name ANOTHER; or, when that machine is gone for good: kubectl delete node {}",
                         member.node));
  }

  // One finding for each likeness, since each has a fix of its own.
  void judge_twin(const Member& member) {
    const Fingerprint &ours = newcomer_.machine, &theirs = member.machine;
    const std::string gone =
        member.silent_for < member_alive_for
            ? std::string()
            : fmt::format("; or, when \"{0}\" is gone for good: kubectl delete node {0}", member.node);
    if (!ours.id.empty() && ours.id == theirs.id)
      refuse("SameMachineId",
             fmt::format("this machine has the machine-id of the member \"{}\" ({}): one is a clone of the other",
                         member.node, heard(member)),
             std::string(new_machine_id) + gone);
    if (!ours.uuid.empty() && ours.uuid == theirs.uuid)
      refuse("SameProductUuid",
             fmt::format("this machine has the hardware UUID of the member \"{}\" ({}): a copied virtual machine",
                         member.node, heard(member)),
             "give the virtual machine a new UUID (VirtualBox: VBoxManage modifyvm NAME --hardware-uuid RANDOM-UUID; "
             "VMware: "
             "answer \"I copied it\")" +
                 gone);
    if (shares_a_mac(ours, theirs))
      refuse("SameMac",
             fmt::format("this machine has a MAC address of the member \"{}\" ({}): the two take each other's packets",
                         member.node, heard(member)),
             "give the network card of the copy a new MAC address in the virtual machine's settings" + gone);
    if (!newcomer_.wireguard_key.empty() && newcomer_.wireguard_key == member.wireguard_key)
      refuse(
          "SameWireguardKey",
          fmt::format("this machine has the WireGuard key of the member \"{}\" ({}): it was copied with its data, and "
                      "packets for one would go to the other",
                      member.node, heard(member)),
          "dure reset, which removes the copied key, then this line again");
    if (!ours.host.empty() && ours.host == theirs.host)
      warn("SameHostName", fmt::format("this machine has the host name of the member \"{}\"", member.node),
           "hostnamectl set-hostname ANOTHER");
  }

  void judge_ranges() {
    const struct {
      std::string_view whom, flag;
      const std::string& text;
    } rows[] = {{"pods", "--pod-network-cidr", cluster_.pod_cidr},
                {"services", "--service-cidr", cluster_.service_cidr},
                {"nodes", "--node-network-cidr", cluster_.node_cidr}};
    for (const auto& row : rows)
      if (const auto range = IpPrefix::parse(row.text)) judge_range(row.whom, row.flag, *range);
  }

  void judge_range(std::string_view whom, std::string_view flag, const IpPrefix& range) {
    for (const Clash kind : {Clash::collision, Clash::shadow})
      for (const MachineNetwork& network : newcomer_.networks) {
        if (clash(range, network) != kind) continue;
        if (kind == Clash::collision)
          return refuse(
              "RangeCollides",
              fmt::format("the cluster's range for {} {} collides with {} of this machine ({})", whom, range.text(),
                          network.range.text(), network.what),
              fmt::format("give that network another range; or make the cluster anew with {} RANGE, such as one "
                          "that dure init picks on this machine",
                          flag));
        return warn(
            "RangeShadows",
            fmt::format("the cluster's range for {} {} lies inside {} of this machine ({}): what is there at those "
                        "addresses will be out of its reach",
                        whom, range.text(), network.range.text(), network.what),
            fmt::format("nothing, when nobody needs those addresses; else make the cluster anew with {} RANGE", flag));
      }
  }

  // Kubernetes' rule for nodes: not newer than the server, at most three minors older.
  void judge_version() {
    const auto minor = [](std::string_view version) -> std::optional<int64_t> {
      const auto parts = split(version, '.');
      return parts.size() >= 2 && parts[0] == "v1" ? parse_int(parts[1]) : std::nullopt;
    };
    const auto ours = minor(newcomer_.version), servers = minor(cluster_.version);
    if (!ours || !servers || (*ours <= *servers && *servers - *ours <= 3)) return;
    refuse(
        "VersionSkew",
        fmt::format("this machine's dure is {}, the server's is {}: a node may be up to three versions older, not {}",
                    newcomer_.version, cluster_.version, *ours > *servers ? "newer" : "more"),
        *ours > *servers ? "upgrade the server first, or install the server's version here"
                         : "install the server's version here");
  }

  const Newcomer& newcomer_;
  const ClusterView& cluster_;
  std::vector<Finding> findings_;
};

}  // namespace

std::vector<Finding> join_verdicts(const Newcomer& newcomer, const ClusterView& cluster) {
  return Verdicts(newcomer, cluster).all();
}

std::optional<Finding> clock_verdict(WallTime own, WallTime server) {
  const Duration off = own > server ? own - server : server - own;
  if (off <= clock_off_max) return std::nullopt;
  return Finding{"ClockOff", Severity::refuse,
                 fmt::format("this machine's clock says {} and the server's {}: it is {} {}", format_time(own),
                             format_time(server), human_duration(off), own > server ? "ahead" : "behind"),
                 "timedatectl set-ntp true (or set the clock that is wrong: date -s)"};
}

}  // namespace dure::bootstrap
