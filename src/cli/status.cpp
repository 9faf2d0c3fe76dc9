#include "cli/status.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "client/object_meta.h"
#include "kinds/views/apps_v1.h"
#include "kinds/views/coordination_v1.h"
#include "kinds/views/core_v1.h"
#include "kinds/views/discovery_v1.h"
#include "schema/json.h"
#include "schema/plain.h"

namespace dure::cli {
namespace {

namespace core = kinds::core_v1;
using schema::Object;

constexpr Duration kOnItsWay = 10s;  // starting, pulling or ending takes a moment

template <class Conditions>
auto condition_of(const Conditions& conditions, std::string_view type) {
  for (const auto& one : conditions)
    if (one.type() == type) return std::optional(one);
  return std::optional<std::decay_t<decltype(*conditions.begin())>>();
}

class Explainer {
 public:
  explicit Explainer(const ClusterView& view) : view_(view) {}

  std::vector<StatusLine> run() {
    for (const Object& node : view_.nodes) explain_node(core::Node(node));
    for (const Object& claim : view_.claims) explain_claim(core::PersistentVolumeClaim(claim));
    for (const Object& pod : view_.pods) explain_pod(core::Pod(pod));
    for (const Object& one : view_.deployments) explain_deployment(kinds::apps_v1::Deployment(one));
    for (const Object& one : view_.daemon_sets) explain_daemon_set(kinds::apps_v1::DaemonSet(one));
    for (const Object& service : view_.services) explain_service(core::Service(service));
    return std::move(lines_);
  }

 private:
  void add(std::string kind, std::string name, std::string state, std::string why, std::string code) {
    std::ranges::replace(why, '\n', ' ');
    lines_.push_back({std::move(kind), std::move(name), std::move(state), std::move(why), std::move(code)});
  }

  static std::string name_of(const auto& object) {
    const std::string name(object.metadata().name()), ns(object.metadata().namespace_());
    return ns.empty() ? name : ns + "/" + name;
  }

  std::optional<Duration> since(std::string_view time) const {
    const auto then = parse_time(time);
    return then ? std::optional(view_.now - *then) : std::nullopt;
  }
  bool is_new(const auto& object) const {
    const auto age = since(object.metadata().creationTimestamp());
    return age && *age < kOnItsWay;
  }

  // --- Nodes

  void explain_node(const core::Node& node) {
    const std::string name = name_of(node);
    for (const char* type : {"MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable"})
      if (const auto one = condition_of(node.status().conditions(), type); one && one->status() == "True")
        add("node", name, type, std::string(one->message()), std::string("Node") + type);
    const auto ready = condition_of(node.status().conditions(), "Ready");
    if (ready && ready->status() == "True") return;
    if (!ready)
      return add("node", name, "NotReady", "its agent never told how it is" + reached(name), "NodeNeverReady");
    const bool silent = ready->status() == "Unknown";
    std::string why = silent ? "its agent is silent" : std::string(ready->message());
    if (why.empty()) why = std::string(ready->reason());
    add("node", name, "NotReady", why + heard(name) + reached(name), silent ? "NodeSilent" : "NodeNotReady");
  }

  std::string heard(const std::string& node) const {
    for (const Object& one : view_.leases) {
      const kinds::coordination_v1::Lease lease(one);
      if (lease.metadata().name() != node || lease.metadata().namespace_() != "kube-node-lease") continue;
      if (const auto age = since(lease.spec().renewTime()))
        return fmt::format("; last heard of {} ago", human_duration(std::max(*age, Duration::zero())));
    }
    return {};
  }

  std::string reached(const std::string& node) const {
    const auto found = view_.answers.find(node);
    if (found == view_.answers.end()) return {};
    return found->second ? "; its tunnel is connected" : "; its tunnel is not connected";
  }

  bool is_ready(std::string_view name) const {
    return std::ranges::any_of(view_.nodes,
                               [&](const Object& one) { return client::name_of(one) == name && is_node_ready(one); });
  }

