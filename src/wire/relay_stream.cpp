#include "wire/relay_stream.h"

#include <mutex>
#include <optional>

#include "wire/socket_stream.h"

namespace dure::wire {
namespace {

// The stream below is started once and for all; what it says goes to whoever owns the relay now.
class RelayStream final : public Stream {
 public:
  explicit RelayStream(std::unique_ptr<Stream> below) : below_(std::move(below)), core_(std::make_shared<Core>()) {}
  ~RelayStream() override { core_->disown(); }

  void start(Callbacks callbacks) override {
    run::Loop& loop = below_->loop();
    if (!loop.on_loop_thread())
      return loop.post([this, core = core_, callbacks = std::move(callbacks)]() mutable {
        const std::lock_guard lock(core->mutex);
        if (!core->disowned) start(std::move(callbacks));
      });
    core_->callbacks = std::make_shared<Callbacks>(std::move(callbacks));
    if (!std::exchange(started_, true)) start_below();
    loop.post([core = core_] { core->catch_up(); });
    below_->pause(paused_);
  }
  void write(SharedBytes bytes) override { below_->write(std::move(bytes)); }
  size_t unsent() const override { return below_->unsent(); }
  void pause(bool paused) override { below_->pause(paused_ = paused); }
  void finish_writing() override { below_->finish_writing(); }
  void close() override {
    core_->disown();
    below_->close();
  }
  void hand_over(std::string unread) override {
    below_->pause(true);
    core_->unread = std::move(unread);
    core_->callbacks.reset();
  }
  run::Loop& loop() override { return below_->loop(); }

 private:
  // Used on the loop's thread. Callbacks are shared with the call that is running, which may replace them or end the
  // relay; one that is ended on another thread waits for the lock, which is held while a callback runs.
  struct Core {
    std::recursive_mutex mutex;
    bool disowned = false;  // closed or destroyed: nothing is said any more
    std::shared_ptr<Callbacks> callbacks;
    std::string unread;
    bool ended = false, end_reported = false;
    std::optional<Error> closed;

    void disown() {
      std::shared_ptr<Callbacks> last;  // what it captured may come back here
      const std::lock_guard lock(mutex);
      disowned = true;
      last.swap(callbacks);
    }
    void data(std::string_view bytes) {
      const std::lock_guard lock(mutex);
      if (disowned) return;
      if (!callbacks || !unread.empty()) {
        unread += bytes;
        return;
      }
      const auto keep = callbacks;
      if (keep->on_data) keep->on_data(bytes);
    }
    void drained() {
      const std::lock_guard lock(mutex);
      const auto keep = callbacks;
      if (keep && keep->on_drained) keep->on_drained();
    }
    void catch_up() {
      const std::lock_guard lock(mutex);
      if (!callbacks) return;
      if (!unread.empty()) {
        const std::string bytes = std::exchange(unread, {});
        data(bytes);
      }
      if (ended && callbacks && !std::exchange(end_reported, true)) {
        const auto keep = callbacks;
        if (keep->on_end) keep->on_end();
      }
      if (closed && callbacks) {
        const auto keep = std::exchange(callbacks, nullptr);
        if (keep->on_close) keep->on_close(*closed);
      }
    }
  };
  // The stream below may drop these while one runs: each holds the core itself.
  void start_below() {
    Callbacks callbacks;
    callbacks.on_data = [core = core_](std::string_view bytes) { std::shared_ptr(core)->data(bytes); };
    callbacks.on_end = [core = core_] {
      const auto self = core;
      self->ended = true;
      self->catch_up();
    };
    callbacks.on_close = [core = core_](Error why) {
      const auto self = core;
      self->closed = std::move(why);
      self->catch_up();
    };
    callbacks.on_drained = [core = core_] { std::shared_ptr(core)->drained(); };
    below_->start(std::move(callbacks));
  }

  const std::unique_ptr<Stream> below_;
  const std::shared_ptr<Core> core_;
  bool started_ = false, paused_ = false;
};

}  // namespace

std::unique_ptr<Stream> make_transferable(std::unique_ptr<Stream> stream) {
  if (dynamic_cast<SocketStream*>(stream.get()) || dynamic_cast<RelayStream*>(stream.get()))
    return stream;
  return std::make_unique<RelayStream>(std::move(stream));
}

}  // namespace dure::wire
