#include "pods/container_stopper.h"

#include <fmt/format.h>

#include "base/log.h"
#include "cri/views/cri_v1.h"
#include "pods/fields.h"
#include "pods/hooks.h"

namespace dure::pods {

using kinds::core_v1::Container;
using kinds::core_v1::Pod;
namespace v1 = cri::v1;

namespace {
constexpr int64_t grace_max = 1 << 30;       // seconds: no sum of times overflows
constexpr int64_t grace_after_hook_min = 2;  // a container gets this much after its preStop, whatever is left
constexpr Duration retry_first = 500ms, retry_max = 10s;
}  // namespace

struct ContainerStopper::State : std::enable_shared_from_this<ContainerStopper::State> {
  struct Job {
    schema::Object pod;
    client::Key key;
    std::string uid, id, name, ip;
    int64_t grace = 0;
    Monotonic begun;
  };

  State(PodsParts& parts, Memories& memories, std::function<void(const client::Key&)> wake)
      : parts(parts), memories(memories), wake(std::move(wake)) {}

  bool claim(const Job& job) {
    return memories.with(job.uid, [&](PodMemory& memory) {
      ContainerMemory& container = memory.containers[job.name];
      if (container.killing && container.killing_id == job.id && container.killing_grace <= job.grace) return false;
      container.killing = true;
      if (container.killing_id != job.id) container.kills = 0;
      container.killing_id = job.id;
      container.killing_grace = job.grace;
      return true;
    });
  }

  void release(const Job& job) {
    memories.with(job.uid, [&](PodMemory& memory) {
      ContainerMemory& container = memory.containers[job.name];
      if (container.killing_id == job.id) container.killing = false;
    });
    wake(job.key);
  }

  void run_hook(Job job) {
    if (!job.pod || job.grace <= 0) return end(std::move(job));
    const Pod pod(job.pod);
    const Container container = find_container(pod, job.name);
    const auto hook = container.lifecycle().preStop();
    if (hook.has_sleep()) {
      const int64_t seconds = std::min(hook.sleep().seconds(), job.grace);
      wait(std::move(job), Duration(std::chrono::seconds(seconds)));
      return;
    }
    if (!hook.empty()) {
      Status done = run_handler(parts, container, hook, {job.id, job.ip}, Duration(std::chrono::seconds(job.grace)));
      if (!done) parts.events.warning(about_container(job.pod, job.name), "FailedPreStopHook", "PreStopHook failed");
    }
    end(std::move(job));
  }

  void wait(Job job, Duration delay) {
    const std::string id = job.id;
    auto timer = parts.executor.after(delay, [self = shared_from_this(), job = std::move(job)]() mutable {
      self->parts.jobs.post([self, job = std::move(job)]() mutable { self->end(std::move(job)); });
    });
    std::lock_guard lock(mutex);
    timers[id] = std::move(timer);
  }

  void end(Job job) {
    const auto spent = std::chrono::duration_cast<std::chrono::seconds>(parts.executor.now() - job.begun).count();
    int64_t grace = job.grace - spent;
    if (job.grace > 0) grace = std::max(grace, grace_after_hook_min);
    schema::Document request(v1::StopContainerRequest::type());
    v1::StopContainerRequest out(request);
    out.set_container_id(job.id);
    out.set_timeout(std::max<int64_t>(grace, 0));
    parts.runtime.call_async(
        "StopContainer", request, Duration(std::chrono::seconds(grace + 60)),
        [self = shared_from_this(), job = std::move(job)](Result<schema::Document> answer) mutable {
          self->parts.jobs.post([self, job = std::move(job), answer = std::move(answer)] { self->ended(job, answer); });
        });
  }

  void ended(const Job& job, const Result<schema::Document>& answer) {
    if (!answer && !answer.error().is("NotFound"))
      log(LogLevel::warn, "pods", "stop container",
          {{"pod", job.key.text()}, {"container", job.name}, {"error", answer.error().message}});
    const Duration rest = rest_after(job, answer.has_value() || answer.error().is("NotFound"));
    std::unique_ptr<run::Timer> timer;
    if (rest > Duration::zero())
      timer = parts.executor.after(rest, [self = shared_from_this(), job] { self->release(job); });
    {
      std::lock_guard lock(mutex);
      timers.erase(job.id);
      if (timer) timers[job.id] = std::move(timer);
    }
    if (rest == Duration::zero()) release(job);
  }

  // A container that does not go, or a runtime that cannot stop it, is asked again with growing pauses.
  Duration rest_after(const Job& job, bool stopped) {
    const int kills = memories.with(job.uid, [&](PodMemory& memory) { return ++memory.containers[job.name].kills; });
    if (stopped && kills == 1) return Duration::zero();
    return std::min<Duration>(retry_first * (1 << std::min(kills, 8)) / 2, retry_max);
  }

  PodsParts& parts;
  Memories& memories;
  std::function<void(const client::Key&)> wake;
  std::mutex mutex;
  std::map<std::string, std::unique_ptr<run::Timer>> timers;
};

ContainerStopper::ContainerStopper(PodsParts& parts, Memories& memories, std::function<void(const client::Key&)> wake)
    : state_(std::make_shared<State>(parts, memories, std::move(wake))) {}

ContainerStopper::~ContainerStopper() {
  std::lock_guard lock(state_->mutex);
  state_->timers.clear();
}

void ContainerStopper::stop(const schema::Object& pod, const RuntimePod& runtime, const RuntimeContainer& container,
                            int64_t grace_seconds, const std::string& message) {
  State::Job job;
  job.pod = pod;
  job.key = runtime.key();
  job.uid = runtime.uid;
  job.id = container.id;
  job.name = container.name;
  if (const RuntimeSandbox* sandbox = runtime.ready_sandbox(); sandbox && !sandbox->ips.empty())
    job.ip = sandbox->ips.front();
  job.grace = std::min(grace_seconds, grace_max);
  job.begun = state_->parts.executor.now();
  const bool first = !state_->memories.with(job.uid, [&](PodMemory& memory) {
    const ContainerMemory& known = memory.containers[job.name];
    return known.killing_id == job.id && (known.killing || known.kills > 0);
  });
  if (!state_->claim(job)) return;
  if (first && pod)
    state_->parts.events.normal(about_container(pod, container.name), "Killing",
                                message.empty() ? fmt::format("Stopping container {}", container.name) : message);
  state_->parts.jobs.post([state = state_, job = std::move(job)]() mutable { state->run_hook(std::move(job)); });
}

}  // namespace dure::pods
