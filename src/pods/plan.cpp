#include "pods/plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace dure::pods {

using kinds::core_v1::Container;
using kinds::core_v1::Pod;

namespace {

const ContainerMemory* memory_of(const PodMemory& memory, std::string_view name) {
  auto found = memory.containers.find(std::string(name));
  return found == memory.containers.end() ? nullptr : &found->second;
}

bool in_sandbox(const RuntimeContainer* container, const RuntimeSandbox* sandbox) {
  return container && sandbox && container->sandbox_id == sandbox->id;
}

// One planning run: the inputs and the plan that grows.
class Planner {
 public:
  Planner(const Pod& pod, const RuntimePod& runtime, const PodMemory& memory, WallTime now, const PlanLimits& limits)
      : pod_(pod),
        runtime_(runtime),
        memory_(memory),
        now_(now),
        limits_(limits),
        policy_(pod.spec().restartPolicy()),
        sandbox_(runtime.ready_sandbox()) {}

  Plan run() {
    if (sandbox_is_unfit()) return for_a_new_sandbox();
    if (!init_containers()) return std::move(plan_);
    regular_containers();
    return std::move(plan_);
  }

 private:
  bool sandbox_is_unfit() const {
    if (!sandbox_ || sandbox_->id != runtime_.sandboxes.front().id) return true;
    return sandbox_->ips.empty() && !pod_.spec().hostNetwork();
  }

  bool wants_to_run(const Container& container) const {
    const RuntimeContainer* newest = runtime_.newest(container.name());
    return !newest || starts_again(pod_, container, false, *newest, memory_) ||
           (newest->state != ContainerState::exited && policy_ != "Never");
  }

  Plan for_a_new_sandbox() {
    const bool had_one = !runtime_.sandboxes.empty();
    if (runtime_.any_running() || runtime_.ready_sandbox()) {
      plan_.stop_everything = true;
      return std::move(plan_);
    }
    if (had_one && policy_ == "Never" && !runtime_.containers.empty()) return std::move(plan_);
    const auto containers = pod_.spec().containers();
    if (had_one &&
        std::none_of(containers.begin(), containers.end(), [&](const Container& c) { return wants_to_run(c); }))
      return std::move(plan_);
    plan_.create_sandbox = true;
    plan_.sandbox_attempt = had_one ? runtime_.sandboxes.front().attempt + 1 : 0;
    return std::move(plan_);
  }

  bool any_regular_created() const {
    for (Container c : pod_.spec().containers())
      if (in_sandbox(runtime_.newest(c.name()), sandbox_)) return true;
    return false;
  }

  // True when the regular containers may be looked at.
  bool init_containers() {
    const bool passed = any_regular_created();
    for (Container c : pod_.spec().initContainers()) {
      if (is_sidecar(c) ? !sidecar(c, passed) : (!passed && !init_container(c))) return false;
    }
    return true;
  }

  bool sidecar(const Container& c, bool passed) {
    const RuntimeContainer* newest = runtime_.newest(c.name());
    if (!in_sandbox(newest, sandbox_) || newest->state != ContainerState::running) {
      if (only_sidecars_are_left()) return true;
      if (!in_sandbox(newest, sandbox_))
        start(c, true, nullptr, newest);
      else
        start(c, true, newest, newest);
      return passed;
    }
    kill_when_unfit(c, *newest, true);
    const ContainerMemory* memory = memory_of(memory_, c.name());
    return passed || !c.has_startupProbe() || (memory && memory->probed_id == newest->id && memory->started);
  }

  bool only_sidecars_are_left() const {
    if (!any_regular_created()) return false;
    for (Container c : pod_.spec().containers())
      if (wants_to_run(c) || runtime_.newest(c.name())->state != ContainerState::exited) return false;
    return true;
  }

  bool init_container(const Container& c) {
    const RuntimeContainer* newest = runtime_.newest(c.name());
    if (!in_sandbox(newest, sandbox_)) {
      start(c, true, nullptr, newest);
      return false;
    }
    if (newest->state == ContainerState::running) return false;
    if (newest->state == ContainerState::exited) {
      if (newest->exit_code == 0) return true;
      if (policy_ == "Never") {
        plan_.stop_everything = true;
        return false;
      }
    }
    start(c, true, newest, newest);
    return false;
  }

  void regular_containers() {
    int kept = 0;
    for (Container c : pod_.spec().containers()) {
      const RuntimeContainer* newest = runtime_.newest(c.name());
      if (newest && newest->state == ContainerState::running) {
        ++kept;
        kill_when_unfit(c, *newest, policy_ != "Never");
      } else if (!newest || newest->state == ContainerState::created || newest->state == ContainerState::unknown ||
                 starts_again(pod_, c, false, *newest, memory_)) {
        ++kept;
        start(c, false, newest && newest->state == ContainerState::exited ? newest : nullptr, newest);
      }
    }
    if (kept == 0) {
      plan_ = Plan{};
      plan_.stop_everything = sandbox_ != nullptr;
    }
  }

