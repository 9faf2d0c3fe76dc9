// Deadline: a time limit that is moved often and passes rarely. Moving it later costs nothing: the timer that is
// pending looks again when it fires. Thread: the loop's; the owner outlives no callback, because destroying a
// Deadline drops it.
#pragma once

#include <memory>
#include <optional>

#include "run/loop.h"

namespace dure::wire {

class Deadline {
 public:
  Deadline(run::Executor& executor, run::Work passed)
      : state_(std::make_shared<State>(executor, std::move(passed))) {}
  void set(Duration from_now) {
    state_->deadline = state_->executor.now() + from_now;
    if (!state_->timer || state_->fires > *state_->deadline) arm(state_);
  }
  void clear() { state_->deadline.reset(); }

 private:
  struct State {
    State(run::Executor& executor, run::Work passed) : executor(executor), passed(std::move(passed)) {}
    run::Executor& executor;
    run::Work passed;
    std::optional<Monotonic> deadline;
    Monotonic fires;
    std::unique_ptr<run::Timer> timer;
  };
  static void arm(const std::shared_ptr<State>& state) {
    state->fires = *state->deadline;
    const Duration left = *state->deadline - state->executor.now();
    state->timer = state->executor.after(left, [weak = std::weak_ptr(state)] {
      const auto state = weak.lock();
      if (!state) return;
      state->timer.reset();
      if (!state->deadline) return;
      if (*state->deadline > state->executor.now()) return arm(state);
      state->deadline.reset();
      state->passed();
    });
  }
  std::shared_ptr<State> state_;
};

}  // namespace dure::wire