  // --- Claims

  void explain_claim(const core::PersistentVolumeClaim& claim) {
    if (claim.status().phase() == "Bound" || is_new(claim)) return;
    const std::string wanted(claim.spec().storageClassName());
    std::string why = warning_of("PersistentVolumeClaim", claim.metadata().uid());
    if (why.empty())
      why = wanted.empty() ? "no PersistentVolume fits and no StorageClass is named"
                           : fmt::format("no PersistentVolume of StorageClass {} fits", wanted);
    add("claim", name_of(claim), "Unbound", why, "ClaimUnbound");
  }

  bool is_unbound(std::string_view ns, std::string_view name) const {
    for (const Object& one : view_.claims)
      if (client::name_of(one) == name && client::namespace_of(one) == ns)
        return core::PersistentVolumeClaim(one).status().phase() != "Bound";
    return true;
  }

  // --- Pods

  // The newest warning about an object.
  std::string warning_of(std::string_view kind, std::string_view uid) const {
    std::string best;
    std::string_view newest;
    for (const Object& one : view_.warnings) {
      const core::Event event(one);
      if (event.involvedObject().kind() != kind || event.involvedObject().uid() != uid) continue;
      const std::string_view when = event.lastTimestamp().empty() ? event.eventTime() : event.lastTimestamp();
      if (!best.empty() && when < newest) continue;
      newest = when;
      best = fmt::format("{}: {}", event.reason(), event.message());
    }
    return best;
  }

  void explain_pod(const core::Pod& pod) {
    const std::string_view phase = pod.status().phase();
    if (!pod.metadata().deletionTimestamp().empty()) return explain_ending(pod);
    if (phase == "Succeeded" || is_new(pod)) return;
    if (phase == "Failed") return explain_failed(pod);
    if (pod.spec().nodeName().empty()) return explain_unscheduled(pod);
    for (const auto& one : pod.status().initContainerStatuses())
      if (explain_container(pod, one, !is_sidecar(pod, one.name()))) return;
    for (const auto& one : pod.status().containerStatuses())
      if (explain_container(pod, one, false)) return;
    if (phase == "Running") return explain_unready(pod);
    explain_starting(pod);
  }

  // An init container that is meant to go on running.
  static bool is_sidecar(const core::Pod& pod, std::string_view name) {
    for (const auto& one : pod.spec().initContainers())
      if (one.name() == name) return one.restartPolicy() == "Always";
    return false;
  }

  void explain_ending(const core::Pod& pod) {
    const auto over = since(pod.metadata().deletionTimestamp());
    if (!over || *over < kOnItsWay) return;
    const std::string node(pod.spec().nodeName());
    std::string why = "its containers have not ended";
    if (!node.empty() && !is_ready(node))
      why = fmt::format("its node {} is not there to end it", node);
    else if (!pod.metadata().finalizers().empty())
      why = fmt::format("the finalizer {} is not done", pod.metadata().finalizers().front());
    add("pod", name_of(pod), "Terminating", fmt::format("{}, {} after its time", why, human_duration(*over)),
        "PodStuck");
  }

  void explain_failed(const core::Pod& pod) {
    std::string why(pod.status().message());
    for (const auto& one : pod.status().containerStatuses())
      if (why.empty() && one.state().has_terminated() && one.state().terminated().exitCode() != 0)
        why = ended(pod, one.name(), one.state().terminated(), false);
    if (why.empty()) why = std::string(pod.status().reason());
    add("pod", name_of(pod), "Failed", why.empty() ? "it ended and does not say why" : why, "PodFailed");
  }

