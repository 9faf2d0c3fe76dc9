#include "pods/pods.h"

#include <atomic>
#include <set>

#include "base/log.h"
#include "client/object_meta.h"
#include "kinds/views/core_v1.h"
#include "pods/log_rotation.h"
#include "pods/pod_worker.h"
#include "run/gate.h"

namespace dure::pods {

namespace {

constexpr Duration housekeeping_interval = 60s;
constexpr Duration log_check_interval = 10s;
constexpr Duration follow_up_first = 50ms, follow_up_last = 1500ms;  // after 50, 150, 450 and 1350 ms
constexpr const char* loop_name = "pods";

client::ListOptions of_node(const std::string& name) {
  client::ListOptions options;
  options.field_selector = "spec.nodeName=" + name;
  return options;
}

}  // namespace

client::EventAbout about_pod(const schema::Object& pod) { return client::EventAbout::object(pod); }

client::EventAbout about_container(const schema::Object& pod, std::string_view container) {
  client::EventAbout about = client::EventAbout::object(pod);
  bool init = false;
  for (kinds::core_v1::Container c : kinds::core_v1::Pod(pod).spec().initContainers())
    init = init || c.name() == container;
  about.field_path = std::string(init ? "spec.initContainers{" : "spec.containers{") + std::string(container) + "}";
  return about;
}

struct Pods::State : std::enable_shared_from_this<Pods::State> {
  State(PodsParts given, PodsOptions given_options)
      : executor_gate(given.executor),
        jobs_gate(given.jobs),
        parts(behind_gates(std::move(given))),
        options(std::move(given_options)),
        pods(parts.caches.of(kinds::core_v1::pods, of_node(options.node.name))),
        services(parts.caches.of(kinds::core_v1::services)),
        runtime_state(parts.runtime, parts.disk),
        puller(parts, options, waker()),
        stopper(parts, memories, waker()),
        prober(parts, options, memories, waker()),
        starter(parts, options, memories, puller, [this](std::string_view ns) { return services_of(ns); }),
        worker(parts, options, memories, runtime_state, starter, stopper, puller, prober, pods),
        rotation(parts, options) {}

  // Everything below posts through gates that close before any of it is destroyed.
  PodsParts behind_gates(PodsParts given) {
    return {given.client,
            given.caches,
            given.runtime,
            executor_gate,
            jobs_gate,
            given.disk,
            given.events,
            given.probe_net,
            std::move(given.volumes),
            std::move(given.remove_tree),
            std::move(given.set_mode)};
  }

  // Wakes a key of the loop; before `start` there is nothing to wake.
  std::function<void(const client::Key&)> waker() {
    return [this](const client::Key& key) {
      if (client::Runner* r = runner.load()) r->enqueue(loop_name, key);
    };
  }

  std::vector<schema::Object> services_of(std::string_view namespace_) {
    std::vector<schema::Object> out = services.list(namespace_);
    if (namespace_ != "default")
      if (schema::Object api = services.get({"default", "kubernetes"})) out.push_back(api);
    return out;
  }

  // Lists the runtime now, or asks for one more listing when one is under way. Blocks; runs as a job.
  void relist() {
    auto changed = runtime_state.refresh();
    if (!changed) {
      if (!stopped) log(LogLevel::warn, "pods", "list the container runtime", {{"error", changed.error().message}});
      return;
    }
    for (const client::Key& key : *changed) waker()(key);
  }

  void relist_soon() {
    if (relist_wanted.exchange(true)) return;
    parts.jobs.post([weak = weak_from_this()] {
      auto self = weak.lock();
      if (!self || self->stopped) return;
      self->relist_wanted = false;
      self->relist();
    });
  }

  // The runtime told that something happened. Its own lists may show it a little later (containerd handles the event
  // that it passes on to us at the same time), so it is listed again a few times.
  void hinted() {
    relist_soon();
    std::lock_guard lock(timers_mutex);
    follow_up_delay = follow_up_first;
    if (!follow_up_timer) follow_up();
  }

  // With the lock held.
  void follow_up() {
    follow_up_timer = parts.executor.after(follow_up_delay, [weak = weak_from_this()] {
      auto self = weak.lock();
      if (!self || self->stopped) return;
      self->relist_soon();
      std::lock_guard lock(self->timers_mutex);
      self->follow_up_delay *= 3;
      if (self->follow_up_delay <= follow_up_last)
        self->follow_up();
      else
        self->follow_up_timer.reset();
    });
  }

  // Told of every end and start, a listing is only for what no event tells.
  Duration relist_interval() const { return subscribed ? std::max<Duration>(options.relist, 10s) : options.relist; }
  Duration house_interval() const { return housekeeping_interval; }
  Duration log_interval() const { return log_check_interval; }