  void kill_when_unfit(const Container& c, const RuntimeContainer& running, bool restarts) {
    const ContainerMemory* memory = memory_of(memory_, c.name());
    const char* ending = restarts ? ", will be restarted" : "";
    if (running.hash != container_hash(c)) {
      plan_.kills.push_back(
          {running.id, running.name, "changed", fmt::format("Container {} definition changed{}", c.name(), ending)});
    } else if (memory && memory->probed_id == running.id && memory->failed_probe) {
      plan_.kills.push_back({running.id, running.name, *memory->failed_probe,
                             fmt::format("Container {} failed {} probe{}", c.name(), *memory->failed_probe, ending)});
    }
  }

  // `ended`: the exited container whose restart is subject to the back-off; `newest` counts the attempts.
  void start(const Container& c, bool init, const RuntimeContainer* ended, const RuntimeContainer* newest) {
    if (ended && ended->state == ContainerState::exited && held_back(c, *ended)) return;
    plan_.starts.push_back({std::string(c.name()), init, newest ? newest->attempt + 1 : 0});
  }

  bool held_back(const Container& c, const RuntimeContainer& ended) {
    const ContainerMemory* memory = memory_of(memory_, c.name());
    if (!memory || memory->restart.delay <= Duration::zero()) return false;
    if (ended.finished_at - memory->restart.updated > limits_.backoff_forget) return false;
    const Duration left = memory->restart.delay - (now_ - ended.finished_at);
    if (left <= Duration::zero() || ended.hash != container_hash(c)) return false;
    plan_.backoffs[std::string(c.name())] = {
        "CrashLoopBackOff",
        fmt::format("back-off {} restarting failed container={} pod={}_{}({})", format_duration(memory->restart.delay),
                    c.name(), pod_.metadata().name(), pod_.metadata().namespace_(), pod_.metadata().uid())};
    if (!plan_.look_again || left < *plan_.look_again) plan_.look_again = left;
    return true;
  }

  const Pod& pod_;
  const RuntimePod& runtime_;
  const PodMemory& memory_;
  const WallTime now_;
  const PlanLimits& limits_;
  const std::string_view policy_;
  const RuntimeSandbox* sandbox_;
  Plan plan_;
};

void append_canonical(std::string& out, const schema::Node* node) {
  if (!node) return;
  out += node->key();
  out += '=';
  switch (node->kind()) {
    case schema::Kind::null:
      out += '~';
      break;
    case schema::Kind::boolean:
      out += node->boolean() ? 't' : 'f';
      break;
    case schema::Kind::integer:
      out += std::to_string(node->integer());
      break;
    case schema::Kind::number:
      out += fmt::format("{}", node->number());
      break;
    case schema::Kind::string:
      out += node->string();
      break;
    case schema::Kind::list:
    case schema::Kind::object:
      out += '{';
      for (const schema::Node* child = node->first(); child; child = child->next()) append_canonical(out, child);
      out += '}';
      break;
  }
  out += ';';
}

}  // namespace

Plan plan(const Pod& pod, const RuntimePod& runtime, const PodMemory& memory, WallTime now, const PlanLimits& limits) {
  return Planner(pod, runtime, memory, now, limits).run();
}

bool starts_again(const Pod& pod, const Container& container, bool init, const RuntimeContainer& ended,
                  const PodMemory& memory) {
  if (init && is_sidecar(container)) return true;
  const std::string_view policy = pod.spec().restartPolicy();
  if (policy == "Never") return false;
  if (init) return ended.exit_code != 0;
  const ContainerMemory* known = memory_of(memory, ended.name);
  if (known && known->restart_id == ended.id) return true;
  if (ended.hash != container_hash(container)) return true;
  return policy != "OnFailure" || ended.exit_code != 0 || ended.state != ContainerState::exited;
}

Backoff next_backoff(const Backoff& before, WallTime now, const PlanLimits& limits) {
  const bool fresh = before.delay <= Duration::zero() || now - before.updated > limits.backoff_forget;
  return {fresh ? limits.backoff_first : std::min(before.delay * 2, limits.backoff_max), now};
}

bool is_sidecar(const Container& container) { return container.restartPolicy() == "Always"; }

std::string container_hash(const Container& container) {
  // Name and image, as the kubelet does since it learned to resize in place: nothing else of a container may change.
  std::string text;
  append_canonical(text, container.node() ? container.node()->find("name") : nullptr);
  append_canonical(text, container.node() ? container.node()->find("image") : nullptr);
  return fmt::format("{:x}", fnv1a_32(text));
}

bool initialized(const Pod& pod, const RuntimePod& runtime, const PodMemory& memory) {
  for (Container c : pod.spec().containers())
    if (runtime.newest(c.name())) return true;
  for (Container c : pod.spec().initContainers()) {
    const RuntimeContainer* newest = runtime.newest(c.name());
    if (!newest) return false;
    if (is_sidecar(c)) {
      const ContainerMemory* known = memory_of(memory, c.name());
      const bool started = !c.has_startupProbe() || (known && known->probed_id == newest->id && known->started);
      if (newest->state != ContainerState::running || !started) return false;
    } else if (newest->state != ContainerState::exited || newest->exit_code != 0) {
      return false;
    }
  }
  return true;
}

}  // namespace dure::pods
