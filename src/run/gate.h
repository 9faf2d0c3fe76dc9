// Gate: an Executor in front of another that its owner can shut. After `close` returned nothing that was posted through
// it runs any more and nothing will: what such work refers to may be destroyed.
//
// Owner: the object whose members the work uses; close it first thing in the destructor. Not from inside such work.
// Thread: any.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <utility>

#include "run/loop.h"

namespace dure::run {

class Gate : public Executor {
 public:
  explicit Gate(Executor& behind) : behind_(behind), state_(std::make_shared<State>()) {}
  ~Gate() override { close(); }

  void close() {
    std::unique_lock lock(state_->mutex);
    state_->closed = true;
    state_->idle.wait(lock, [&] { return state_->running == 0; });
  }

  // Through a shut gate nothing goes, and what is behind it is not touched: it may be gone.
  void post(Work work) override {
    const std::shared_ptr<State> state = enter();
    if (!state) return;
    behind_.post(guard(std::move(work)));
    leave(*state);
  }
  std::unique_ptr<Timer> after(Duration delay, Work work) override {
    const std::shared_ptr<State> state = enter();
    if (!state) return std::make_unique<NoTimer>();
    auto timer = behind_.after(delay, guard(std::move(work)));
    leave(*state);
    return timer;
  }
  Monotonic now() const override { return behind_.now(); }
  WallTime wall_now() const override { return behind_.wall_now(); }

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable idle;
    int running = 0;
    bool closed = false;
  };

  struct NoTimer : Timer {
    void cancel() override {}
  };

  std::shared_ptr<State> enter() {  // null when shut
    std::lock_guard lock(state_->mutex);
    if (state_->closed) return nullptr;
    ++state_->running;
    return state_;
  }
  static void leave(State& state) {
    std::lock_guard lock(state.mutex);
    if (--state.running == 0) state.idle.notify_all();
  }

  Work guard(Work work) {
    return [state = state_, work = std::move(work)]() mutable {
      {
        std::lock_guard lock(state->mutex);
        if (state->closed) return;
        ++state->running;
      }
      work();
      work = nullptr;  // what it holds goes before the gate may close
      leave(*state);
    };
  }

  Executor& behind_;
  std::shared_ptr<State> state_;
};

}  // namespace dure::run
