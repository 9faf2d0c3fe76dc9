// The container runtime.
#include <fmt/format.h>

#include "base/text.h"
#include "bootstrap/checks/checks.h"

namespace dure::bootstrap {
namespace {

using Answer = std::optional<Verdict>;
using Severity = Finding::Severity;

bool has_containerd(const RuntimeFacts& runtime) {
  return runtime.program == "containerd" || runtime.program == "docker";
}

Answer runtime_missing(const MachineFacts& facts, const CheckOptions&) {
  const RuntimeFacts& runtime = facts.runtime;
  if (!runtime.program.empty() || runtime.socket_exists) return {};
  return Verdict{"no container runtime is installed", "apt-get install containerd runc"};
}

Answer runtime_not_running(const MachineFacts& facts, const CheckOptions&) {
  const RuntimeFacts& runtime = facts.runtime;
  if (runtime.program.empty() || runtime.socket_exists) return {};
  const std::string unit = runtime.program == "crio" ? "crio" : "containerd";
  return Verdict{
      fmt::format("{} is installed but nothing listens at {}", runtime.program, runtime.socket),
      facts.systemd ? "systemctl enable --now " + unit + "   (another socket: --cri-socket PATH)" : unit + " &"};
}

Answer runtime_too_old(const MachineFacts& facts, const CheckOptions&) {
  const RuntimeFacts& runtime = facts.runtime;
  const auto parts = split(runtime.version, '.');
  if (!has_containerd(runtime) || parts.size() < 2) return {};
  const auto major = parse_int(parts[0]), minor = parse_int(parts[1]);
  if (!major || !minor || *major > 1 || *minor >= 6) return {};
  return Verdict{fmt::format("containerd {} does not speak CRI v1; 1.6 is the first that does", runtime.version),
                 "upgrade containerd: apt-get install containerd   (or containerd.io from Docker's repository)"};
}

// Docker's packages ship containerd with CRI off.
Answer cri_disabled(const MachineFacts& facts, const CheckOptions&) {
  if (!facts.runtime.cri_disabled) return {};
  return Verdict{"containerd's configuration turns CRI off (disabled_plugins = [\"cri\"]), as Docker's packages do",
                 "sed -i '/disabled_plugins/s/\"cri\"//' /etc/containerd/config.toml; systemctl restart containerd"};
}

Answer runc_missing(const MachineFacts& facts, const CheckOptions&) {
  if (facts.runtime.runc || facts.runtime.crun || facts.runtime.program.empty()) return {};
  return Verdict{"neither runc nor crun is on the PATH; the runtime starts containers with one of them",
                 "apt-get install runc"};
}

Answer cgroup_driver_mismatch(const MachineFacts& facts, const CheckOptions&) {
  if (!facts.runtime.systemd_cgroup || facts.systemd) return {};
  return Verdict{
      "containerd asks systemd for cgroups (SystemdCgroup = true), but systemd does not run here",
      "sed -i 's/SystemdCgroup = true/SystemdCgroup = false/' /etc/containerd/config.toml; restart containerd"};
}

constexpr Check kChecks[] = {
    {"RuntimeMissing", Severity::refuse, false, "something must run containers", runtime_missing},
    {"RuntimeNotRunning", Severity::refuse, false, "the agent talks to it by its socket", runtime_not_running},
    {"RuntimeTooOld", Severity::refuse, false, "CRI v1 is the only version spoken", runtime_too_old},
    {"CriDisabled", Severity::refuse, false, "without CRI only Docker can use containerd", cri_disabled},
    {"RuncMissing", Severity::refuse, false, "containerd alone starts nothing", runc_missing},
    {"CgroupDriverMismatch", Severity::refuse, false, "no container starts", cgroup_driver_mismatch},
};

}  // namespace

std::span<const Check> runtime_checks() { return kChecks; }

}  // namespace dure::bootstrap
