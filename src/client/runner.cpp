#include <algorithm>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <set>

#include "base/log.h"
#include "base/metric.h"
#include "client/loop.h"
#include "client/object_meta.h"

namespace dure::client {
namespace {

// A server that was away must not leave a node's pods unreported for long after it came back (client-go: 1000 s).
constexpr Duration retry_first = 5ms, retry_max = 30s;

Duration back_off(int failures) {
  Duration delay = retry_first;
  for (int i = 1; i < failures && delay < retry_max; ++i) delay *= 2;
  return std::min(delay, retry_max);
}

// One loop with its queue. A key is in one of these states: absent, queued, running, running and queued again (dirty);
// beside that at most one timer waits for it.
class RunningLoop : public std::enable_shared_from_this<RunningLoop> {
 public:
  RunningLoop(LoopSpec spec, run::Executor& executor)
      : spec_(std::move(spec)),
        executor_(executor),
        reconciles_(Metric::Kind::counter, "dure_loop_reconciles_total", "loop=\"" + spec_.name + "\"",
                    "Keys reconciled"),
        errors_(Metric::Kind::counter, "dure_loop_errors_total", "loop=\"" + spec_.name + "\"",
                "Reconciles that failed"),
        depth_(Metric::Kind::gauge, "dure_loop_queue_depth", "loop=\"" + spec_.name + "\"",
               "Keys waiting for a worker") {}

  const LoopSpec& spec() const { return spec_; }

  void connect(Caches& caches) {
    waiting_for_ = spec_.watches.size();
    for (const WatchRow& row : spec_.watches) {
      Cache& cache = caches.of(*row.resource, row.options);
      if (row.keys) cache.add_handler(handler_of(row));
      cache.when_synced([self = weak_from_this()] {
        if (auto loop = self.lock()) loop->one_synced();
      });
    }
    if (spec_.watches.empty()) {
      std::lock_guard lock(mutex_);
      started_ = true;
    }
  }

  void enqueue(const Key& key) {
    std::lock_guard lock(mutex_);
    enqueue_locked(key);
  }

  bool idle() const {
    std::lock_guard lock(mutex_);
    return started_ && ready_.empty() && running_ == 0;
  }

  bool started() const {
    std::lock_guard lock(mutex_);
    return started_;
  }

  void stop() {
    std::unique_lock lock(mutex_);
    stopped_ = true;
    ready_.clear();
    std::map<Key, State> states;
    std::swap(states, states_);
    finished_.wait(lock, [&] { return running_ == 0; });
    lock.unlock();
    states.clear();  // cancels timers
  }

 private:
  struct State {
    bool queued = false, running = false;
    int failures = 0;
    std::unique_ptr<run::Timer> timer;
    Monotonic due{};
  };

  Cache::Handler handler_of(const WatchRow& row) {
    return [self = weak_from_this(), keys = row.keys](const schema::Object& before, const schema::Object& after) {
      auto loop = self.lock();
      if (!loop) return;
      const std::function<void(Key)> sink = [&loop](Key key) { loop->enqueue(key); };
      if (before) keys(before, sink);
      if (after) keys(after, sink);
    };
  }

  void one_synced() {
    std::lock_guard lock(mutex_);
    if (--waiting_for_ > 0) return;
    started_ = true;
    for (size_t i = 0; i < ready_.size() && running_ + posted_ < size_t(spec_.workers); ++i) post_worker();
  }

  // Everything below that is called with the mutex held says so by `_locked`, or is `post_worker`.
  void enqueue_locked(const Key& key) {
    if (stopped_) return;
    State& state = states_[key];
    if (state.queued) return;
    state.queued = true;
    if (state.running) return;  // put in line again when it finishes
    push_locked(key);
  }

  void push_locked(const Key& key) {
    ready_.push_back(key);
    depth_.set(static_cast<int64_t>(ready_.size()));
    if (started_ && running_ + posted_ < size_t(spec_.workers)) post_worker();
  }

  void post_worker() {
    ++posted_;
    executor_.post([self = shared_from_this()] { self->work(); });
  }

  // One key per piece of work, so that loops share the executor fairly.
  void work() {
    Key key;
    {
      std::lock_guard lock(mutex_);
      --posted_;
      if (stopped_ || ready_.empty()) return;
      key = std::move(ready_.front());
      ready_.pop_front();
      State& state = states_[key];
      state.queued = false;
      state.running = true;
      ++running_;
    }
    Outcome outcome = spec_.reconcile(key);
    reconciles_.add();
    if (outcome.error) report(key, *outcome.error);
    std::lock_guard lock(mutex_);
    --running_;
    if (stopped_) {
      finished_.notify_all();
      return;
    }
    finish_locked(key, outcome);
    if (!ready_.empty() && running_ + posted_ < size_t(spec_.workers)) post_worker();
    depth_.set(static_cast<int64_t>(ready_.size()));
  }

