#include "pods/status.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "pods/resources.h"
#include "schema/json.h"

namespace dure::pods {

using kinds::core_v1::Container;
using kinds::core_v1::ContainerStateTerminated;
using kinds::core_v1::ContainerStatus;
using kinds::core_v1::Pod;
using kinds::core_v1::PodCondition;
using kinds::core_v1::PodReadinessGate;
using kinds::core_v1::PodStatus;
using Running = pods::ContainerState;

namespace {

constexpr std::array own_conditions{"PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady",
                                    "PodScheduled"};

// Works out one pod's status.
class Writer {
 public:
  Writer(const Pod& pod, const RuntimePod& runtime, const PodMemory& memory, const Plan& plan, WallTime now,
         const StatusFacts& facts)
      : pod_(pod),
        runtime_(runtime),
        memory_(memory),
        plan_(plan),
        now_(now),
        facts_(facts),
        old_(pod.status()),
        document_(PodStatus::type()),
        out_(document_) {}

  schema::Document run() {
    if (memory_.rejected_reason) return rejected();
    initialized_ = initialized(pod_, runtime_, memory_);
    const bool has_init = pod_.spec().initContainers().size() > 0;
    for (Container c : pod_.spec().initContainers())
      container(c, out_.add_initContainerStatuses(), true, "PodInitializing");
    std::vector<Container> sorted;
    for (Container c : pod_.spec().containers()) sorted.push_back(c);
    std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.name() < b.name(); });
    for (const Container& c : sorted)
      container(c, out_.add_containerStatuses(), false, has_init ? "PodInitializing" : "ContainerCreating");
    out_.set_phase(is_terminal(old_.phase()) ? old_.phase() : phase());
    addresses();
    conditions();
    finish();
    return std::move(document_);
  }

 private:
  schema::Document rejected() {
    out_.set_phase("Failed");
    out_.set_reason(*memory_.rejected_reason);
    out_.set_message(memory_.rejected_message.value_or(""));
    finish();
    return std::move(document_);
  }

  void finish() {
    out_.set_startTime(old_.startTime().empty() ? format_time(memory_.first_seen) : std::string(old_.startTime()));
    out_.set_qosClass(qos_class(pod_));
    if (pod_.metadata().generation() > 0) out_.set_observedGeneration(pod_.metadata().generation());
    if (!old_.nominatedNodeName().empty()) out_.set_nominatedNodeName(old_.nominatedNodeName());
    if (out_.reason().empty() && !old_.reason().empty()) out_.set_reason(old_.reason());
    if (out_.message().empty() && !old_.message().empty()) out_.set_message(old_.message());
  }

  const ContainerMemory* memory_of(std::string_view name) const {
    auto found = memory_.containers.find(std::string(name));
    return found == memory_.containers.end() ? nullptr : &found->second;
  }

  ContainerStatus old_status(std::string_view name, bool init) const {
    for (ContainerStatus s : init ? old_.initContainerStatuses() : old_.containerStatuses())
      if (s.name() == name) return s;
    return {};
  }

  std::string container_id(const RuntimeContainer& c) const { return facts_.runtime_name + "://" + c.id; }

  void set_terminated(ContainerStateTerminated out, const RuntimeContainer& c) {
    out.set_exitCode(c.state == Running::exited ? c.exit_code : 137);
    std::string reason = c.reason;
    if (reason.empty())
      reason = c.state != Running::exited ? "ContainerStatusUnknown" : c.exit_code == 0 ? "Completed" : "Error";
    out.set_reason(reason);
    if (!c.message.empty()) out.set_message(c.message);
    if (c.started_at.nanoseconds > 0)
      out.set_startedAt(format_time(c.started_at));
    else
      out.set_startedAt(format_time(c.created_at));
    out.set_finishedAt(format_time(c.finished_at.nanoseconds > 0 ? c.finished_at : c.created_at));
    out.set_containerID(container_id(c));
  }

  void set_waiting(kinds::core_v1::ContainerState out, std::string_view reason, std::string_view message) {
    auto waiting = out.mutable_waiting();
    waiting.set_reason(reason);
    if (!message.empty()) waiting.set_message(message);
  }