  void explain_unscheduled(const core::Pod& pod) {
    for (const auto& volume : pod.spec().volumes())
      if (volume.has_persistentVolumeClaim() &&
          is_unbound(pod.metadata().namespace_(), volume.persistentVolumeClaim().claimName()))
        return add("pod", name_of(pod), "Pending",
                   fmt::format("its claim {} has no volume", volume.persistentVolumeClaim().claimName()),
                   "PodVolumeUnbound");
    const auto scheduled = condition_of(pod.status().conditions(), "PodScheduled");
    if (scheduled && scheduled->reason() == "SchedulingGated")
      return add("pod", name_of(pod), "Pending", "it has scheduling gates that nobody removed", "PodGated");
    if (scheduled && !scheduled->message().empty())
      return add("pod", name_of(pod), "Pending", std::string(scheduled->message()), "PodUnschedulable");
    add("pod", name_of(pod), "Pending", "no scheduler has looked at it", "PodUnseen");
  }

  std::string ended(const core::Pod& pod, std::string_view container, const core::ContainerStateTerminated& last,
                    bool previous) const {
    std::string why = fmt::format("container {} ended with {}", container, last.exitCode());
    if (!last.reason().empty() && last.reason() != "Error" && last.reason() != "Completed")
      why += fmt::format(" ({})", last.reason());
    return why + fmt::format("; kubectl logs -n {} {} -c {}{}", pod.metadata().namespace_(), pod.metadata().name(),
                             container, previous ? " --previous" : "");
  }

  // Whether this container is what holds the pod up.
  bool explain_container(const core::Pod& pod, const core::ContainerStatus& status, bool init) {
    const std::string name = name_of(pod), reason(status.state().waiting().reason());
    const auto last = status.lastState().terminated();
    if (reason == "CrashLoopBackOff" ||
        (!reason.empty() && reason != "PodInitializing" && reason != "ContainerCreating")) {
      if (reason == "CrashLoopBackOff")
        add("pod", name, reason,
            fmt::format("{} times: {}", status.restartCount(), ended(pod, status.name(), last, true)), "PodCrashes");
      else if (reason.find("Image") != std::string::npos)
        add("pod", name, reason, fmt::format("image {}: {}", status.image(), status.state().waiting().message()),
            "PodImage");
      else
        add("pod", name, reason, fmt::format("container {}: {}", status.name(), status.state().waiting().message()),
            "PodNotStarted");
      return true;
    }
    if (init && status.state().has_running()) {
      const auto age = since(status.state().running().startedAt());
      if (age && *age > 60s)
        return add("pod", name, "Init",
                   fmt::format("init container {} runs for {}", status.name(), human_duration(*age)),
                   "PodInitializing"),
               true;
    }
    return false;
  }

  void explain_unready(const core::Pod& pod) {
    const auto ready = condition_of(pod.status().conditions(), "Ready");
    if (!ready || ready->status() == "True") return;
    const auto age = since(ready->lastTransitionTime());
    if (age && *age < kOnItsWay) return;
    const std::string node(pod.spec().nodeName());
    std::string why = warning_of("Pod", pod.metadata().uid());
    if (!is_ready(node)) why = fmt::format("its node {} is NotReady", node);
    if (why.empty()) why = std::string(ready->message());
    add("pod", name_of(pod), "NotReady", why.empty() ? "its readiness probe has not succeeded" : why, "PodNotReady");
  }

  void explain_starting(const core::Pod& pod) {
    const std::string node(pod.spec().nodeName());
    std::string why = warning_of("Pod", pod.metadata().uid());
    std::string code = why.empty() ? "PodNotStarted" : "PodWarned";
    if (!is_ready(node)) {
      why = fmt::format("its node {} is NotReady", node);
      code = "PodNodeNotReady";
    }
    add("pod", name_of(pod), "Pending", why.empty() ? fmt::format("node {} has not started it yet", node) : why, code);
  }

  // --- Workloads

