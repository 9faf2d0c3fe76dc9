#include "run/virtual_executor.h"

#include <deque>
#include <vector>

#include "base/result.h"
#include "run/timer_queue.h"

namespace dure::run {
namespace {

class Lane;

// A piece that is ready: loose work, or "the next piece of that lane".
struct Ready {
  Work work;
  std::weak_ptr<std::deque<Work>> lane;
  bool from_lane = false;
};

}  // namespace

struct VirtualExecutor::State {
  std::mutex mutex;
  std::vector<Ready> ready;
  std::shared_ptr<TimerQueue> timers = std::make_shared<TimerQueue>();
  Monotonic now{1'000'000'000};
  WallTime wall;
  uint64_t random = 1;

  // splitmix64: small, and the same everywhere.
  uint64_t draw() {
    uint64_t z = (random += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  std::optional<Work> take() {
    std::lock_guard lock(mutex);
    while (!ready.empty()) {
      const size_t at = draw() % ready.size();
      Ready taken = std::move(ready[at]);
      ready[at] = std::move(ready.back());
      ready.pop_back();
      if (!taken.from_lane) return std::move(taken.work);
      const auto lane = taken.lane.lock();
      if (!lane || lane->empty()) continue;
      Work work = std::move(lane->front());
      lane->pop_front();
      return work;
    }
    return std::nullopt;
  }
  void move_to(Monotonic when) {
    if (when <= now) return;
    wall = wall + (when - now);
    now = when;
  }
  // Timers of the same moment become ready together, so that the seed decides among them.
  void take_due_timers() {
    while (auto work = timers->take_due(now)) {
      std::lock_guard lock(mutex);
      ready.push_back({std::move(*work), {}, false});
    }
  }
};

namespace {

class Lane final : public Executor {
 public:
  explicit Lane(std::shared_ptr<VirtualExecutor::State> state) : state_(std::move(state)) {}
  void post(Work work) override {
    std::lock_guard lock(state_->mutex);
    queue_->push_back(std::move(work));
    state_->ready.push_back({{}, queue_, true});
  }
  std::unique_ptr<Timer> after(Duration delay, Work work) override {
    return TimerQueue::add(state_->timers, state_->now + std::max(delay, Duration::zero()),
                           std::move(work));
  }
  Monotonic now() const override { return state_->now; }
  WallTime wall_now() const override { return state_->wall; }

 private:
  std::shared_ptr<VirtualExecutor::State> state_;
  std::shared_ptr<std::deque<Work>> queue_ = std::make_shared<std::deque<Work>>();
};

}  // namespace

VirtualExecutor::VirtualExecutor(uint64_t seed, WallTime start)
    : state_(std::make_shared<State>()) {
  state_->random = seed;
  state_->wall = start;
}
VirtualExecutor::~VirtualExecutor() {
  state_->timers->close();
  std::vector<Ready> dropped;
  std::lock_guard lock(state_->mutex);
  dropped.swap(state_->ready);
}

void VirtualExecutor::post(Work work) {
  std::lock_guard lock(state_->mutex);
  state_->ready.push_back({std::move(work), {}, false});
}
std::unique_ptr<Timer> VirtualExecutor::after(Duration delay, Work work) {
  return TimerQueue::add(state_->timers, state_->now + std::max(delay, Duration::zero()),
                         std::move(work));
}
Monotonic VirtualExecutor::now() const { return state_->now; }
WallTime VirtualExecutor::wall_now() const { return state_->wall; }
std::unique_ptr<Executor> VirtualExecutor::make_lane() { return std::make_unique<Lane>(state_); }

bool VirtualExecutor::run_one() {
  state_->take_due_timers();
  auto work = state_->take();
  if (!work) return false;
  (*work)();
  return true;
}
size_t VirtualExecutor::run_until_idle(size_t steps_max) {
  size_t steps = 0;
  while (run_one()) {
    ++steps;
    DURE_ASSERT(steps < steps_max);
  }
  return steps;
}
void VirtualExecutor::advance(Duration duration) {
  const Monotonic end = state_->now + duration;
  run_until_idle();
  for (auto next = state_->timers->next(); next && *next <= end; next = state_->timers->next()) {
    state_->move_to(*next);
    run_until_idle();
  }
  state_->move_to(end);
}
bool VirtualExecutor::advance_to_next() {
  run_until_idle();
  const auto next = state_->timers->next();
  if (!next) return false;
  state_->move_to(*next);
  run_until_idle();
  return true;
}
void VirtualExecutor::skew_wall(Duration offset) { state_->wall = state_->wall + offset; }
size_t VirtualExecutor::pending_timers() const { return state_->timers->size(); }
uint64_t VirtualExecutor::random() { return state_->draw(); }

}  // namespace dure::run
