#include "pods/probes/prober.h"

#include <fmt/format.h>

#include <tuple>

#include "client/object_meta.h"
#include "pods/fields.h"
#include "pods/plan.h"
#include "pods/status.h"

namespace dure::pods {

using kinds::core_v1::Container;
using kinds::core_v1::ContainerStatus;
using kinds::core_v1::Pod;
using kinds::core_v1::Probe;

namespace {

enum class ProbeKind { startup, liveness, readiness };

Probe probe_of(const Container& container, ProbeKind kind) {
  switch (kind) {
    case ProbeKind::startup:
      return container.startupProbe();
    case ProbeKind::liveness:
      return container.livenessProbe();
    case ProbeKind::readiness:
      return container.readinessProbe();
  }
  return {};
}

const char* kind_text(ProbeKind kind) {
  return kind == ProbeKind::startup ? "Startup" : kind == ProbeKind::liveness ? "Liveness" : "Readiness";
}

}  // namespace

struct Prober::State : std::enable_shared_from_this<Prober::State> {
  using Id = std::tuple<std::string, std::string, ProbeKind>;  // uid, container, kind

  struct Watcher {
    schema::Object pod;
    std::string container_id, ip;
    WallTime started_at;
    bool last_ok = false;
    int64_t same = 0;  // answers like the last one in a row
    bool asking = false;
    uint64_t generation = 0;  // of the container; an answer to an older one is dropped
    std::unique_ptr<run::Timer> timer;
  };

  State(PodsParts& parts, const PodsOptions& options, Memories& memories, std::function<void(const client::Key&)> wake)
      : parts(parts), options(options), memories(memories), wake(std::move(wake)) {}

  // With the lock held.
  void schedule(const Id& id, Watcher& watcher, Duration delay) {
    watcher.timer = parts.executor.after(delay, [weak = weak_from_this(), id, generation = watcher.generation] {
      if (auto self = weak.lock()) self->due(id, generation);
    });
  }

  void due(const Id& id, uint64_t generation) {
    std::lock_guard lock(mutex);
    auto found = watchers.find(id);
    if (found == watchers.end() || found->second.generation != generation || found->second.asking) return;
    Watcher& watcher = found->second;
    const auto& [uid, name, kind] = id;
    const Container container = find_container(Pod(watcher.pod), name);
    const Probe probe = probe_of(container, kind);
    const Duration period = std::chrono::seconds(std::max<int64_t>(probe.periodSeconds(), 1));
    if (kind != ProbeKind::startup && container.has_startupProbe() && !has_started(uid, name, watcher.container_id)) {
      schedule(id, watcher, std::min<Duration>(period, 1s));
      return;
    }
    if (kind == ProbeKind::startup && has_started(uid, name, watcher.container_id)) return;  // said its last word
    watcher.asking = true;
    parts.jobs.post([weak = weak_from_this(), id, generation, pod = watcher.pod, container_id = watcher.container_id,
                     ip = watcher.ip] {
      auto self = weak.lock();
      if (!self) return;
      const Container spec = find_container(Pod(pod), std::get<1>(id));
      self->answered(id, generation, ask(self->parts, spec, probe_of(spec, std::get<2>(id)), container_id, ip));
    });
  }

  bool has_started(const std::string& uid, const std::string& name, const std::string& container_id) const {
    const PodMemory memory = memories.snapshot(uid);
    auto found = memory.containers.find(name);
    return found != memory.containers.end() && found->second.probed_id == container_id && found->second.started;
  }

  void answered(const Id& id, uint64_t generation, ProbeAnswer answer) {
    const auto& [uid, name, kind] = id;
    schema::Object pod;
    bool decided = false;
    {
      std::lock_guard lock(mutex);
      auto found = watchers.find(id);
      if (found == watchers.end() || found->second.generation != generation) return;
      Watcher& watcher = found->second;
      watcher.asking = false;
      pod = watcher.pod;
      const Probe probe = probe_of(find_container(Pod(pod), name), kind);
      watcher.same = watcher.last_ok == answer.ok ? watcher.same + 1 : 1;
      watcher.last_ok = answer.ok;
      const int64_t threshold = std::max<int64_t>(answer.ok ? probe.successThreshold() : probe.failureThreshold(), 1);
      decided = watcher.same >= threshold;
      schedule(id, watcher, std::chrono::seconds(std::max<int64_t>(probe.periodSeconds(), 1)));
    }
    if (!answer.ok)
      parts.events.warning(about_container(pod, name), "Unhealthy",
                           fmt::format("{} probe failed: {}", kind_text(kind), answer.text));
    if (decided && record(id, generation, answer.ok)) wake(client::key_of(pod));
  }

