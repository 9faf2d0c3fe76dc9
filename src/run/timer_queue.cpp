#include "run/timer_queue.h"

#include <time.h>

namespace dure::run {
namespace {

int64_t read_clock(clockid_t id) {
  timespec value;
  clock_gettime(id, &value);
  return int64_t(value.tv_sec) * 1'000'000'000 + value.tv_nsec;
}

}  // namespace

Monotonic monotonic_now() { return {read_clock(CLOCK_MONOTONIC)}; }
WallTime system_wall_now() { return {read_clock(CLOCK_REALTIME)}; }

class QueuedTimer final : public Timer {
 public:
  QueuedTimer(std::weak_ptr<TimerQueue> queue, TimerQueue::Key key)
      : queue_(std::move(queue)), key_(key) {}
  ~QueuedTimer() override { cancel(); }
  void cancel() override {
    // The work is destroyed without the lock: what it captured may cancel timers too.
    if (const auto queue = queue_.lock()) queue->forget(key_);
  }

 private:
  std::weak_ptr<TimerQueue> queue_;
  TimerQueue::Key key_;
};

std::unique_ptr<Timer> TimerQueue::add(const std::shared_ptr<TimerQueue>& queue, Monotonic when,
                                       Work work) {
  Key key;
  bool earliest = false;
  {
    std::lock_guard lock(queue->mutex_);
    key = {when, ++queue->last_id_};
    if (!queue->closed_) {
      const auto [at, inserted] = queue->timers_.emplace(key, std::move(work));
      earliest = at == queue->timers_.begin();
    }
  }
  if (earliest && queue->wake) queue->wake();
  return std::make_unique<QueuedTimer>(queue, key);
}

std::optional<Monotonic> TimerQueue::next() const {
  std::lock_guard lock(mutex_);
  if (timers_.empty()) return std::nullopt;
  return timers_.begin()->first.first;
}

std::optional<Work> TimerQueue::take_due(Monotonic now) {
  std::lock_guard lock(mutex_);
  if (timers_.empty() || timers_.begin()->first.first > now) return std::nullopt;
  const Key key = timers_.begin()->first;
  due_.insert(timers_.extract(timers_.begin()));
  return [queue = shared_from_this(), key] {
    if (Work work = queue->forget(key)) work();
  };
}

Work TimerQueue::forget(const Key& key) {
  std::lock_guard lock(mutex_);
  for (auto* table : {&timers_, &due_})
    if (const auto node = table->extract(key)) return std::move(node.mapped());
  return nullptr;
}

size_t TimerQueue::size() const {
  std::lock_guard lock(mutex_);
  return timers_.size();
}

void TimerQueue::close() {
  std::map<Key, Work> dropped, dropped_due;
  std::lock_guard lock(mutex_);
  closed_ = true;
  dropped.swap(timers_);
  dropped_due.swap(due_);
}

}  // namespace dure::run
