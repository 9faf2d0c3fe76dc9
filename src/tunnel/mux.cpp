#include "tunnel/mux.h"

#include <atomic>
#include <map>
#include <mutex>

#include "tunnel/mux_core.h"

namespace dure::tunnel {
namespace {

class MuxStream;

// All state belongs to the connection's loop; calls from other threads are posted there.
class MuxOverStream final : public Mux {
 public:
  MuxOverStream(std::unique_ptr<wire::Stream> connection, bool dialled, Callbacks callbacks)
      : connection_(std::move(connection)),
        loop_(connection_->loop()),
        core_(dialled),
        callbacks_(std::move(callbacks)) {}

  void begin();
  Result<std::unique_ptr<wire::Stream>> open() override;
  void close() override;
  bool closed() const override { return closed_; }

  run::Loop& loop() { return loop_; }
  MuxCore& core() { return core_; }
  void forget(uint32_t id) { streams_.erase(id); }
  void flush();
  void deliver();
  // On the loop, now if already there.
  void on_loop(std::move_only_function<void()> work) {
    if (loop_.on_loop_thread())
      work();
    else
      loop_.post(std::move(work));
  }

 private:
  friend class MuxStream;
  void received(std::string_view bytes);
  void end(Error why);
  void beat();
  std::shared_ptr<MuxOverStream> self() { return std::static_pointer_cast<MuxOverStream>(shared_from_this()); }

  std::unique_ptr<wire::Stream> connection_;
  run::Loop& loop_;
  MuxCore core_;
  Callbacks callbacks_;
  std::map<uint32_t, std::weak_ptr<struct StreamState>> streams_;
  std::unique_ptr<run::Timer> timer_;
  Monotonic heard_{};
  uint32_t beats_ = 0;
  std::atomic<bool> closed_ = false;
};

// What a stream is; shared by its handle and the callbacks that run later.
struct StreamState : std::enable_shared_from_this<StreamState> {
  std::shared_ptr<MuxOverStream> mux;
  uint32_t id = 0;
  wire::Stream::Callbacks callbacks;
  std::string outgoing, incoming;  // incoming: while paused or not started
  std::atomic<size_t> unsent = 0;
  bool started = false, paused = false, finishing = false, ended = false, end_told = false, over = false;
  std::atomic<bool> dropped = false;  // the handle is gone: no callback

  void pump() {
    if (over) return;
    const size_t count = std::min(mux->core().credit(id), outgoing.size());
    if (count > 0) {
      mux->core().send(id, std::string_view(outgoing).substr(0, count));
      outgoing.erase(0, count);
      unsent = outgoing.size();
      mux->flush();
      if (outgoing.empty() && callbacks.on_drained && !dropped) callbacks.on_drained();
    }
    if (outgoing.empty() && finishing && !over) {
      mux->core().finish(id);
      mux->flush();
    }
  }

  void deliver() {
    const auto keep = shared_from_this();
    if (!started || paused || dropped) return;
    if (!incoming.empty()) {
      const std::string bytes = std::exchange(incoming, {});
      mux->core().consumed(id, bytes.size());
      mux->flush();
      if (callbacks.on_data) callbacks.on_data(bytes);
    }
    if (ended && !end_told && incoming.empty() && !paused && !dropped) {
      end_told = true;
      if (callbacks.on_end) callbacks.on_end();
      if (finishing && outgoing.empty()) close(Error{0, "Closed", "both directions ended"});
    }
  }

  void close(Error why) {
    if (over) return;
    over = true;
    const auto keep = shared_from_this();
    mux->forget(id);
    if (started && !dropped && callbacks.on_close) std::exchange(callbacks.on_close, nullptr)(std::move(why));
  }
};

class MuxStream final : public wire::Stream {
 public:
  explicit MuxStream(std::shared_ptr<StreamState> state) : state_(std::move(state)) {}

  ~MuxStream() override {
    state_->dropped = true;
    state_->mux->on_loop([state = state_] {
      if (!state->over) {
        state->over = true;
        state->mux->core().reset(state->id);
        state->mux->flush();
        state->mux->forget(state->id);
      }
      state->callbacks = {};
    });
  }

  void start(Callbacks callbacks) override {
    state_->mux->on_loop([state = state_, callbacks = std::move(callbacks)]() mutable {
      state->callbacks = std::move(callbacks);
      state->started = true;
      if (state->over && state->incoming.empty()) {
        if (!state->dropped && state->callbacks.on_close)
          state->callbacks.on_close(Error{502, "TunnelClosed", "the tunnel is gone"});
        return;
      }
      state->deliver();
    });
  }

  void write(SharedBytes bytes) override {
    state_->unsent += bytes.size();
    state_->mux->on_loop([state = state_, bytes = std::move(bytes)] {
      state->outgoing += bytes.view();
      state->unsent = state->outgoing.size();
      state->pump();
    });
  }

  size_t unsent() const override { return state_->unsent; }

  void pause(bool paused) override {
    state_->mux->on_loop([state = state_, paused] {
      state->paused = paused;
      state->deliver();
    });
  }

