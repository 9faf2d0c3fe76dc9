#include <pthread.h>
#include <signal.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "run/loop.h"
#include "run/timer_queue.h"

namespace dure::run {
namespace {

class Pool final : public Executor {
 public:
  Pool(const std::string& name, int threads) {
    signal(SIGPIPE, SIG_IGN);
    timers_->wake = [this] {
      std::lock_guard lock(mutex_);
      wake_.notify_all();
    };
    for (int i = 0; i < threads; ++i)
      threads_.emplace_back([this, title = name.substr(0, 12) + "-" + std::to_string(i)] {
        pthread_setname_np(pthread_self(), title.c_str());
        work();
      });
  }
  ~Pool() override {
    std::deque<Work> dropped;
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
      dropped.swap(queue_);
      wake_.notify_all();
    }
    for (auto& thread : threads_) thread.join();
    timers_->close();
  }

  void post(Work work) override {
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    queue_.push_back(std::move(work));
    wake_.notify_one();
  }
  std::unique_ptr<Timer> after(Duration delay, Work work) override {
    return TimerQueue::add(timers_, now() + std::max(delay, Duration::zero()), std::move(work));
  }
  Monotonic now() const override { return monotonic_now(); }
  WallTime wall_now() const override { return system_wall_now(); }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
      if (auto due = timers_->take_due(now())) queue_.push_back(std::move(*due));
      if (!queue_.empty()) {
        Work taken = std::move(queue_.front());
        queue_.pop_front();
        // Somebody must mind the clock while this thread is busy.
        if (!queue_.empty() || (!minded_ && timers_->next())) wake_.notify_one();
        lock.unlock();
        taken();
        taken = nullptr;
        lock.lock();
        continue;
      }
      wait(lock);
    }
  }
  // One idle thread at a time sleeps until the next deadline; the others sleep until they are
  // called.
  void wait(std::unique_lock<std::mutex>& lock) {
    const auto next = timers_->next();
    if (minded_ || !next) return wake_.wait(lock);
    minded_ = true;
    wake_.wait_until(
        lock, std::chrono::steady_clock::time_point(std::chrono::nanoseconds(next->nanoseconds)));
    minded_ = false;
  }

  std::shared_ptr<TimerQueue> timers_ = std::make_shared<TimerQueue>();
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Work> queue_;
  bool stopping_ = false;
  bool minded_ = false;  // a thread sleeps until the next deadline
  std::vector<std::thread> threads_;
};

}  // namespace

std::unique_ptr<Executor> make_pool(std::string name, int threads) {
  return std::make_unique<Pool>(name, threads);
}

}  // namespace dure::run