  void finish_locked(const Key& key, const Outcome& outcome) {
    State& state = states_[key];
    state.running = false;
    state.failures = outcome.error ? state.failures + 1 : 0;
    std::optional<Duration> again = outcome.again_after;
    if (outcome.error) again = back_off(state.failures);
    if (!again && spec_.resync > Duration::zero()) again = spec_.resync;
    // A success without a wish ends what an earlier run of the key had asked for.
    if (!again) state.timer.reset();
    if (again) look_again_locked(key, state, *again);
    if (state.queued) return push_locked(key);
    if (!state.timer && state.failures == 0) states_.erase(key);
  }

  void look_again_locked(const Key& key, State& state, Duration delay) {
    if (delay <= Duration::zero()) {
      state.queued = true;
      return;
    }
    const Monotonic due = executor_.now() + delay;
    state.due = due;
    state.timer = executor_.after(delay, [self = weak_from_this(), key, due] {
      auto loop = self.lock();
      if (!loop) return;
      std::unique_ptr<run::Timer> spent;  // destroyed after the lock is given back
      std::lock_guard lock(loop->mutex_);
      auto at = loop->states_.find(key);
      if (at == loop->states_.end() || !at->second.timer || at->second.due != due) return;
      spent = std::move(at->second.timer);
      loop->enqueue_locked(key);
    });
  }

  void report(const Key& key, const Error& error) {
    errors_.add();
    // Conflicts are how two writers meet: the next run sees the newer state.
    const LogLevel level = error.code == 409 ? LogLevel::debug : LogLevel::warn;
    log(level, "loop", "reconcile failed", {{"loop", spec_.name}, {"key", key.text()}, {"error", error.message}});
  }

  const LoopSpec spec_;
  run::Executor& executor_;
  Metric reconciles_, errors_, depth_;
  mutable std::mutex mutex_;
  std::condition_variable finished_;
  std::map<Key, State> states_;
  std::deque<Key> ready_;
  size_t running_ = 0, posted_ = 0, waiting_for_ = 0;
  bool started_ = false, stopped_ = false;
};

class RunnerOf final : public Runner {
 public:
  RunnerOf(Caches& caches, run::Executor& executor) : caches_(caches), executor_(executor) {}
  ~RunnerOf() override {
    for (auto& [name, loop] : loops_) loop->stop();
  }

  void add(LoopSpec spec) override {
    std::string name = spec.name;
    for (const std::string& thing : spec.owns) DURE_ASSERT(owned_.insert(thing).second);
    auto loop = std::make_shared<RunningLoop>(std::move(spec), executor_);
    {
      std::lock_guard lock(mutex_);
      DURE_ASSERT(loops_.emplace(std::move(name), loop).second);
    }
    loop->connect(caches_);
  }

  void enqueue(const std::string& name, const Key& key) override {
    std::shared_ptr<RunningLoop> loop;
    {
      std::lock_guard lock(mutex_);
      auto at = loops_.find(name);
      if (at == loops_.end()) return;
      loop = at->second;
    }
    loop->enqueue(key);
  }

  bool idle() const override {
    std::lock_guard lock(mutex_);
    return std::all_of(loops_.begin(), loops_.end(), [](const auto& entry) { return entry.second->idle(); });
  }

  bool started() const override {
    std::lock_guard lock(mutex_);
    return std::all_of(loops_.begin(), loops_.end(), [](const auto& entry) { return entry.second->started(); });
  }

 private:
  Caches& caches_;
  run::Executor& executor_;
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<RunningLoop>> loops_;
  std::set<std::string> owned_;
};

}  // namespace

std::unique_ptr<Runner> Runner::create(Caches& caches, run::Executor& executor) {
  return std::make_unique<RunnerOf>(caches, executor);
}

std::function<void(const schema::Object&, const std::function<void(Key)>&)> owner_keys(std::string kind) {
  return [kind = std::move(kind)](const schema::Object& object, const std::function<void(Key)>& enqueue) {
    const OwnerReference owner = controller_of(object);
    if (owner.kind == kind) enqueue({std::string(namespace_of(object)), std::string(owner.name)});
  };
}

std::function<void(const schema::Object&, const std::function<void(Key)>&)> own_key() {
  return [](const schema::Object& object, const std::function<void(Key)>& enqueue) { enqueue(key_of(object)); };
}

}  // namespace dure::client
