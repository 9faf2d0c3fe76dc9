// A whole server session (HTTP/1.1 or HTTP/2 by its first bytes) fed from a stream that never touches the network:
// whatever comes, in whatever pieces and however slowly, it must neither crash nor leak, and every exchange and the
// session must find their end. The peer may also read slowly, stop writing (half close) or vanish.
#include <cstdlib>
#include <map>

#include "wire/session.h"

namespace {

using namespace dure;
using namespace dure::wire;

// One loop without a thread: posted work runs when told to, timers when time is told to pass.
class FuzzLoop final : public run::Loop {
 public:
  void post(run::Work work) override { work_.push_back(std::move(work)); }
  std::unique_ptr<run::Timer> after(Duration delay, run::Work work) override {
    const auto key = std::pair(now_ + delay, ++last_timer_);
    (*timers_)[key] = std::move(work);
    return std::make_unique<FuzzTimer>(timers_, key);
  }
  Monotonic now() const override { return now_; }
  WallTime wall_now() const override { return {}; }
  void run() override {
    while (!work_.empty()) {
      auto work = std::exchange(work_, {});
      for (auto& one : work) one();
    }
  }
  void pass(Duration time) {
    const Monotonic end = now_ + time;
    while (!timers_->empty() && timers_->begin()->first.first <= end) {
      now_ = std::max(now_, timers_->begin()->first.first);
      auto first = timers_->extract(timers_->begin());
      first.mapped()();
      run();
    }
    now_ = end;
  }
  void stop() override {}
  bool on_loop_thread() const override { return true; }
  std::unique_ptr<run::Readiness> watch(int) override { return nullptr; }

 private:
  using Key = std::pair<Monotonic, uint64_t>;
  using Timers = std::map<Key, run::Work>;
  struct FuzzTimer final : run::Timer {
    FuzzTimer(std::shared_ptr<Timers> timers, Key key) : timers(std::move(timers)), key(key) {}
    ~FuzzTimer() override { cancel(); }
    void cancel() override { const auto work = timers->extract(key); }
    const std::shared_ptr<Timers> timers;
    const Key key;
  };
  std::vector<run::Work> work_;
  const std::shared_ptr<Timers> timers_ = std::make_shared<Timers>();
  uint64_t last_timer_ = 0;
  Monotonic now_{1'000'000'000};
};

// A stream whose peer is the fuzzer; everything happens on the calling thread. It keeps the promises of Stream: silent
// while paused, on_end once, on_close last and once, when both directions are over or the peer vanished.
class FuzzStream final : public Stream {
 public:
  FuzzStream(FuzzLoop& loop, bool reads_slowly) : loop_(loop), reads_slowly_(reads_slowly) {}
  void start(Callbacks callbacks) override {
    callbacks_ = std::make_shared<Callbacks>(std::move(callbacks));
    look_again();
  }
  void write(SharedBytes bytes) override {
    if (callbacks_ && !finished_ && reads_slowly_) unsent_ += bytes.size();
  }
  size_t unsent() const override { return unsent_; }
  void pause(bool paused) override {
    if (!(paused_ = paused)) look_again();
  }
  void finish_writing() override {
    finished_ = true;
    look_again();
  }
  void close() override {
    callbacks_.reset();
    unsent_ = 0;
  }
  void hand_over(std::string unread) override {
    unread_ = unread + unread_;
    callbacks_.reset();
  }
  run::Loop& loop() override { return loop_; }

  void deliver(std::string_view bytes) {
    unread_ += bytes;
    look();
  }
  void take_all() {
    if (std::exchange(unsent_, 0) > 0)
      if (const auto callbacks = callbacks_; callbacks && callbacks->on_drained) callbacks->on_drained();
    look_again();
  }
  void half_close() {
    ended_ = true;
    look();
  }
  void vanish() {
    if (const auto callbacks = std::exchange(callbacks_, nullptr); callbacks && callbacks->on_close)
      callbacks->on_close(unavailable("reset by peer"));
  }
  std::weak_ptr<int> alive() const { return alive_; }