  // Leaves the word in memory; true when that changes anything.
  bool record(const Id& id, uint64_t generation, bool ok) {
    const auto& [uid, name, kind] = id;
    std::string container_id;
    {
      std::lock_guard lock(mutex);
      auto found = watchers.find(id);
      if (found == watchers.end() || found->second.generation != generation) return false;
      container_id = found->second.container_id;
    }
    return memories.with(uid, [&](PodMemory& memory) {
      ContainerMemory& c = memory.containers[name];
      if (c.probed_id != container_id) return false;
      const ContainerMemory before = c;
      if (kind == ProbeKind::readiness)
        c.ready = ok;
      else if (kind == ProbeKind::startup && ok)
        c.started = true;
      else if (!ok)
        c.failed_probe = kind == ProbeKind::startup ? "startup" : "liveness";
      return before.ready != c.ready || before.started != c.started || before.failed_probe != c.failed_probe;
    });
  }

  // A container that was ready by the API's word before we looked keeps it until its probe says otherwise.
  void begin_container(const schema::Object& object, const Container& container, const RuntimeContainer& running) {
    const Pod pod(object);
    bool was_ready = false, was_started = false;
    const std::string id = options.runtime_name + "://" + running.id;
    const auto look = [&](auto statuses) {
      for (ContainerStatus s : statuses)
        if (s.name() == container.name() && s.containerID() == id) {
          was_ready = s.ready();
          was_started = s.started();
        }
    };
    look(pod.status().containerStatuses());
    look(pod.status().initContainerStatuses());
    memories.with(std::string(pod.metadata().uid()), [&](PodMemory& memory) {
      ContainerMemory& c = memory.containers[running.name];
      if (c.probed_id == running.id) return 0;
      c.probed_id = running.id;
      c.ready = was_ready ? std::optional(true) : std::nullopt;
      c.started = was_started || !container.has_startupProbe();
      c.failed_probe.reset();
      return 0;
    });
  }

  void watch(const schema::Object& object, const std::string& name, ProbeKind kind, const RuntimeContainer& running,
             const std::string& ip) {
    const Pod pod(object);
    const Id id{std::string(pod.metadata().uid()), name, kind};
    Watcher& watcher = watchers[id];
    watcher.pod = object;
    watcher.ip = ip;
    if (watcher.container_id == running.id) return;
    watcher.container_id = running.id;
    watcher.started_at = running.started_at;
    watcher.generation = ++generations;
    watcher.same = 0;
    watcher.asking = false;
    const Probe probe = probe_of(find_container(pod, name), kind);
    const Duration age = parts.executor.wall_now() - running.started_at;
    const Duration initial = std::chrono::seconds(probe.initialDelaySeconds());
    schedule(id, watcher, std::max<Duration>(initial - age, Duration::zero()));
  }

  PodsParts& parts;
  const PodsOptions& options;
  Memories& memories;
  std::function<void(const client::Key&)> wake;
  mutable std::mutex mutex;
  std::map<Id, Watcher> watchers;
  uint64_t generations = 0;
};

Prober::Prober(PodsParts& parts, const PodsOptions& options, Memories& memories,
               std::function<void(const client::Key&)> wake)
    : state_(std::make_shared<State>(parts, options, memories, std::move(wake))) {}

Prober::~Prober() {
  std::map<State::Id, State::Watcher> gone;
  std::lock_guard lock(state_->mutex);
  gone.swap(state_->watchers);
}

void Prober::update(const schema::Object& object, const RuntimePod& runtime) {
  const Pod pod(object);
  const std::string uid(pod.metadata().uid());
  const std::vector<std::string> ips = pod_ips(pod, runtime, state_->options.node.ips.get());
  const std::string ip = ips.empty() ? std::string() : ips.front();
  std::vector<State::Watcher> gone;  // destroyed after the lock
  const auto fit = [&](const Container& container) {
    const RuntimeContainer* running = runtime.newest(container.name());
    if (running && running->state != ContainerState::running) running = nullptr;
    if (running) state_->begin_container(object, container, *running);
    std::lock_guard lock(state_->mutex);
    for (ProbeKind kind : {ProbeKind::startup, ProbeKind::liveness, ProbeKind::readiness}) {
      const bool wanted = running && probe_of(container, kind);
      if (wanted) {
        state_->watch(object, std::string(container.name()), kind, *running, ip);
      } else if (auto node = state_->watchers.extract({uid, std::string(container.name()), kind})) {
        gone.push_back(std::move(node.mapped()));
      }
    }
  };
  for (Container c : pod.spec().initContainers()) fit(c);
  for (Container c : pod.spec().containers()) fit(c);
}

void Prober::remove(const std::string& uid) {
  std::vector<State::Watcher> gone;
  std::lock_guard lock(state_->mutex);
  for (auto at = state_->watchers.begin(); at != state_->watchers.end();) {
    if (std::get<0>(at->first) != uid) {
      ++at;
      continue;
    }
    gone.push_back(std::move(at->second));
    at = state_->watchers.erase(at);
  }
}

size_t Prober::count() const {
  std::lock_guard lock(state_->mutex);
  return state_->watchers.size();
}

}  // namespace dure::pods