  void set_lost(ContainerStatus out) {
    auto terminated = out.mutable_state().mutable_terminated();
    terminated.set_exitCode(137);
    terminated.set_reason("ContainerStatusUnknown");
    terminated.set_message("The container could not be located when the pod was terminated");
  }

  // Why the container is about to run again, or cannot yet; null when there is nothing to say.
  const Waiting* waiting_of(std::string_view name) const {
    if (auto held = plan_.backoffs.find(std::string(name)); held != plan_.backoffs.end()) return &held->second;
    const ContainerMemory* memory = memory_of(name);
    return memory && memory->waiting ? &*memory->waiting : nullptr;
  }

  void container(const Container& spec, ContainerStatus out, bool init, std::string_view default_reason) {
    out.set_name(spec.name());
    const RuntimeContainer* newest = runtime_.newest(spec.name());
    const RuntimeContainer* last = runtime_.previous(spec.name());
    const ContainerStatus old = old_status(spec.name(), init);
    out.mutable_lastState();
    out.set_restartCount(newest ? std::max<int64_t>(newest->attempt, 0) : old.restartCount());
    out.set_image(newest && !newest->image.empty() && !newest->image.starts_with("sha256:")
                      ? std::string_view(newest->image)
                      : spec.image());
    out.set_imageID(newest ? std::string_view(newest->image_id) : std::string_view());
    bool ready = false, started = false;
    const Waiting* waiting = waiting_of(spec.name());
    const bool has_ended = newest && newest->state == Running::exited;
    // Nobody waits for what will not be started again, whatever its last start ran into.
    if (has_ended && !starts_again(pod_, spec, init, *newest, memory_)) waiting = nullptr;
    if (newest && newest->state == Running::running) {
      out.mutable_state().mutable_running().set_startedAt(format_time(newest->started_at));
      started = has_started(spec, *newest);
      ready = started && (!init || is_sidecar(spec)) && is_ready(spec, *newest);
    } else if (facts_.ended && !has_ended && (newest || (!init && initialized_))) {
      set_lost(out);
    } else if (waiting && !facts_.ended) {
      set_waiting(out.mutable_state(), waiting->reason, waiting->message);
      if (has_ended) last = newest;
    } else if (newest && newest->state != Running::created) {
      set_terminated(out.mutable_state().mutable_terminated(), *newest);
      ready = init && !is_sidecar(spec) && newest->exit_code == 0;
    } else {
      set_waiting(out.mutable_state(), default_reason, "");
    }
    if (newest) out.set_containerID(container_id(*newest));
    if (last)
      set_terminated(out.mutable_lastState().mutable_terminated(), *last);
    else if (newest && newest->attempt > 0 && old.lastState().has_terminated())
      document_.copy(out.mutable_lastState().mutable_node(), old.lastState().node());
    out.set_ready(ready);
    out.set_started(started);
  }

  bool has_started(const Container& spec, const RuntimeContainer& c) const {
    if (!spec.has_startupProbe()) return true;
    const ContainerMemory* memory = memory_of(spec.name());
    return memory && memory->probed_id == c.id && memory->started;
  }

  bool is_ready(const Container& spec, const RuntimeContainer& c) const {
    if (!spec.has_readinessProbe()) return true;
    const ContainerMemory* memory = memory_of(spec.name());
    return memory && memory->probed_id == c.id && memory->ready.value_or(false);
  }

