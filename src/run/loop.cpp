#include "run/loop.h"

#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <future>
#include <mutex>
#include <thread>
#include <vector>

#include "base/result.h"
#include "run/timer_queue.h"

namespace dure::run {
namespace {

namespace asio = boost::asio;

// Posted work and timers live in tables of our own, so that a post costs one lock and, only when
// the table was empty, one wake-up; and a timer may be cancelled from any thread.
class AsioLoop final : public Loop {
 public:
  explicit AsioLoop(std::string name) : name_(std::move(name)), guard_(asio::make_work_guard(io_)) {
    // Writing to a closed connection must be an error of the call, not the end of the process.
    signal(SIGPIPE, SIG_IGN);
    timers_->wake = [this] { arm_from_any_thread(); };
  }
  ~AsioLoop() override {
    timers_->close();
    // What dropped work captured may post once more when it is destroyed.
    for (std::vector<Work> dropped;; dropped.clear()) {
      std::lock_guard lock(mutex_);
      dropped.swap(posted_);
      drain_scheduled_ = true;
      if (dropped.empty()) break;
    }
  }

  void post(Work work) override {
    {
      std::lock_guard lock(mutex_);
      posted_.push_back(std::move(work));
      if (drain_scheduled_) return;
      drain_scheduled_ = true;
    }
    asio::post(io_, [this] { drain(); });
  }
  std::unique_ptr<Timer> after(Duration delay, Work work) override {
    return TimerQueue::add(timers_, now() + std::max(delay, Duration::zero()), std::move(work));
  }
  Monotonic now() const override { return monotonic_now(); }
  WallTime wall_now() const override { return system_wall_now(); }

  void run() override {
    thread_ = std::this_thread::get_id();
    pthread_setname_np(pthread_self(), name_.substr(0, 15).c_str());
    io_.run();
    thread_ = std::thread::id();
  }
  void stop() override { io_.stop(); }
  bool on_loop_thread() const override { return thread_.load() == std::this_thread::get_id(); }
  std::unique_ptr<Readiness> watch(int fd) override;

 private:
  void drain() {
    {
      std::lock_guard lock(mutex_);
      running_.swap(posted_);
      drain_scheduled_ = false;
    }
    for (auto& work : running_) {
      auto taken = std::move(work);
      taken();
    }
    running_.clear();
    if (running_.capacity() > 1024) running_.shrink_to_fit();
  }
  void arm_from_any_thread() {
    if (on_loop_thread()) return arm();
    asio::post(io_, [this] { arm(); });
  }
  void arm() {
    const auto next = timers_->next();
    if (!next || (armed_ && *armed_ <= *next)) return;
    armed_ = next;
    timer_.expires_at(
        std::chrono::steady_clock::time_point(std::chrono::nanoseconds(next->nanoseconds)));
    timer_.async_wait([this](const boost::system::error_code& error) {
      if (error) return;
      armed_.reset();
      while (auto work = timers_->take_due(now())) (*work)();
      arm();
    });
  }

  const std::string name_;
  asio::io_context io_{1};
  asio::executor_work_guard<asio::io_context::executor_type> guard_;
  asio::steady_timer timer_{io_};
  std::optional<Monotonic> armed_;  // loop thread only
  std::shared_ptr<TimerQueue> timers_ = std::make_shared<TimerQueue>();
  std::atomic<std::thread::id> thread_{};
  std::mutex mutex_;
  std::vector<Work> posted_, running_;
  bool drain_scheduled_ = false;
};

class AsioReadiness final : public Readiness {
 public:
  AsioReadiness(asio::io_context& io, int fd) : state_(std::make_shared<State>(io)) {
    boost::system::error_code error;
    state_->descriptor.assign(fd, error);
    DURE_ASSERT(!error);
  }
  ~AsioReadiness() override {
    state_->on_readable = nullptr;
    state_->on_writable = nullptr;
    state_->descriptor.release();  // the owner closes it
  }
  void on_readable(Work work) override {
    arm<asio::posix::descriptor_base::wait_read>(&State::on_readable, std::move(work));
  }
  void on_writable(Work work) override {
    arm<asio::posix::descriptor_base::wait_write>(&State::on_writable, std::move(work));
  }

 private:
  struct State {
    explicit State(asio::io_context& io) : descriptor(io) {}
    asio::posix::stream_descriptor descriptor;
    Work on_readable, on_writable;
  };
  template <asio::posix::descriptor_base::wait_type type>
  void arm(Work State::* slot, Work work) {
    const bool armed = bool((*state_).*slot);
    (*state_).*slot = std::move(work);
    if (armed) return;  // the wait that is under way runs the new work
    state_->descriptor.async_wait(type, [state = state_, slot](const boost::system::error_code&) {
      auto taken = std::exchange((*state).*slot, nullptr);
      if (taken) taken();
    });
  }
  std::shared_ptr<State> state_;
};

std::unique_ptr<Readiness> AsioLoop::watch(int fd) {
  return std::make_unique<AsioReadiness>(io_, fd);
}

}  // namespace

std::unique_ptr<Loop> Loop::create(std::string name) {
  return std::make_unique<AsioLoop>(std::move(name));
}

struct LoopThread::State {
  std::unique_ptr<Loop> loop;
  std::thread thread;
};

LoopThread::LoopThread(std::string name) : state_(std::make_unique<State>()) {
  state_->loop = Loop::create(std::move(name));
  // The thread id is known before the constructor returns, because `on_loop_thread` may be asked at
  // once.
  std::promise<void> promise;
  const auto running = promise.get_future();
  state_->loop->post([promise = std::move(promise)]() mutable { promise.set_value(); });
  state_->thread = std::thread([loop = state_->loop.get()] { loop->run(); });
  running.wait();
}
LoopThread::~LoopThread() {
  state_->loop->stop();
  state_->thread.join();
}
Loop& LoopThread::loop() { return *state_->loop; }

}  // namespace dure::run
