// VirtualExecutor: an Executor whose time moves only when told to, for tests and the simulator.
//
// One thread runs everything inside `run_until_idle`, `advance` and `run_one`. Work that is ready at the same virtual
// time is taken in an order drawn from the seed, so that one seed is one history. The executor itself behaves like a
// Pool: no order between the pieces. A lane behaves like one thread: its own pieces keep their order, lanes race each
// other. Posting from other threads is allowed (it is locked) but costs the reproducibility.
#pragma once

#include <cstdint>
#include <memory>

#include "run/loop.h"

namespace dure::run {

class VirtualExecutor : public Executor {
 public:
  explicit VirtualExecutor(uint64_t seed = 1, WallTime start = {1'700'000'000'000'000'000});
  ~VirtualExecutor() override;

  void post(Work work) override;
  [[nodiscard]] std::unique_ptr<Timer> after(Duration delay, Work work) override;
  Monotonic now() const override;
  WallTime wall_now() const override;

  // One more logical thread; lives as long as the caller keeps it and may outlive this executor's last step.
  [[nodiscard]] std::unique_ptr<Executor> make_lane();

  // Runs what is ready now, and what that makes ready, until nothing is; time stands still. Asserts after `steps_max`
  // steps (two pieces of work that post each other for ever). Returns the number of steps.
  size_t run_until_idle(size_t steps_max = 10'000'000);
  // Runs one ready piece of work; false when none is ready.
  bool run_one();
  // Moves time on, stopping at each timer that falls due on the way, and runs what becomes ready.
  void advance(Duration duration);
  // Moves to the next timer and runs it; false when there is none.
  bool advance_to_next();
  // Jumps the wall clock only (a clock that was set).
  void skew_wall(Duration offset);
  size_t pending_timers() const;
  uint64_t random();  // drawn from the same seed

  struct State;

 private:
  std::shared_ptr<State> state_;
};

}  // namespace dure::run
