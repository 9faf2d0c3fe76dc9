#include "wire/stream_pipe.h"

#include <atomic>
#include <mutex>

namespace dure::wire {
namespace {

constexpr size_t in_between_bytes_max = 256 << 10;
constexpr Duration farewell_timeout = 30s;

class RehomedStream final : public Stream {
 public:
  RehomedStream(std::unique_ptr<Stream> below, run::Loop& loop)
      : below_(std::move(below)), core_(std::make_shared<Core>(loop)) {
    core_->below = below_.get();
  }
  ~RehomedStream() override {
    if (below_) silence();
  }
  void start(Callbacks callbacks) override {
    core_->callbacks = std::move(callbacks);
    Callbacks below;
    below.on_data = [core = core_](std::string_view bytes) {
      const size_t size = bytes.size();
      // Pausing happens on the thread of the stream below, where it takes effect before the next
      // bytes.
      if ((core->in_transit += size) > in_between_bytes_max) core->set_paused_by_us(true);
      core->post([text = std::string(bytes), size](Core& core) {
        if (core.callbacks.on_data) core.callbacks.on_data(text);
        if ((core.in_transit -= size) <= in_between_bytes_max / 2) core.set_paused_by_us(false);
      });
    };
    below.on_end = [core = core_] {
      core->post([](Core& core) {
        if (core.callbacks.on_end) core.callbacks.on_end();
      });
    };
    below.on_close = [core = core_](Error why) {
      core->post([why = std::move(why)](Core& core) mutable {
        if (core.callbacks.on_close) core.callbacks.on_close(std::move(why));
      });
    };
    below.on_drained = [core = core_] {
      core->post([](Core& core) {
        if (core.callbacks.on_drained) core.callbacks.on_drained();
      });
    };
    below_->start(std::move(below));
  }
  void write(SharedBytes bytes) override { below_->write(std::move(bytes)); }
  size_t unsent() const override { return below_->unsent(); }
  void pause(bool paused) override { core_->set_paused_by_owner(paused); }
  void finish_writing() override { below_->finish_writing(); }
  void close() override {
    silence();
    below_->close();
  }
  run::Loop& loop() override { return core_->loop; }
  // The stream on its own loop, with callbacks that reach nobody any more.
  std::unique_ptr<Stream> release() {
    silence();
    return std::move(below_);
  }

 private:
  struct Core : std::enable_shared_from_this<Core> {
    explicit Core(run::Loop& loop) : loop(loop) {}
    run::Loop& loop;
    Callbacks callbacks;  // loop thread after start
    std::atomic<size_t> in_transit = 0;
    std::mutex
        running;  // held while a callback runs; off the loop the owner's farewell waits for it
    std::atomic<bool> dead = false;
    std::mutex pausing;
    Stream* below = nullptr;  // under pausing; null once the owner let go
    bool by_us = false, by_owner = false;

    template <class Call>
    void post(Call call) {
      loop.post([self = shared_from_this(), call = std::move(call)]() mutable {
        if (self->dead) return;
        std::lock_guard lock(self->running);
        if (!self->dead) call(*self);
      });
    }
    void set_paused_by_us(bool paused) {
      std::lock_guard lock(pausing);
      by_us = paused;
      if (below) below->pause(by_us || by_owner);
    }
    void set_paused_by_owner(bool paused) {
      std::lock_guard lock(pausing);
      by_owner = paused;
      if (below) below->pause(by_us || by_owner);
    }
  };
  void silence() {
    {
      std::unique_lock lock(core_->running, std::defer_lock);
      if (!core_->loop.on_loop_thread()) lock.lock();
      core_->dead = true;
    }
    std::lock_guard lock(core_->pausing);
    core_->below = nullptr;
    // What the callbacks hold goes on the loop, after one that may be running.
    core_->loop.post(
        [core = core_] { const auto callbacks = std::exchange(core->callbacks, Callbacks{}); });
  }

  std::unique_ptr<Stream> below_;
  const std::shared_ptr<Core> core_;
};

constexpr Duration as_long_as_the_loop = std::chrono::years(100);

// Its loop owns it (as work that waits), until both streams are over: a loop that ends takes it along. Between two
// loops it owns itself instead, because at the end of one the other may be gone already.
class Pipe final : public std::enable_shared_from_this<Pipe> {
 public:
  Pipe(std::unique_ptr<Stream> a, std::unique_ptr<Stream> b, std::move_only_function<void()> done)
      : done_(std::move(done)) {
    sides_[0].stream = std::move(a);
    sides_[1].stream = std::move(b);
  }
  void begin(bool between_loops) {
    if (between_loops)
      self_ = shared_from_this();
    else
      keep_ = sides_[0].stream->loop().after(as_long_as_the_loop, [self = shared_from_this()] {});
    for (int i = 0; i < 2; ++i) start_side(i);
  }

