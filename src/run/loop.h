// Executor and Loop: where work runs and when.
//
// Executor is all that most rooms know: `post` work, `after` a time, and the two clocks. Real processes use Loop (one
// thread, Boost.Asio readiness inside) and Pool (a few threads for work that blocks); the simulator passes an
// executor with a virtual clock that runs everything on one thread in a seeded order.
//
// There are no coroutines in the house: idle connections and watches are entries in tables, and code that has to wait
// for a disk or a container runtime runs on a Pool thread and simply blocks (docs/decisions/0001).
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/time.h"

namespace dure::run {

using Work = std::move_only_function<void()>;

// A pending timer; destroying or cancelling it drops the work unless it already started. Thread: any.
class Timer {
 public:
  virtual ~Timer() = default;
  virtual void cancel() = 0;
};

class Executor {
 public:
  virtual ~Executor() = default;
  // Thread: any. A Loop keeps the order per calling thread; a Pool starts in that order but runs pieces side by side.
  virtual void post(Work work) = 0;
  [[nodiscard]] virtual std::unique_ptr<Timer> after(Duration delay, Work work) = 0;  // thread: any
  virtual Monotonic now() const = 0;
  virtual WallTime wall_now() const = 0;
};

// Interest in one file descriptor; the Loop does not own the descriptor. Thread: the loop's.
class Readiness {
 public:
  virtual ~Readiness() = default;
  // One-shot: the callback runs once when the descriptor is readable (writable) or in error; arm again for more.
  virtual void on_readable(Work work) = 0;
  virtual void on_writable(Work work) = 0;
};

class Loop : public Executor {
 public:
  static std::unique_ptr<Loop> create(std::string name);
  // Runs on the calling thread until `stop`. Thread: one.
  virtual void run() = 0;
  virtual void stop() = 0;  // thread: any
  virtual bool on_loop_thread() const = 0;
  virtual std::unique_ptr<Readiness> watch(int fd) = 0;
};

// A fixed number of threads; overflow act: `post` queues without limit only because every caller is itself bounded
// (one entry per key of a Queue). Destruction waits for running work and drops the rest.
std::unique_ptr<Executor> make_pool(std::string name, int threads);

// Runs a Loop on a thread of its own; stops and joins when destroyed.
class LoopThread {
 public:
  explicit LoopThread(std::string name);
  ~LoopThread();
  Loop& loop();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dure::run