  std::string_view phase() const {
    int pending_init = 0, failed_init = 0;
    for (Container c : pod_.spec().initContainers()) {
      const RuntimeContainer* newest = runtime_.newest(c.name());
      if (is_sidecar(c)) {
        if (!newest || (newest->state != Running::running && newest->state != Running::exited) ||
            (newest->state == Running::running && !has_started(c, *newest)))
          ++pending_init;
      } else if (newest && newest->state == Running::exited && newest->exit_code == 0) {
        continue;
      } else if (newest && newest->state == Running::exited && newest->exit_code != 0) {
        pod_.spec().restartPolicy() == "Never" ? ++failed_init : ++pending_init;
      } else {
        ++pending_init;
      }
    }
    int running = 0, waiting = 0, stopped = 0, succeeded = 0;
    for (ContainerStatus s : out_.containerStatuses()) {
      if (s.state().has_running())
        ++running;
      else if (s.state().has_terminated()) {
        ++stopped;
        if (s.state().terminated().exitCode() == 0) ++succeeded;
      } else if (s.lastState().has_terminated()) {
        ++stopped;
      } else {
        ++waiting;
      }
    }
    if (facts_.ended)
      return failed_init == 0 && stopped == succeeded && waiting == 0 && stopped > 0 ? "Succeeded" : "Failed";
    if (failed_init > 0) return "Failed";
    if ((pending_init > 0 && !initialized_) || waiting > 0) return "Pending";
    if (running > 0) return "Running";
    if (stopped == 0) return "Pending";
    const std::string_view policy = pod_.spec().restartPolicy();
    if (policy == "Never" || policy == "OnFailure") {
      if (stopped == succeeded) return "Succeeded";
      if (policy == "Never") return "Failed";
    }
    return "Running";
  }

  void addresses() {
    if (!facts_.node_ips.empty()) out_.set_hostIP(facts_.node_ips.front());
    for (const std::string& ip : facts_.node_ips) out_.add_hostIPs().set_ip(ip);
    std::vector<std::string> ips = pod_ips(pod_, runtime_, facts_.node_ips);
    if (ips.empty() && !runtime_.sandboxes.empty()) ips = runtime_.sandboxes.front().ips;
    if (ips.empty() && is_terminal(out_.phase()) && !old_.podIP().empty()) ips.emplace_back(old_.podIP());
    if (ips.empty()) return;
    out_.set_podIP(ips.front());
    for (const std::string& ip : ips) out_.add_podIPs().set_ip(ip);
  }

  PodCondition old_condition(std::string_view type) const {
    for (PodCondition c : old_.conditions())
      if (c.type() == type) return c;
    return {};
  }

  void condition(std::string_view type, bool met, std::string_view reason = {}, std::string_view message = {}) {
    const std::string_view status = met ? "True" : "False";
    const PodCondition old = old_condition(type);
    auto out = out_.add_conditions();
    out.set_type(type);
    out.set_status(status);
    if (pod_.metadata().generation() > 0) out.set_observedGeneration(pod_.metadata().generation());
    if (!reason.empty()) out.set_reason(reason);
    if (!message.empty()) out.set_message(message);
    schema::Document& document = document_;
    document.set_null(document.member(out.mutable_node(), "lastProbeTime"));
    const bool same = !old.empty() && old.status() == status && !old.lastTransitionTime().empty();
    out.set_lastTransitionTime(same ? std::string(old.lastTransitionTime()) : format_time(now_));
  }

  void conditions() {
    const std::string phase(out_.phase());
    condition("PodReadyToStartContainers", runtime_.ready_sandbox() != nullptr);
    initialized_condition(phase);
    const std::string unready = names_not_ready();
    const bool ended_well = phase == "Succeeded", ended_badly = phase == "Failed";
    const std::string_view reason = ended_well        ? "PodCompleted"
                                    : ended_badly     ? "PodFailed"
                                    : unready.empty() ? ""
                                                      : "ContainersNotReady";
    const std::string message =
        reason == "ContainersNotReady" ? fmt::format("containers with unready status: [{}]", unready) : std::string();
    const bool containers_ready = reason.empty();
    const std::string gate = containers_ready ? open_gate() : std::string();
    if (gate.empty())
      condition("Ready", containers_ready, reason, message);
    else
      condition("Ready", false, "ReadinessGatesNotReady", gate);
    condition("ContainersReady", containers_ready, reason, message);
    condition("PodScheduled", true);
    for (PodCondition c : old_.conditions())
      if (std::find(own_conditions.begin(), own_conditions.end(), c.type()) == own_conditions.end())
        document_.copy(out_.add_conditions().mutable_node(), c.node());
  }

