#include "pods/runtime_config.h"

#include <fmt/format.h>

#include <array>

#include "base/text.h"
#include "pods/plan.h"
#include "pods/resources.h"

namespace dure::pods {

using kinds::core_v1::Container;
using kinds::core_v1::ContainerPort;
using kinds::core_v1::Pod;
using kinds::core_v1::Sysctl;
namespace v1 = cri::v1;

namespace {

// Values of CRI's enums.
enum NamespaceMode : int64_t { namespace_pod = 0, namespace_container = 1, namespace_node = 2 };
enum Seccomp : int64_t { seccomp_runtime_default = 0, seccomp_unconfined = 1, seccomp_localhost = 2 };

int64_t protocol_number(std::string_view name) { return name == "UDP" ? 1 : name == "SCTP" ? 2 : 0; }

void set_namespaces(v1::NamespaceOption out, const Pod& pod) {
  const auto spec = pod.spec();
  out.set_network(spec.hostNetwork() ? namespace_node : namespace_pod);
  out.set_pid(spec.hostPID() ? namespace_node : spec.shareProcessNamespace() ? namespace_pod : namespace_container);
  out.set_ipc(spec.hostIPC() ? namespace_node : namespace_pod);
}

template <class Profile>
void set_seccomp(v1::SecurityProfile out, const Profile& profile) {
  const std::string_view type = profile.type();
  out.set_profile_type(type == "RuntimeDefault" ? seccomp_runtime_default
                       : type == "Localhost"    ? seccomp_localhost
                                                : seccomp_unconfined);
  if (type == "Localhost") out.set_localhost_ref("/var/lib/kubelet/seccomp/" + std::string(profile.localhostProfile()));
}

bool any_privileged(const Pod& pod) {
  for (Container c : pod.spec().containers())
    if (c.securityContext().privileged()) return true;
  for (Container c : pod.spec().initContainers())
    if (c.securityContext().privileged()) return true;
  return false;
}

template <class Out>
void add_supplemental_groups(Out& out, const Pod& pod) {
  for (int64_t group : pod.spec().securityContext().supplementalGroups()) out.add_supplemental_groups(group);
  if (pod.spec().securityContext().has_fsGroup()) out.add_supplemental_groups(pod.spec().securityContext().fsGroup());
}

void set_sandbox_security(v1::LinuxSandboxSecurityContext out, const Pod& pod) {
  set_namespaces(out.mutable_namespace_options(), pod);
  const auto context = pod.spec().securityContext();
  if (context.has_runAsUser()) out.mutable_run_as_user().set_value(context.runAsUser());
  if (context.has_runAsGroup() && context.has_runAsUser()) out.mutable_run_as_group().set_value(context.runAsGroup());
  add_supplemental_groups(out, pod);
  if (any_privileged(pod)) out.set_privileged(true);
  if (context.has_seccompProfile())
    set_seccomp(out.mutable_seccomp(), context.seccompProfile());
  else
    out.mutable_seccomp().set_profile_type(seccomp_runtime_default);
}

template <class Out>
void set_pod_labels(Out& out, const Pod& pod) {
  out.set_labels(label::pod_name, pod.metadata().name());
  out.set_labels(label::pod_namespace, pod.metadata().namespace_());
  out.set_labels(label::pod_uid, pod.metadata().uid());
}

}  // namespace

std::string pod_log_directory(const Pod& pod, std::string_view root) {
  return fmt::format("{}/{}_{}_{}", root, pod.metadata().namespace_(), pod.metadata().name(), pod.metadata().uid());
}

std::string pod_cgroup(const Pod& pod, std::string_view root) {
  if (root.empty()) return {};
  const std::string_view qos = qos_class(pod);
  const std::string_view middle = qos == "Burstable" ? "/burstable" : qos == "BestEffort" ? "/besteffort" : "";
  return fmt::format("{}{}/pod{}", root, middle, pod.metadata().uid());
}

std::vector<ContainerPort> host_ports(const Pod& pod) {
  std::vector<ContainerPort> out;
  const auto collect = [&](const Container& container) {
    for (ContainerPort port : container.ports())
      if (port.hostPort() > 0) out.push_back(port);
  };
  for (Container container : pod.spec().containers()) collect(container);
  for (Container container : pod.spec().initContainers())
    if (is_sidecar(container)) collect(container);
  return out;
}

schema::Document sandbox_config(const Pod& pod, uint32_t attempt, const SandboxFacts& facts) {
  schema::Document document(v1::PodSandboxConfig::type());
  v1::PodSandboxConfig out(document);
  auto metadata = out.mutable_metadata();
  metadata.set_name(pod.metadata().name());
  metadata.set_uid(pod.metadata().uid());
  metadata.set_namespace(pod.metadata().namespace_());
  metadata.set_attempt(attempt);
  // A sandbox without a UTS namespace of its own must not be given a name.
  if (!pod.spec().hostNetwork()) out.set_hostname(host_name(pod, facts.cluster_dns.domain).name);
  out.set_log_directory(pod_log_directory(pod, facts.pod_log_root));
  const DnsConfig dns = dns_config(pod, facts.cluster_dns, facts.node_dns);
  auto dns_out = out.mutable_dns_config();
  for (const std::string& server : dns.servers) dns_out.add_servers(server);
  for (const std::string& search : dns.searches) dns_out.add_searches(search);
  for (const std::string& option : dns.options) dns_out.add_options(option);
  if (!pod.spec().hostNetwork())
    for (ContainerPort port : host_ports(pod)) {
      auto mapping = out.add_port_mappings();
      mapping.set_protocol(protocol_number(port.protocol()));
      mapping.set_container_port(port.containerPort());
      mapping.set_host_port(port.hostPort());
      if (!port.hostIP().empty()) mapping.set_host_ip(port.hostIP());
    }
  for (const auto& [key, value] : pod.metadata().labels()) out.set_labels(key, value);
  set_pod_labels(out, pod);
  for (const auto& [key, value] : pod.metadata().annotations()) out.set_annotations(key, value);
  auto linux_out = out.mutable_linux();
  if (std::string parent = pod_cgroup(pod, facts.cgroup_root); !parent.empty()) linux_out.set_cgroup_parent(parent);
  set_sandbox_security(linux_out.mutable_security_context(), pod);
  for (Sysctl sysctl : pod.spec().securityContext().sysctls()) linux_out.set_sysctls(sysctl.name(), sysctl.value());
  return document;
}

std::optional<int64_t> run_as_user(const Pod& pod, const Container& container) {
  if (container.securityContext().has_runAsUser()) return container.securityContext().runAsUser();
  if (pod.spec().securityContext().has_runAsUser()) return pod.spec().securityContext().runAsUser();
  return std::nullopt;
}

bool run_as_non_root(const Pod& pod, const Container& container) {
  if (container.securityContext().has_runAsNonRoot()) return container.securityContext().runAsNonRoot();
  return pod.spec().securityContext().runAsNonRoot();
}

namespace {

constexpr std::array masked_paths{"/proc/asound",     "/proc/acpi",        "/proc/interrupts",
                                  "/proc/kcore",      "/proc/keys",        "/proc/latency_stats",
                                  "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
                                  "/proc/scsi",       "/sys/firmware",     "/sys/devices/virtual/powercap"};
constexpr std::array read_only_paths{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};

void set_container_security(v1::LinuxContainerSecurityContext out, const Pod& pod, const Container& container,
                            std::optional<int64_t> image_user) {
  const auto context = container.securityContext();
  set_namespaces(out.mutable_namespace_options(), pod);
  const bool privileged = context.privileged();
  if (privileged) out.set_privileged(true);
  if (context.has_capabilities()) {
    auto capabilities = out.mutable_capabilities();
    for (std::string_view add : context.capabilities().add()) capabilities.add_add_capabilities(add);
    for (std::string_view drop : context.capabilities().drop()) capabilities.add_drop_capabilities(drop);
  }
  const auto pod_context = pod.spec().securityContext();
  auto user = run_as_user(pod, container);
  // Runtimes refuse a group without a user.
  if (!user && (context.has_runAsGroup() || pod_context.has_runAsGroup())) user = image_user.value_or(0);
  if (user) out.mutable_run_as_user().set_value(*user);
  if (context.has_runAsGroup())
    out.mutable_run_as_group().set_value(context.runAsGroup());
  else if (pod_context.has_runAsGroup())
    out.mutable_run_as_group().set_value(pod_context.runAsGroup());
  if (context.readOnlyRootFilesystem()) out.set_readonly_rootfs(true);
  add_supplemental_groups(out, pod);
  if (context.has_allowPrivilegeEscalation() && !context.allowPrivilegeEscalation()) out.set_no_new_privs(true);
  if (!privileged && context.procMount() != "Unmasked") {
    for (const char* path : masked_paths) out.add_masked_paths(path);
    for (const char* path : read_only_paths) out.add_readonly_paths(path);
  }
  if (context.has_seccompProfile())
    set_seccomp(out.mutable_seccomp(), context.seccompProfile());
  else
    set_seccomp(out.mutable_seccomp(), pod_context.seccompProfile());
}

void set_resources(v1::LinuxContainerResources out, const Pod& pod, const Container& container,
                   const ContainerFacts& facts) {
  const LinuxResources resources = linux_resources(pod, container, facts.node_memory, facts.oom_score_adj_min);
  out.set_cpu_shares(resources.cpu_shares);
  if (resources.cpu_quota > 0) {
    out.set_cpu_period(resources.cpu_period);
    out.set_cpu_quota(resources.cpu_quota);
  }
  if (resources.memory_limit > 0) out.set_memory_limit_in_bytes(resources.memory_limit);
  out.set_oom_score_adj(resources.oom_score_adj);
}

void add_mount(v1::ContainerConfig& out, const MountRow& row) {
  auto mount = out.add_mounts();
  mount.set_container_path(row.container_path);
  mount.set_host_path(row.host_path);
  if (row.read_only) mount.set_readonly(true);
  if (row.propagation == "HostToContainer")
    mount.set_propagation(1);
  else if (row.propagation == "Bidirectional")
    mount.set_propagation(2);
}

}  // namespace

schema::Document container_config(const Pod& pod, const Container& container, const ContainerFacts& facts) {
  schema::Document document(v1::ContainerConfig::type());
  v1::ContainerConfig out(document);
  auto metadata = out.mutable_metadata();
  metadata.set_name(container.name());
  metadata.set_attempt(facts.attempt);
  auto image = out.mutable_image();
  image.set_image(facts.image_id.empty() ? container.image() : std::string_view(facts.image_id));
  image.set_user_specified_image(container.image());
  for (std::string_view word : container.command()) out.add_command(expand(word, facts.environment));
  for (std::string_view word : container.args()) out.add_args(expand(word, facts.environment));
  if (!container.workingDir().empty()) out.set_working_dir(container.workingDir());
  for (const auto& [name, value] : facts.environment) {
    auto variable = out.add_envs();
    variable.set_key(name);
    variable.set_value(base64_encode(value));  // bytes rows hold base64
  }
  for (const MountRow& row : facts.mounts) add_mount(out, row);
  set_pod_labels(out, pod);
  out.set_labels(label::container_name, container.name());
  out.set_annotations(annotation::hash, container_hash(container));
  out.set_annotations(annotation::restart_count, std::to_string(facts.attempt));
  out.set_annotations(annotation::termination_message_path, container.terminationMessagePath());
  out.set_annotations(annotation::termination_message_policy, container.terminationMessagePolicy());
  if (pod.spec().has_terminationGracePeriodSeconds())
    out.set_annotations(annotation::pod_grace, std::to_string(pod.spec().terminationGracePeriodSeconds()));
  out.set_log_path(fmt::format("{}/{}.log", container.name(), facts.attempt));
  if (container.stdin()) out.set_stdin(true);
  if (container.stdinOnce()) out.set_stdin_once(true);
  if (container.tty()) out.set_tty(true);
  auto linux_out = out.mutable_linux();
  set_resources(linux_out.mutable_resources(), pod, container, facts);
  set_container_security(linux_out.mutable_security_context(), pod, container, facts.image_user);
  return document;
}

}  // namespace dure::pods