  void every(std::unique_ptr<run::Timer>& timer, Duration (State::*interval)() const, void (State::*act)()) {
    std::lock_guard lock(timers_mutex);
    if (stopped) return;
    timer = parts.executor.after((this->*interval)(), [weak = weak_from_this(), &timer, interval, act] {
      auto self = weak.lock();
      if (!self || self->stopped) return;
      self->parts.jobs.post([weak, &timer, interval, act] {
        auto again = weak.lock();
        if (!again || again->stopped) return;
        (again.get()->*act)();
        again->every(timer, interval, act);
      });
    });
  }

  void subscribe() {
    auto handle = parts.runtime.events(
        [weak = weak_from_this()](const schema::Document&) {
          if (auto self = weak.lock()) self->hinted();
        },
        [weak = weak_from_this()](Error why) {
          if (auto self = weak.lock()) self->subscription_ended(why);
        });
    if (handle) {
      subscription = std::move(*handle);
      subscribed = true;
      relist_soon();  // what happened before it stood
    } else if (!handle.error().is("Unimplemented")) {
      subscription_ended(handle.error());
    }
  }

  void subscription_ended(const Error& why) {
    subscribed = false;
    if (stopped || why.is("Unimplemented")) return;
    relist_soon();
    std::lock_guard lock(timers_mutex);
    resubscribe_timer = parts.executor.after(2s, [weak = weak_from_this()] {
      auto self = weak.lock();
      if (!self || self->stopped) return;
      self->parts.jobs.post([weak] {
        auto again = weak.lock();
        if (again && !again->stopped) again->subscribe();
      });
    });
  }

  // What no event tells: files of pods that are gone, memories of pods that are gone.
  void keep_house() {
    if (!pods.synced() || !runtime_state.refreshed_once()) return;
    std::set<std::string> wanted;
    for (const schema::Object& pod : pods.list()) wanted.insert(std::string(client::uid_of(pod)));
    for (const RuntimePodPtr& pod : runtime_state.all()) {
      if (!wanted.contains(pod->uid)) waker()(pod->key());
      wanted.insert(pod->uid);
    }
    for (const std::string& uid : parts.volumes.uids()) {
      if (wanted.contains(uid)) continue;
      if (Status done = parts.volumes.unmount(uid); !done) {
        log(LogLevel::warn, "pods", "unmount volumes of a pod that is gone",
            {{"uid", uid}, {"error", done.error().message}});
        continue;
      }
      (void)parts.remove_tree(options.root + "/pods/" + uid);
    }
    for (const std::string& uid : memories.uids())
      if (!wanted.contains(uid)) memories.erase(uid);
  }

  void rotate_logs() { rotation.run(runtime_state.all()); }

  run::Gate executor_gate, jobs_gate;
  PodsParts parts;
  const PodsOptions options;
  Memories memories;
  client::Cache& pods;
  client::Cache& services;
  RuntimeState runtime_state;
  std::atomic<client::Runner*> runner{nullptr};
  ImagePuller puller;
  ContainerStopper stopper;
  Prober prober;
  ContainerStarter starter;
  PodWorker worker;
  LogRotation rotation;
  std::atomic<bool> stopped{false}, relist_wanted{false}, subscribed{false};
  std::mutex timers_mutex;
  std::unique_ptr<run::Timer> relist_timer, house_timer, log_timer, resubscribe_timer, follow_up_timer;
  Duration follow_up_delay = follow_up_first;
  std::unique_ptr<run::Timer> subscription;
};

Pods::Pods(PodsParts parts, PodsOptions options)
    : state_(std::make_shared<State>(std::move(parts), std::move(options))) {}

Pods::~Pods() {
  state_->stopped = true;
  state_->runner = nullptr;
  state_->executor_gate.close();
  state_->parts.runtime.interrupt_calls();
  state_->jobs_gate.close();
  state_->parts.runtime.interrupt_calls();  // what the last jobs began
  state_->subscription.reset();             // the runtime may outlive us and the executors
}

client::Cache& Pods::cache() { return state_->pods; }

client::LoopSpec Pods::loop() {
  client::LoopSpec spec;
  spec.name = loop_name;
  spec.watches.push_back({&kinds::core_v1::pods, client::own_key(), of_node(state_->options.node.name)});
  spec.owns = {"status of v1 Pod on its node"};
  spec.workers = state_->options.workers;
  spec.resync = 60s;
  spec.reconcile = [state = state_](const client::Key& key) { return state->worker.reconcile(key); };
  return spec;
}

void Pods::start(client::Runner& runner) {
  state_->runner = &runner;
  State& state = *state_;
  state.relist_soon();
  state.every(state.relist_timer, &State::relist_interval, &State::relist);
  state.every(state.house_timer, &State::house_interval, &State::keep_house);
  state.every(state.log_timer, &State::log_interval, &State::rotate_logs);
  parts().jobs.post([weak = std::weak_ptr(state_)] {
    auto self = weak.lock();
    if (self && !self->stopped) self->subscribe();
  });
}

RuntimeState& Pods::runtime_state() { return state_->runtime_state; }
const PodsOptions& Pods::options() const { return state_->options; }
PodsParts& Pods::parts() { return state_->parts; }

}  // namespace dure::pods