  void finish_writing() override {
    state_->mux->on_loop([state = state_] {
      state->finishing = true;
      state->pump();
      if (state->end_told && state->outgoing.empty()) state->close(Error{0, "Closed", "both directions ended"});
    });
  }

  void close() override {
    state_->mux->on_loop([state = state_] {
      if (state->over) return;
      state->mux->core().reset(state->id);
      state->mux->flush();
      state->close(Error{0, "Closed", "closed"});
    });
  }

  run::Loop& loop() override { return state_->mux->loop(); }

 private:
  std::shared_ptr<StreamState> state_;
};

void MuxOverStream::begin() {
  on_loop([me = self()] {
    me->heard_ = me->loop_.now();
    std::weak_ptr<MuxOverStream> weak = me;
    wire::Stream::Callbacks callbacks;
    callbacks.on_data = [weak](std::string_view bytes) {
      if (auto mux = weak.lock()) mux->received(bytes);
    };
    callbacks.on_end = [weak] {
      if (auto mux = weak.lock()) mux->end(Error{502, "TunnelClosed", "the peer closed the tunnel"});
    };
    callbacks.on_close = [weak](Error why) {
      if (auto mux = weak.lock()) mux->end(std::move(why));
    };
    me->connection_->start(std::move(callbacks));
    me->beat();
  });
}

void MuxOverStream::received(std::string_view bytes) {
  const auto keep = self();
  heard_ = loop_.now();
  Status fed = core_.feed(bytes);
  deliver();
  flush();
  if (!fed) end(std::move(fed.error()));
}

void MuxOverStream::deliver() {
  MuxCore::Event event;
  while (!closed_ && core_.next_event(event)) {
    if (event.kind == MuxCore::Event::Kind::opened) {
      auto state = std::make_shared<StreamState>();
      state->mux = self();
      state->id = event.stream;
      streams_[event.stream] = state;
      if (callbacks_.on_stream) callbacks_.on_stream(std::make_unique<MuxStream>(std::move(state)));
      continue;
    }
    const auto found = streams_.find(event.stream);
    const auto state = found == streams_.end() ? nullptr : found->second.lock();
    if (!state) continue;
    switch (event.kind) {
      case MuxCore::Event::Kind::data:
        state->incoming += event.data;
        state->deliver();
        break;
      case MuxCore::Event::Kind::finished:
        state->ended = true;
        state->deliver();
        break;
      case MuxCore::Event::Kind::reset:
        state->close(Error{502, "StreamReset", "the other side gave the stream up"});
        break;
      case MuxCore::Event::Kind::writable:
        state->pump();
        break;
      default:
        break;
    }
  }
}

void MuxOverStream::flush() {
  if (closed_) return;
  std::string bytes = core_.take_output();
  if (!bytes.empty()) connection_->write(SharedBytes(std::move(bytes)));
}

// Silence is not trusted: a half-open connection answers no ping.
void MuxOverStream::beat() {
  if (closed_) return;
  if (loop_.now() - heard_ > 3 * ping_interval)
    return end(Error{504, "TunnelSilent", "the peer has not answered for 15 s"});
  core_.ping(++beats_);
  flush();
  std::weak_ptr<MuxOverStream> weak = self();
  timer_ = loop_.after(ping_interval, [weak] {
    if (auto mux = weak.lock()) mux->beat();
  });
}

void MuxOverStream::end(Error why) {
  if (closed_.exchange(true)) return;
  const auto keep = self();
  timer_.reset();
  connection_->close();
  const auto streams = std::exchange(streams_, {});
  for (const auto& [id, weak] : streams)
    if (const auto state = weak.lock()) state->close(Error{502, "TunnelClosed", why.message});
  if (callbacks_.on_end) std::exchange(callbacks_.on_end, nullptr)(why);
  callbacks_ = {};
}

void MuxOverStream::close() {
  on_loop([me = self()] { me->end(Error{0, "Closed", "closed"}); });
}

Result<std::unique_ptr<wire::Stream>> MuxOverStream::open() {
  if (closed_) return fail(Error{502, "TunnelClosed", "the tunnel is gone"});
  auto state = std::make_shared<StreamState>();
  state->mux = self();
  on_loop([me = self(), state] {
    state->id = me->closed_ ? 0 : me->core_.open();
    if (state->id == 0) {
      state->over = true;
      if (state->started && !state->dropped && state->callbacks.on_close)
        state->callbacks.on_close(Error{502, "TunnelClosed", "no further stream fits the tunnel"});
      return;
    }
    me->streams_[state->id] = state;
    me->flush();
    state->pump();
  });
  return std::make_unique<MuxStream>(std::move(state));
}

}  // namespace

std::shared_ptr<Mux> Mux::start(std::unique_ptr<wire::Stream> connection, bool dialled, Callbacks callbacks) {
  auto mux = std::make_shared<MuxOverStream>(std::move(connection), dialled, std::move(callbacks));
  mux->begin();
  return mux;
}

}  // namespace dure::tunnel
