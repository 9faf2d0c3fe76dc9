#include "pods/pod_worker.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "client/object_meta.h"
#include "cri/views/cri_v1.h"
#include "pods/admission.h"
#include "pods/runtime_config.h"
#include "pods/status.h"

namespace dure::pods {

using client::Key;
using client::Outcome;
using kinds::core_v1::Container;
namespace v1 = cri::v1;

namespace {

constexpr int rounds_max = 6;             // plan and act again within one reconcile
constexpr int64_t orphan_grace_max = 30;  // seconds for containers of a pod that the API forgot

void sooner(std::optional<Duration>& when, std::optional<Duration> other) {
  if (other && (!when || *other < *when)) when = other;
}

bool gone(const Error& error) { return error.is("NotFound") || error.code == 404; }

}  // namespace

PodWorker::PodWorker(PodsParts& parts, const PodsOptions& options, Memories& memories, RuntimeState& state,
                     ContainerStarter& starter, ContainerStopper& stopper, ImagePuller& puller, Prober& prober,
                     client::Cache& pods)
    : parts_(parts),
      options_(options),
      memories_(memories),
      state_(state),
      starter_(starter),
      stopper_(stopper),
      puller_(puller),
      prober_(prober),
      pods_(pods) {}

Outcome PodWorker::reconcile(const Key& key) {
  if (!state_.refreshed_once()) return Outcome::after(200ms);
  const schema::Object object = pods_.get(key);
  const std::string uid(object ? client::uid_of(object) : std::string_view());
  Outcome outcome = Outcome::done();
  for (const RuntimePodPtr& runtime : state_.of_name(key))
    if (runtime->uid != uid) {
      Outcome other = retire(*runtime);
      if (other.error || other.again_after) outcome = std::move(other);
    }
  if (!object) return outcome;
  Outcome own = client::is_terminating(object) || is_terminal(Pod(object).status().phase()) || !admit(object)
                    ? wind_down(object)
                    : keep_up(object);
  if (!own.error) sooner(own.again_after, outcome.again_after);
  return own;
}

// The first sight of a pod that has not run anywhere yet decides; one that runs was let in before.
bool PodWorker::admit(const schema::Object& object) {
  const Pod pod(object);
  const std::string uid(pod.metadata().uid());
  const bool known = memories_.with(uid, [&](PodMemory& memory) {
    if (memory.first_seen.nanoseconds != 0) return true;
    memory.first_seen = parts_.executor.wall_now();
    return false;
  });
  if (known) return !memories_.snapshot(uid).rejected_reason;
  if (!pod.status().startTime().empty() || !state_.of_uid(uid)->sandboxes.empty()) return true;
  std::vector<schema::Object> others;
  for (const schema::Object& other : pods_.list()) {
    const Pod view(other);
    const bool rejected = memories_.snapshot(std::string(view.metadata().uid())).rejected_reason.has_value();
    // Of two that came at the same time the one that was seen first stays.
    const bool seen = memories_.contains(std::string(view.metadata().uid())) || !view.status().startTime().empty();
    if (view.metadata().uid() != uid && !is_terminal(view.status().phase()) && seen && !rejected)
      others.push_back(other);
  }
  std::optional<Refusal> refusal = refuse(pod, others, options_.node, options_.pods_max);
  if (!refusal) return true;
  memories_.with(uid, [&](PodMemory& memory) {
    memory.rejected_reason = refusal->reason;
    memory.rejected_message = refusal->message;
  });
  parts_.events.warning(about_pod(object), refusal->reason, refusal->message);
  return false;
}

Outcome PodWorker::keep_up(const schema::Object& object) {
  const Pod pod(object);
  const std::string uid(pod.metadata().uid());
  RuntimePodPtr runtime = state_.of_uid(uid);
  Plan next;
  std::optional<Duration> again;
  for (int round = 0; round < rounds_max; ++round) {
    next = plan(pod, *runtime, memories_.snapshot(uid), parts_.executor.wall_now());
    if (next.nothing()) break;
    if (round == 0) {  // act on fresh facts only
      auto fresh = state_.refresh_pod(uid);
      if (!fresh) return Outcome::failed(std::move(fresh).error());
      runtime = *fresh;
      next = plan(pod, *runtime, memories_.snapshot(uid), parts_.executor.wall_now());
    }
    const Applied applied = apply(object, *runtime, next);
    sooner(again, applied.again_after);
    if (!applied.changed) break;
    auto fresh = state_.refresh_pod(uid);
    if (!fresh) return Outcome::failed(std::move(fresh).error());
    runtime = *fresh;
  }
  sooner(again, next.look_again);
  prober_.update(object, *runtime);
  if (parts_.volumes.follow && runtime->any_running()) parts_.volumes.follow(object);
  next = plan(pod, *runtime, memories_.snapshot(uid), parts_.executor.wall_now());
  if (Status written = write_status(object, *runtime, next, false); !written)
    return Outcome::failed(std::move(written).error());
  for (const auto& [name, waiting] : next.backoffs) tell_backoff(object, *runtime, name);
  collect_garbage(*runtime);
  Outcome outcome;
  outcome.again_after = again;
  return outcome;
}

PodWorker::Applied PodWorker::apply(const schema::Object& object, const RuntimePod& runtime, const Plan& plan) {
  const Pod pod(object);
  const std::string uid(pod.metadata().uid());
  Applied out;
  if (plan.stop_everything) {
    const int64_t grace =
        pod.spec().has_terminationGracePeriodSeconds() ? pod.spec().terminationGracePeriodSeconds() : 30;
    if (!stop_containers(object, runtime, grace)) out.changed = stop_sandboxes(runtime, true).has_value();
    return out;
  }
  if (plan.create_sandbox) return make_sandbox(object, runtime, plan.sandbox_attempt);
  for (const KillContainer& kill : plan.kills) {
    const RuntimeContainer* container = runtime.by_id(kill.id);
    if (!container) continue;
    if (pod.spec().restartPolicy() != "Never" || is_sidecar(find_container(pod, kill.name)))
      memories_.with(uid, [&](PodMemory& memory) { memory.containers[kill.name].restart_id = kill.id; });
    int64_t grace = pod.spec().has_terminationGracePeriodSeconds() ? pod.spec().terminationGracePeriodSeconds() : 30;
    const Container spec = find_container(pod, kill.name);
    const auto probe = kill.reason == "startup" ? spec.startupProbe() : spec.livenessProbe();
    if (kill.reason != "changed" && probe.has_terminationGracePeriodSeconds())
      grace = probe.terminationGracePeriodSeconds();
    stopper_.stop(object, runtime, *container, grace, kill.message);
  }
  for (const StartContainer& start : plan.starts) {
    const ContainerStarter::Answer answer = starter_.start(object, runtime, start);
    out.changed = out.changed || answer.changed;
    sooner(out.again_after, answer.again_after);
  }
  return out;
}

PodWorker::Applied PodWorker::make_sandbox(const schema::Object& object, const RuntimePod& runtime, uint32_t attempt) {
  const std::string uid(client::uid_of(object));
  if (attempt > 0 && !runtime.sandboxes.empty())
    parts_.events.normal(about_pod(object), "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.");
  Status made = starter_.create_sandbox(object, runtime, attempt);
  const Duration wait = sandbox_backoff(uid, !made.has_value());
  if (made) return {true, std::nullopt};
  log(LogLevel::warn, "pods", "create sandbox",
      {{"pod", client::key_of(object).text()}, {"error", made.error().message}});
  return {false, wait};
}

// 1 s doubling to 1 min; forgotten with the first success.
Duration PodWorker::sandbox_backoff(const std::string& uid, bool failed) {
  return memories_.with(uid, [&](PodMemory& memory) {
    if (!failed)
      memory.sandbox_backoff = Duration::zero();
    else if (memory.sandbox_backoff == Duration::zero())
      memory.sandbox_backoff = 1s;
    else
      memory.sandbox_backoff = std::min<Duration>(memory.sandbox_backoff * 2, 60s);
    return memory.sandbox_backoff;
  });
}

bool PodWorker::stop_containers(const schema::Object& object, const RuntimePod& runtime, int64_t grace) {
  std::vector<const RuntimeContainer*> main, sidecars;
  for (const RuntimeContainer& c : runtime.containers) {
    if (c.state != ContainerState::running && c.state != ContainerState::unknown) continue;
    const bool sidecar = object && is_sidecar(find_container(Pod(object), c.name));
    (sidecar ? sidecars : main).push_back(&c);
  }
  // Sidecars outlive the containers they serve; the last one declared goes first, which is also the newest.
  if (main.empty() && sidecars.size() > 1) sidecars.resize(1);
  const auto& now = main.empty() ? sidecars : main;
  for (const RuntimeContainer* c : now) stopper_.stop(object, runtime, *c, grace, "");
  return !now.empty();
}

Status PodWorker::stop_sandboxes(const RuntimePod& runtime, bool ready_only) {
  for (const RuntimeSandbox& sandbox : runtime.sandboxes) {
    if (ready_only && !sandbox.ready) continue;
    schema::Document request(v1::StopPodSandboxRequest::type());
    v1::StopPodSandboxRequest(request).set_pod_sandbox_id(sandbox.id);
    if (auto answer = parts_.runtime.call("StopPodSandbox", request); !answer && !gone(answer.error()))
      return fail(std::move(answer).error());
  }
  return {};
}

Status PodWorker::remove_everything(const RuntimePod& runtime) {
  DURE_CHECK(stop_sandboxes(runtime, false));
  for (const RuntimeContainer& c : runtime.containers) {
    schema::Document request(v1::RemoveContainerRequest::type());
    v1::RemoveContainerRequest(request).set_container_id(c.id);
    if (auto answer = parts_.runtime.call("RemoveContainer", request); !answer && !gone(answer.error()))
      return fail(std::move(answer).error());
  }
  for (const RuntimeSandbox& s : runtime.sandboxes) {
    schema::Document request(v1::RemovePodSandboxRequest::type());
    v1::RemovePodSandboxRequest(request).set_pod_sandbox_id(s.id);
    if (auto answer = parts_.runtime.call("RemovePodSandbox", request); !answer && !gone(answer.error()))
      return fail(std::move(answer).error());
  }
  return {};
}

Status PodWorker::remove_files(const std::string& uid, const std::string& log_directory) {
  DURE_CHECK(parts_.volumes.unmount(uid));
  DURE_CHECK(parts_.remove_tree(starter_.pod_folder(uid)));
  if (!log_directory.empty()) DURE_CHECK(parts_.remove_tree(log_directory));
  return {};
}

Outcome PodWorker::wind_down(const schema::Object& object) {
  const Pod pod(object);
  const std::string uid(pod.metadata().uid());
  const bool deleting = client::is_terminating(object);
  if (!deleting && memories_.snapshot(uid).finished) return Outcome::done();
  auto fresh = state_.refresh_pod(uid);
  if (!fresh) return Outcome::failed(std::move(fresh).error());
  const RuntimePod& runtime = **fresh;
  int64_t grace = 30;
  if (deleting && pod.metadata().has_deletionGracePeriodSeconds())
    grace = pod.metadata().deletionGracePeriodSeconds();
  else if (pod.spec().has_terminationGracePeriodSeconds())
    grace = pod.spec().terminationGracePeriodSeconds();
  if (stop_containers(object, runtime, grace)) {
    prober_.update(object, runtime);
    const Plan none;
    if (Status written = write_status(object, runtime, none, false); !written)
      return Outcome::failed(std::move(written).error());
    return Outcome::done();  // the end of each stop wakes this key
  }
  prober_.remove(uid);
  puller_.forget(uid);
  if (Status stopped = stop_sandboxes(runtime, false); !stopped) return Outcome::failed(std::move(stopped).error());
  if (!runtime.containers.empty() || memories_.snapshot(uid).rejected_reason || deleting) {
    RuntimePod still = runtime;
    for (RuntimeSandbox& sandbox : still.sandboxes) sandbox.ready = false;
    if (Status written = write_status(object, still, Plan{}, true); !written)
      return Outcome::failed(std::move(written).error());
  }
  if (Status unmounted = parts_.volumes.unmount(uid); !unmounted) return Outcome::failed(std::move(unmounted).error());
  memories_.with(uid, [](PodMemory& memory) { memory.finished = true; });
  if (!deleting) return Outcome::done();  // its containers stay for their logs
  if (Status removed = remove_everything(runtime); !removed) return Outcome::failed(std::move(removed).error());
  if (Status removed = remove_files(uid, pod_log_directory(pod, options_.pod_log_root)); !removed)
    return Outcome::failed(std::move(removed).error());
  client::DeleteOptions options;
  options.grace_period_seconds = 0;
  options.precondition_uid = uid;
  if (Status deleted = parts_.client.remove(kinds::core_v1::pods, client::key_of(object), options);
      !deleted && deleted.error().code != 404 && deleted.error().code != 409)
    return Outcome::failed(std::move(deleted).error());
  (void)state_.refresh_pod(uid);
  return Outcome::done();
}

// Once per container that ended.
void PodWorker::tell_backoff(const schema::Object& object, const RuntimePod& runtime, const std::string& name) {
  const Pod pod(object);
  const RuntimeContainer* ended = runtime.newest(name);
  const bool told = !ended || memories_.with(std::string(pod.metadata().uid()), [&](PodMemory& memory) {
    return std::exchange(memory.containers[name].backoff_told, ended->id) == ended->id;
  });
  if (told) return;
  parts_.events.warning(about_container(object, name), "BackOff",
                        fmt::format("Back-off restarting failed container {} in pod {}_{}({})", name,
                                    pod.metadata().name(), pod.metadata().namespace_(), pod.metadata().uid()));
}

// What runs without a pod in the API.
Outcome PodWorker::retire(const RuntimePod& runtime) {
  prober_.remove(runtime.uid);
  puller_.forget(runtime.uid);
  auto fresh = state_.refresh_pod(runtime.uid);
  if (!fresh) return Outcome::failed(std::move(fresh).error());
  const RuntimePod& now = **fresh;
  if (now.sandboxes.empty() && now.containers.empty()) return Outcome::done();
  if (stop_containers(nullptr, now, std::min(now.grace_seconds, orphan_grace_max))) return Outcome::done();
  if (Status removed = remove_everything(now); !removed) return Outcome::failed(std::move(removed).error());
  const std::string logs = fmt::format("{}/{}_{}_{}", options_.pod_log_root, now.namespace_, now.name, now.uid);
  if (Status removed = remove_files(now.uid, logs); !removed) return Outcome::failed(std::move(removed).error());
  memories_.erase(now.uid);
  (void)state_.refresh_pod(runtime.uid);
  return Outcome::done();
}

// Keeps the newest container of each name and one that ended before it.
bool PodWorker::collect_garbage(const RuntimePod& runtime) {
  std::map<std::string, int> seen;
  bool removed = false;
  std::map<std::string, int> in_sandbox;
  for (const RuntimeContainer& c : runtime.containers) {
    const int place = seen[c.name]++;
    if (place >= 2 && (c.state == ContainerState::exited || c.state == ContainerState::created)) {
      schema::Document request(v1::RemoveContainerRequest::type());
      v1::RemoveContainerRequest(request).set_container_id(c.id);
      removed = parts_.runtime.call("RemoveContainer", request).has_value() || removed;
    } else {
      ++in_sandbox[c.sandbox_id];
    }
  }
  for (size_t i = 1; i < runtime.sandboxes.size(); ++i) {
    const RuntimeSandbox& s = runtime.sandboxes[i];
    if (s.ready || in_sandbox.contains(s.id)) continue;
    schema::Document request(v1::RemovePodSandboxRequest::type());
    v1::RemovePodSandboxRequest(request).set_pod_sandbox_id(s.id);
    removed = parts_.runtime.call("RemovePodSandbox", request).has_value() || removed;
  }
  return removed;
}

Status PodWorker::write_status(const schema::Object& object, const RuntimePod& runtime, const Plan& plan, bool ended) {
  const std::string uid(client::uid_of(object));
  const PodMemory memory = memories_.snapshot(uid);
  // The cache may lag behind our own last write.
  schema::Object base = object;
  if (memory.last_written && client::revision_of(memory.last_written) > client::revision_of(object))
    base = memory.last_written;
  StatusFacts facts;
  facts.node_ips = options_.node.ips.get();
  facts.runtime_name = options_.runtime_name;
  facts.ended = ended;
  const Pod pod(base);
  const schema::Document status = pod_status(pod, runtime, memory, plan, parts_.executor.wall_now(), facts);
  const std::string patch = status_patch(pod, status);
  if (patch.empty()) return {};
  auto answer =
      parts_.client.patch(kinds::core_v1::pods, client::key_of(object), client::PatchType::merge, patch, "status");
  if (!answer) {
    if (answer.error().code == 404) return {};
    return fail(std::move(answer).error());
  }
  memories_.with(uid, [&](PodMemory& m) { m.last_written = *answer; });
  return {};
}

}  // namespace dure::pods
