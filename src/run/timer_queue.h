// TimerQueue: pending timers in order of their deadlines; the table behind every Executor. Thread: any.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>

#include "run/loop.h"

namespace dure::run {

Monotonic monotonic_now();  // CLOCK_MONOTONIC
WallTime system_wall_now();

class TimerQueue : public std::enable_shared_from_this<TimerQueue> {
 public:
  // Called without a lock after a timer was added that is the earliest one. Set once, before use.
  std::function<void()> wake;

  static std::unique_ptr<Timer> add(const std::shared_ptr<TimerQueue>& queue, Monotonic when, Work work);
  std::optional<Monotonic> next() const;
  // The earliest timer's work when its time has come. It may wait for its turn in another queue: until it runs, the
  // timer can be cancelled, and then it does nothing.
  std::optional<Work> take_due(Monotonic now);
  size_t size() const;  // of those whose time has not come
  // Drops all work, now and later; `wake` is not called again.
  void close();

 private:
  friend class QueuedTimer;
  using Key = std::pair<Monotonic, uint64_t>;
  Work forget(const Key& key);  // empty when it ran or was cancelled

  mutable std::mutex mutex_;
  std::map<Key, Work> timers_;
  std::map<Key, Work> due_;  // taken, not yet run
  uint64_t last_id_ = 0;
  bool closed_ = false;
};

}  // namespace dure::run