  void explain_deployment(const kinds::apps_v1::Deployment& one) {
    const int64_t wanted = one.spec().has_replicas() ? one.spec().replicas() : 1, ready = one.status().readyReplicas();
    if (ready >= wanted || is_new(one)) return;
    std::string why = "see its pods";
    if (const auto failure = condition_of(one.status().conditions(), "ReplicaFailure");
        failure && failure->status() == "True")
      why = std::string(failure->message());
    else if (one.spec().paused())
      why = "it is paused";
    else if (one.status().observedGeneration() < one.metadata().generation())
      why = "no controller has looked at it";
    add("deployment", name_of(one), fmt::format("{}/{}", ready, wanted), why, "ReplicasMissing");
  }

  void explain_daemon_set(const kinds::apps_v1::DaemonSet& one) {
    const int64_t wanted = one.status().desiredNumberScheduled(), ready = one.status().numberReady();
    if (ready >= wanted || is_new(one)) return;
    add("daemonset", name_of(one), fmt::format("{}/{}", ready, wanted), "see its pods", "ReplicasMissing");
  }

  // --- Services

  size_t ready_endpoints(const core::Service& service) const {
    size_t count = 0;
    for (const Object& one : view_.endpoint_slices) {
      if (client::namespace_of(one) != service.metadata().namespace_() ||
          client::label(one, "kubernetes.io/service-name") != service.metadata().name())
        continue;
      for (const auto& endpoint : kinds::discovery_v1::EndpointSlice(one).endpoints())
        if (!endpoint.conditions().has_ready() || endpoint.conditions().ready()) ++count;
    }
    return count;
  }

  void explain_service(const core::Service& service) {
    if (service.spec().type() == "ExternalName" || service.spec().selector().empty() || is_new(service)) return;
    if (ready_endpoints(service) > 0) return;
    size_t chosen = 0;
    for (const Object& pod : view_.pods) {
      if (client::namespace_of(pod) != service.metadata().namespace_()) continue;
      bool matches = true;
      for (const auto& [key, value] : service.spec().selector()) matches = matches && client::label(pod, key) == value;
      chosen += matches;
    }
    std::string selector;
    for (const auto& [key, value] : service.spec().selector())
      selector += fmt::format("{}{}={}", selector.empty() ? "" : ",", key, value);
    add("service", name_of(service), "NoEndpoints",
        chosen == 0 ? fmt::format("no pod has the labels {}", selector)
                    : fmt::format("{} pods have the labels {} and none is ready", chosen, selector),
        chosen == 0 ? "ServiceSelectsNothing" : "ServiceNoneReady");
  }

  const ClusterView& view_;
  std::vector<StatusLine> lines_;
};

}  // namespace

bool is_node_ready(const Object& node) {
  for (const auto& one : core::Node(node).status().conditions())
    if (one.type() == "Ready") return one.status() == "True";
  return false;
}

std::vector<StatusLine> explain(const ClusterView& view) { return Explainer(view).run(); }

std::string status_text(const ClusterView& view, const std::vector<StatusLine>& lines) {
  if (lines.empty())
    return fmt::format("all is well: {} nodes Ready, {} pods, {} Services\n", view.nodes.size(), view.pods.size(),
                       view.services.size());
  size_t name = 4, state = 5;
  for (const StatusLine& line : lines) {
    name = std::max(name, line.name.size());
    state = std::max(state, line.state.size());
  }
  std::string out = fmt::format("{:<10}  {:<{}}  {:<{}}  {}\n", "KIND", "NAME", name, "STATE", state, "WHY");
  for (const StatusLine& line : lines)
    out += fmt::format("{:<10}  {:<{}}  {:<{}}  {} [{}]\n", line.kind, line.name, name, line.state, state, line.why,
                       line.code);
  return out;
}

std::string status_json(const std::vector<StatusLine>& lines) {
  schema::Document out;
  schema::Node* list = schema::add_list(out, out.root(), "lines");
  for (const StatusLine& line : lines)
    schema::add_row(
        out, list,
        {{"kind", line.kind}, {"name", line.name}, {"state", line.state}, {"why", line.why}, {"code", line.code}});
  return schema::to_json(out);
}

}  // namespace dure::cli
