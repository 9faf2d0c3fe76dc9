// What another Kubernetes left behind, or still runs.
#include <algorithm>

#include <fmt/format.h>

#include "base/text.h"
#include "bootstrap/checks/checks.h"

namespace dure::bootstrap {
namespace {

using Answer = std::optional<Verdict>;
using Severity = Finding::Severity;

bool has_link(const MachineFacts& facts, std::string_view prefix) {
  return std::ranges::any_of(facts.interfaces, [&](const Interface& one) { return one.name.starts_with(prefix); });
}

std::optional<std::string> first_of(const std::set<std::string>& seen, std::initializer_list<const char*> wanted) {
  for (const char* one : wanted)
    if (seen.contains(one)) return one;
  return std::nullopt;
}

Answer other_kubernetes_runs(const MachineFacts& facts, const CheckOptions&) {
  const auto which = first_of(facts.processes, {"kubelet", "k3s-server", "k3s-agent", "k3s", "k0s", "kubelite",
                                                "kube-apiserver", "kube-proxy", "rke2"});
  if (!which) return {};
  return Verdict{fmt::format("another Kubernetes runs on this machine ({})", *which),
                 which->starts_with("k3s")   ? "k3s-killall.sh; systemctl disable --now k3s k3s-agent"
                 : which->starts_with("k0s") ? "k0s stop; k0s reset"
                 : *which == "kubelite"      ? "snap remove microk8s"
                                             : "systemctl disable --now kubelet; kubeadm reset"};
}

Answer k3s_left(const MachineFacts& facts, const CheckOptions&) {
  const auto path = first_of(facts.paths, {"/var/lib/rancher/k3s", "/etc/rancher/k3s", "/usr/local/bin/k3s"});
  if (!path) return {};
  return Verdict{"k3s was here (" + *path + ")", "k3s-uninstall.sh   (a worker: k3s-agent-uninstall.sh)"};
}

Answer kubeadm_left(const MachineFacts& facts, const CheckOptions&) {
  std::optional<std::string> what;
  if (!facts.static_manifests.empty()) what = "/etc/kubernetes/manifests/" + facts.static_manifests.front();
  if (!what && !facts.member)
    what = first_of(facts.paths, {"/etc/kubernetes/kubelet.conf", "/etc/kubernetes/admin.conf", "/var/lib/etcd/member",
                                  "/var/lib/kubelet/config.yaml"});
  if (!what) return {};
  return Verdict{"kubeadm was here (" + *what + ")", "kubeadm reset -f   (without kubeadm: rm -r " + *what + ")"};
}

Answer k0s_or_microk8s_left(const MachineFacts& facts, const CheckOptions&) {
  const auto path = first_of(facts.paths, {"/var/lib/k0s", "/var/snap/microk8s"});
  if (!path) return {};
  const bool k0s = *path == "/var/lib/k0s";
  return Verdict{fmt::format("{} was here ({})", k0s ? "k0s" : "MicroK8s", *path),
                 k0s ? "k0s reset" : "snap remove --purge microk8s"};
}

// With --network none the third party's files are what is wanted.
Answer foreign_cni(const MachineFacts& facts, const CheckOptions& options) {
  if (options.network == "none") return {};
  std::vector<std::string> foreign;
  for (const std::string& file : facts.cni_files)
    if (file != "10-dure.conflist" &&
        (file.ends_with(".conf") || file.ends_with(".conflist") || file.ends_with(".json")))
      foreign.push_back(file);
  if (foreign.empty()) return {};
  const bool first = std::ranges::min(foreign) < "10-dure.conflist";
  return Verdict{
      first ? fmt::format("/etc/cni/net.d/{} comes before dure's file by name, and the runtime takes the first",
                          std::ranges::min(foreign))
            : fmt::format("/etc/cni/net.d also holds {}; the runtime takes dure's file, which comes first",
                          join(foreign, ", ")),
      fmt::format("mv /etc/cni/net.d/{} /root/   (or keep that network: dure init --network none)",
                  std::ranges::min(foreign)),
      {},
      first ? Severity::refuse : Severity::note};
}

Answer flannel_left(const MachineFacts& facts, const CheckOptions& options) {
  if (facts.member || options.network == "none") return {};
  const bool link = has_link(facts, "flannel");
  if (!link && !facts.paths.contains("/run/flannel/subnet.env")) return {};
  return Verdict{link ? "Flannel's device is still here" : "Flannel was here (/run/flannel/subnet.env)",
                 "ip link del flannel.1; rm -rf /run/flannel"};
}

Answer calico_left(const MachineFacts& facts, const CheckOptions& options) {
  if (options.network == "none") return {};
  const bool link = has_link(facts, "cali") || has_link(facts, "vxlan.calico") || has_link(facts, "wireguard.cali");
  if (!link && !facts.paths.contains("/var/lib/calico")) return {};
  return Verdict{
      link ? "Calico's devices are still here" : "Calico was here (/var/lib/calico)",
      "modprobe -r ipip; ip -br link | awk '/^cali|calico/{print $1}' | cut -d@ -f1 | xargs -n1 ip link del; rm -rf "
      "/var/lib/calico"};
}

Answer cilium_left(const MachineFacts& facts, const CheckOptions& options) {
  if (options.network == "none" || (!has_link(facts, "cilium_") && !facts.paths.contains("/sys/fs/bpf/cilium")))
    return {};
  return Verdict{"Cilium's devices or BPF programs are still here",
                 "ip link del cilium_host; rm -rf /sys/fs/bpf/cilium; reboot"};
}

Answer weave_left(const MachineFacts& facts, const CheckOptions& options) {
  if (options.network == "none" || !has_link(facts, "weave")) return {};
  return Verdict{"Weave Net's bridge is still here", "ip link del weave"};
}

Answer foreign_bridge(const MachineFacts& facts, const CheckOptions&) {
  if (facts.member || !has_link(facts, "cni0")) return {};
  return Verdict{"a bridge cni0 of another cluster is still here; pods would get addresses it does not route",
                 "ip link del cni0"};
}

Answer kube_proxy_left(const MachineFacts& facts, const CheckOptions&) {
  const bool ipvs = has_link(facts, "kube-ipvs0");
  if (!ipvs && facts.firewall.kube_proxy.empty()) return {};
  return Verdict{ipvs ? "kube-proxy's device kube-ipvs0 is still here and owns addresses of Services"
                      : fmt::format("kube-proxy's rules are still here ({})", facts.firewall.kube_proxy.front()),
                 ipvs ? "ip link del kube-ipvs0; ipvsadm -C"
                      : "iptables-save | grep -v KUBE | iptables-restore   (or reboot: they are not saved)"};
}

// A copy of the administrator's kubeconfig on a worker is the cluster in the hands of whoever takes the worker.
Answer admin_conf_on_worker(const MachineFacts& facts, const CheckOptions&) {
  if (!facts.member || facts.server) return {};
  const auto path = first_of(facts.paths, {"/etc/kubernetes/admin.conf", "/root/.kube/config"});
  if (!path) return {};
  return Verdict{
      "this worker holds a kubeconfig (" + *path + "); if it is the administrator's, the worker can do everything",
      "rm " + *path + "   (use kubectl from the server or your own machine)"};
}

Answer apt_insecure(const MachineFacts& facts, const CheckOptions&) {
  if (facts.apt_insecure.empty()) return {};
  return Verdict{facts.apt_insecure + " lets apt install packages that nobody signed", "rm " + facts.apt_insecure};
}

constexpr Check kChecks[] = {
    {"OtherKubernetesRuns", Severity::refuse, false, "two agents would fight over pods and ports",
     other_kubernetes_runs},
    {"K3sLeft", Severity::warn, false, "its units start again at boot", k3s_left},
    {"KubeadmLeft", Severity::warn, false, "its files lie where ours go", kubeadm_left},
    {"OtherDistributionLeft", Severity::warn, false, "its services start again at boot", k0s_or_microk8s_left},
    {"ForeignCni", Severity::refuse, false, "pods would join another network", foreign_cni},
    {"FlannelLeft", Severity::warn, false, "its routes catch packets of pods", flannel_left},
    {"CalicoLeft", Severity::warn, false, "its rules and routes catch packets of pods", calico_left},
    {"CiliumLeft", Severity::warn, false, "its BPF programs drop packets of others", cilium_left},
    {"WeaveLeft", Severity::warn, false, "its range is 10.32.0.0/12", weave_left},
    {"ForeignBridge", Severity::warn, false, "it has the name of ours", foreign_bridge},
    {"KubeProxyLeft", Severity::warn, false, "it still redirects Services of the old cluster", kube_proxy_left},
    {"AdminConfOnWorker", Severity::note, false, "no worker needs it", admin_conf_on_worker},
    {"AptInsecure", Severity::warn, false, "a guide's shortcut stays for ever", apt_insecure},
};

}  // namespace

std::span<const Check> leftover_checks() { return kChecks; }

}  // namespace dure::bootstrap