  void initialized_condition(std::string_view phase) {
    if (phase == "Succeeded") return condition("Initialized", true, "PodCompleted");
    std::string names;
    if (!initialized_)
      for (ContainerStatus s : out_.initContainerStatuses())
        if (!s.ready()) names += (names.empty() ? "" : " ") + std::string(s.name());
    if (names.empty()) return condition("Initialized", true);
    condition("Initialized", false, "ContainersNotInitialized",
              fmt::format("containers with incomplete status: [{}]", names));
  }

  // Sidecars count as well.
  std::string names_not_ready() const {
    std::string names;
    const auto add = [&](std::string_view name) { names += (names.empty() ? "" : " ") + std::string(name); };
    for (Container c : pod_.spec().initContainers()) {
      if (!is_sidecar(c)) continue;
      for (ContainerStatus s : out_.initContainerStatuses())
        if (s.name() == c.name() && !s.ready()) add(s.name());
    }
    for (Container c : pod_.spec().containers())
      for (ContainerStatus s : out_.containerStatuses())
        if (s.name() == c.name() && !s.ready()) add(s.name());
    return names;
  }

  std::string open_gate() const {
    for (PodReadinessGate gate : pod_.spec().readinessGates()) {
      const PodCondition found = old_condition(gate.conditionType());
      if (found.empty())
        return fmt::format("corresponding condition of pod readiness gate \"{}\" does not exist.",
                           gate.conditionType());
      if (found.status() != "True")
        return fmt::format("the status of pod readiness gate \"{}\" is not \"True\", but {}", gate.conditionType(),
                           found.status());
    }
    return {};
  }

  const Pod& pod_;
  const RuntimePod& runtime_;
  const PodMemory& memory_;
  const Plan& plan_;
  const WallTime now_;
  const StatusFacts& facts_;
  const PodStatus old_;
  schema::Document document_;
  PodStatus out_;
  bool initialized_ = false;
};

}  // namespace

schema::Document pod_status(const Pod& pod, const RuntimePod& runtime, const PodMemory& memory, const Plan& plan,
                            WallTime now, const StatusFacts& facts) {
  return Writer(pod, runtime, memory, plan, now, facts).run();
}

bool is_terminal(std::string_view phase) { return phase == "Succeeded" || phase == "Failed"; }

std::vector<std::string> pod_ips(const Pod& pod, const RuntimePod& runtime, const std::vector<std::string>& node_ips) {
  const RuntimeSandbox* sandbox = runtime.ready_sandbox();
  if (pod.spec().hostNetwork()) return sandbox ? node_ips : std::vector<std::string>{};
  return sandbox ? sandbox->ips : std::vector<std::string>{};
}

std::string status_patch(const Pod& pod, const schema::Document& after) {
  schema::Document patch;
  schema::Node* status = nullptr;
  const schema::Node* before = pod.status().node();
  const auto member = [&](std::string_view key) {
    if (!status) {
      status = patch.member(patch.root(), "status");
      patch.make_object(status);
    }
    return patch.member(status, key);
  };
  for (const schema::Node* field = after.root()->first(); field; field = field->next()) {
    const schema::Node* old = before ? before->find(field->key()) : nullptr;
    if (!old || !schema::equal(old, field)) patch.copy(member(field->key()), field);
  }
  for (const schema::Node* old = before ? before->first() : nullptr; old; old = old->next()) {
    // Fields other writers own stay; the kubelet's own lists that became empty go.
    if (after.root()->find(old->key()) || old->key() == "resourceClaimStatuses" || old->key() == "resize" ||
        old->key() == "extendedResourceClaimStatus" || old->key() == "ephemeralContainerStatuses")
      continue;
    patch.set_null(member(old->key()));
  }
  if (!status) return {};
  schema::Node* metadata = patch.member(patch.root(), "metadata");
  patch.make_object(metadata);
  patch.set(patch.member(metadata, "uid"), pod.metadata().uid());
  patch.set(patch.member(metadata, "resourceVersion"), pod.metadata().resourceVersion());
  return schema::to_json(patch);
}

}  // namespace dure::pods