 private:
  struct Side {
    std::unique_ptr<Stream> stream;
    bool over = false, paused = false;
  };
  // The pipe is there while its streams are: it owns them.
  void start_side(int i) {
    Stream::Callbacks callbacks;
    callbacks.on_data = [this, i](std::string_view bytes) { on_data(i, bytes); };
    callbacks.on_end = [this, i] {
      if (Side& other = sides_[1 - i]; !other.over) other.stream->finish_writing();
    };
    callbacks.on_close = [this, i](Error) { on_close(i); };
    callbacks.on_drained = [this, i] { on_drained(i); };
    sides_[i].stream->start(std::move(callbacks));
  }
  void on_data(int i, std::string_view bytes) {
    Side &from = sides_[i], &to = sides_[1 - i];
    if (to.over) return;
    to.stream->write(SharedBytes(std::string(bytes)));
    if (to.stream->unsent() > in_between_bytes_max && !from.paused)
      from.stream->pause(from.paused = true);
  }
  void on_drained(int i) {
    Side &drained = sides_[i], &source = sides_[1 - i];
    if (source.over) return end(drained);
    if (source.paused) source.stream->pause(source.paused = false);
  }
  void on_close(int i) {
    sides_[i].over = true;
    Side& other = sides_[1 - i];
    if (other.over) return finish();
    if (other.stream->unsent() == 0) return end(other);
    // What one side said last is still on its way to the other.
    other.stream->finish_writing();
    farewell_ = other.stream->loop().after(farewell_timeout, [weak = weak_from_this(), &other] {
      if (const auto self = weak.lock()) self->end(other);
    });
  }
  void end(Side& side) {
    if (std::exchange(side.over, true)) return;
    side.stream->close();
    finish();
  }
  void finish() {
    if (std::exchange(finished_, true)) return;
    // Outside of any callback.
    run::Loop& loop = sides_[0].stream->loop();
    loop.post([self = shared_from_this()] {
      self->self_.reset();
      self->keep_.reset();
      self->farewell_.reset();
      for (Side& side : self->sides_) side.stream.reset();
      if (self->done_) std::exchange(self->done_, nullptr)();
    });
  }

  Side sides_[2];
  std::unique_ptr<run::Timer> farewell_, keep_;
  std::shared_ptr<Pipe> self_;
  std::move_only_function<void()> done_;
  bool finished_ = false;
};

}  // namespace

namespace {

constexpr Duration goodbye_step = 50ms;

void wait_until_sent(run::Loop& loop, std::shared_ptr<Stream> stream, int steps_left) {
  if (stream->unsent() == 0 && steps_left < 40)
    return;  // a step after the last byte left, so that it is not reset on its way
  if (steps_left == 0) return;
  auto holder = std::make_shared<std::unique_ptr<run::Timer>>();
  *holder =
      loop.after(goodbye_step, [&loop, stream = std::move(stream), steps_left, holder]() mutable {
        loop.post([holder = std::move(holder)] { holder->reset(); });
        wait_until_sent(loop, std::move(stream), steps_left - 1);
      });
}

}  // namespace

void farewell(std::unique_ptr<Stream> stream) {
  if (auto* rehomed = dynamic_cast<RehomedStream*>(stream.get())) stream = rehomed->release();
  stream->finish_writing();
  stream->pause(false);
  run::Loop& loop = stream->loop();
  loop.post([&loop, shared = std::shared_ptr<Stream>(std::move(stream))]() mutable {
    wait_until_sent(loop, std::move(shared), 40);
  });
}

std::unique_ptr<Stream> rehome(std::unique_ptr<Stream> stream, run::Loop& loop) {
  if (&stream->loop() == &loop) return stream;
  return std::make_unique<RehomedStream>(std::move(stream), loop);
}

void pipe_streams(std::unique_ptr<Stream> a, std::unique_ptr<Stream> b,
                  std::move_only_function<void()> done) {
  run::Loop& loop = a->loop();
  const bool between_loops = &loop != &b->loop();
  auto pipe = std::make_shared<Pipe>(std::move(a), rehome(std::move(b), loop), std::move(done));
  if (loop.on_loop_thread()) return pipe->begin(between_loops);
  loop.post([pipe, between_loops] { pipe->begin(between_loops); });
}

}  // namespace dure::wire