 private:
  void look_again() {
    loop_.post([this, alive = std::weak_ptr(alive_)] {
      if (alive.lock()) look();
    });
  }
  void look() {
    const std::weak_ptr<int> alive = alive_;
    if (!unread_.empty() && callbacks_ && !paused_) {
      const std::string bytes = std::exchange(unread_, {});
      if (const auto callbacks = callbacks_; callbacks->on_data) callbacks->on_data(bytes);
      if (alive.expired()) return;
    }
    if (ended_ && unread_.empty() && callbacks_ && !paused_ && !std::exchange(end_told_, true)) {
      if (const auto callbacks = callbacks_; callbacks->on_end) callbacks->on_end();
      if (alive.expired()) return;
    }
    if (end_told_ && finished_ && unsent_ == 0) vanish();
  }

  FuzzLoop& loop_;
  const bool reads_slowly_;
  std::shared_ptr<Callbacks> callbacks_;
  std::shared_ptr<int> alive_ = std::make_shared<int>();
  std::string unread_;
  size_t unsent_ = 0;
  bool paused_ = false, finished_ = false, ended_ = false, end_told_ = false;
};

// How the bytes come, from the first two of the input.
struct Manner {
  explicit Manner(uint8_t pieces, uint8_t flags)
      : step(size_t(pieces) + 1),
        http2(flags & 1),
        uneven(flags & 2),
        slow(flags & 4),
        reads_slowly(flags & 8),
        half_closes(flags & 16),
        vanishes(flags & 32),
        answers_late(flags & 64),
        reads_on(flags & 128) {}
  const size_t step;
  const bool http2, uneven, slow, reads_slowly, half_closes, vanishes, answers_late, reads_on;

  // Of this many bytes the next piece is made.
  size_t next() {
    if (!uneven) return step;
    chance_ = chance_ * 1103515245 + 12345;
    return (chance_ >> 16) % step + 1;
  }

 private:
  uint32_t chance_ = 1;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  Manner manner(data[0], data[1]);
  std::string bytes(reinterpret_cast<const char*>(data + 2), size - 2);
  // The preface is not worth the fuzzer's time.
  if (manner.http2) bytes.insert(0, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  FuzzLoop loop;
  std::vector<std::shared_ptr<Exchange>> late;
  auto host = std::make_shared<const SessionHost>(
      SessionHost{[&](std::shared_ptr<Exchange> exchange) {
                    const auto& target = exchange->request().target;
                    exchange->on_close([] {});
                    if (target.ends_with('s')) {
                      exchange->start(200, {});
                      exchange->on_drained([raw = exchange.get(), left = 3]() mutable {
                        if (left-- > 0) raw->write(SharedBytes(std::string("more")));
                      });
                      exchange->write(SharedBytes(std::string("stream")));
                      late.push_back(exchange);
                    } else if (target.ends_with('u')) {
                      const auto stream = exchange->upgrade({});
                    } else if (target.ends_with('a')) {
                      exchange->abort();
                    } else if (!target.ends_with('d')) {
                      exchange->respond(Response{.body = exchange->request().body});
                    }
                  },
                  {.body_bytes_max = 1000, .header_bytes_max = 2000}});
  auto stream = std::make_unique<FuzzStream>(loop, manner.reads_slowly);
  FuzzStream* raw = stream.get();
  const auto alive = raw->alive();
  auto session = make_guessing_session(std::move(stream), std::make_shared<Peer>(), host);
  bool over = false;
  const auto here = [&] { return !over && !alive.expired(); };
  session->over = [&] { over = true; };
  session->begin();
  for (size_t at = 0; at < bytes.size() && here();) {
    const size_t piece = manner.next();
    raw->deliver(std::string_view(bytes).substr(at, piece));
    at += piece;
    loop.run();
    if (manner.slow) loop.pass(7s);
    if (manner.reads_on && here()) {
      raw->take_all();
      loop.run();
    }
  }
  const auto answer = [&] {
    for (const auto& exchange : late) exchange->finish();
    loop.run();
  };
  if (!manner.answers_late) answer();
  if (manner.half_closes && here()) raw->half_close();
  loop.run();
  if (manner.answers_late) answer();
  if (manner.vanishes && here()) {
    raw->vanish();
    loop.run();
    if (here()) abort();  // nobody is there any more
  }
  // A peer that says and takes nothing more is put up with for a while only.
  loop.pass(24h);
  if (here()) abort();
  session.reset();
  late.clear();
  loop.run();
  return 0;
}
