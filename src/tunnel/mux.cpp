#include "tunnel/mux.h"

#include <atomic>
#include <deque>
#include <map>
#include <mutex>

#include "tunnel/packet_queue.h"
#include "wire/out_queue.h"
#include "wire/stream_pipe.h"

namespace dure::tunnel {
namespace {

constexpr size_t kAheadMax = 128 << 10;  // bytes given to the connection before it asks for more
constexpr size_t kPieceBytes = 32 << 10;

struct StreamState;

// All state belongs to the connection's loop; calls from other threads are posted there.
class MuxOverStream final : public Mux {
 public:
  MuxOverStream(run::Loop& loop, bool dialled, Callbacks callbacks, Link::Limits limits)
      : loop_(loop),
        core_(dialled),
        callbacks_(std::make_shared<Callbacks>(std::move(callbacks))),
        link_(loop, dialled, limits) {}

  void begin(std::unique_ptr<wire::Stream> connection);
  Result<std::unique_ptr<wire::Stream>> open() override;
  void send_packets(std::string frames, size_t count) override;
  void hold(std::optional<uint64_t> peer_received, std::function<void(std::optional<uint64_t>)> then) override;
  void resume(std::unique_ptr<wire::Stream> connection, uint64_t peer_received) override;
  void drop(Error why) override;
  void suspect() override;
  void close() override;
  bool closed() const override { return closed_; }
  bool up() const override { return !closed_ && link_.up(); }
  bool alive() const override { return !closed_ && link_.alive(); }
  size_t held_bytes() const override { return held_; }
  run::Loop& loop() override { return loop_; }

  MuxCore& core() { return core_; }
  void forget(uint32_t id) { streams_.erase(id); }
  // The stream has something to send.
  void wants_turn(const std::shared_ptr<StreamState>& state);
  void pump();
  // On the loop, now if already there.
  void on_loop(std::move_only_function<void()> work) {
    if (loop_.on_loop_thread())
      work();
    else
      loop_.post(std::move(work));
  }

 private:
  void read();
  void deliver();
  void opened(uint32_t id);
  void event(const MuxCore::Event& event);
  bool stream_turn();
  bool packet_turn();
  void flush();
  void end(Error why);
  std::shared_ptr<MuxOverStream> self() { return std::static_pointer_cast<MuxOverStream>(shared_from_this()); }

  run::Loop& loop_;
  MuxCore core_;
  std::shared_ptr<const Callbacks> callbacks_;  // shared with a call that is running when the end comes
  std::map<uint32_t, std::weak_ptr<StreamState>> streams_;
  std::deque<std::shared_ptr<StreamState>> turns_;
  PacketQueue packets_;  // any thread
  Link link_;
  bool pumping_ = false, packets_wait_ = false;
  std::atomic<bool> closed_ = false;
  std::atomic<size_t> held_ = 0;
};

// What a stream is; shared by its handle and the callbacks that run later. The loop's, but for what is atomic.
struct StreamState : std::enable_shared_from_this<StreamState> {
  std::shared_ptr<MuxOverStream> mux;
  uint32_t id = 0;
  std::shared_ptr<wire::Stream::Callbacks> callbacks;  // shared with a call that is running; null: nobody listens
  wire::OutQueue outgoing;
  std::string incoming;  // while paused or not started
  std::atomic<size_t> unsent = 0;
  bool started = false, paused = false, finishing = false, ended = false, end_told = false, over = false;
  bool has_turn = false;
  std::atomic<bool> dropped = false;  // the handle is gone: no callback. Set under `calling` off the loop.
  std::mutex calling;                 // held while the outermost callback runs
  int depth = 0;

  // Runs one callback, unless the owner is gone. The owner may destroy the stream inside it.
  template <class Call>
  void call_out(Call call) {
    const auto keep = shared_from_this();
    const auto kept = callbacks;
    if (dropped || !kept) return;
    std::unique_lock lock(calling, std::defer_lock);
    if (depth == 0) lock.lock();
    if (dropped) return;
    ++depth;
    call(*kept);
    --depth;
  }

  bool can_send() const { return !over && !outgoing.empty() && mux->core().credit(id) > 0; }

  // One frame; true when there is more that may be sent now.
  bool send_frame() {
    const std::string_view front = outgoing.front();
    const size_t count = std::min({mux->core().credit(id), front.size(), MuxCore::frame_bytes_max});
    mux->core().send(id, front.substr(0, count));
    outgoing.pop(count);
    unsent -= count;
    if (!outgoing.empty()) return can_send();
    call_out([](auto& to) {
      if (to.on_drained) to.on_drained();
    });
    finish_when_sent();
    return can_send();
  }

  void finish_when_sent() {
    if (over || !finishing || !outgoing.empty()) return;
    mux->core().finish(id);
    if (end_told) close(Error{0, "Closed", "both directions ended"});
  }

  void received(std::string bytes) {
    if (over || dropped) return give_back(bytes.size());
    if (incoming.empty())
      incoming = std::move(bytes);
    else
      incoming += bytes;
    deliver();
  }
  void give_back(size_t bytes) { mux->core().consumed(id, bytes); }

  void deliver() {
    const auto keep = shared_from_this();
    if (!started || paused || dropped) return;
    if (!incoming.empty()) {
      const std::string bytes = std::exchange(incoming, {});
      give_back(bytes.size());
      call_out([&](auto& to) {
        if (to.on_data) to.on_data(bytes);
      });
    }
    if (!ended || end_told || !incoming.empty() || paused || dropped) return;
    end_told = true;
    call_out([](auto& to) {
      if (to.on_end) to.on_end();
    });
    if (finishing && outgoing.empty()) close(Error{0, "Closed", "both directions ended"});
  }

  void close(Error why) {
    if (over) return;
    const auto keep = shared_from_this();
    let_go();
    if (started) tell_closed(std::move(why));
  }
  void tell_closed(Error why) {
    call_out([&](auto& to) {
      if (to.on_close) std::exchange(to.on_close, nullptr)(std::move(why));
    });
  }
  void let_go() {
    over = true;
    mux->forget(id);
    give_back(std::exchange(incoming, {}).size());
    outgoing.clear();
    unsent = 0;
  }
  void reset() {
    if (over) return;
    mux->core().reset(id);
    let_go();
    mux->pump();
  }
};

class MuxStream final : public wire::Stream {
 public:
  explicit MuxStream(std::shared_ptr<StreamState> state) : state_(std::move(state)) {}

  ~MuxStream() override {
    silence();
    state_->mux->on_loop([state = state_] {
      state->reset();
      const auto callbacks = std::exchange(state->callbacks, nullptr);
    });
  }

  void start(Callbacks callbacks) override {
    state_->mux->on_loop([state = state_, callbacks = std::move(callbacks)]() mutable {
      state->callbacks = std::make_shared<Callbacks>(std::move(callbacks));
      state->started = true;
      if (state->over) return state->tell_closed(Error{502, "TunnelClosed", "the tunnel is gone"});
      state->deliver();
      state->mux->pump();
    });
  }

  void write(SharedBytes bytes) override {
    state_->unsent += bytes.size();
    state_->mux->on_loop([state = state_, bytes = std::move(bytes)]() mutable {
      if (state->over || state->finishing) {
        state->unsent -= std::min<size_t>(state->unsent, bytes.size());
        return;
      }
      state->outgoing.push(std::move(bytes));
      state->mux->wants_turn(state);
    });
  }

  size_t unsent() const override { return state_->unsent; }

  void pause(bool paused) override {
    state_->mux->on_loop([state = state_, paused] {
      state->paused = paused;
      state->deliver();
      state->mux->pump();
    });
  }

  void finish_writing() override {
    state_->mux->on_loop([state = state_] {
      state->finishing = true;
      state->finish_when_sent();
      state->mux->pump();
    });
  }

  void close() override {
    silence();
    state_->mux->on_loop([state = state_] { state->reset(); });
  }

  run::Loop& loop() override { return state_->mux->loop(); }

 private:
  // No callback follows; off the loop this waits for one that is running.
  void silence() {
    std::unique_lock lock(state_->calling, std::defer_lock);
    if (!state_->mux->loop().on_loop_thread()) lock.lock();
    state_->dropped = true;
  }
  std::shared_ptr<StreamState> state_;
};

void MuxOverStream::begin(std::unique_ptr<wire::Stream> connection) {
  on_loop([me = self(), connection = std::move(connection)]() mutable {
    Link::Callbacks callbacks;
    callbacks.on_payload = [me = me.get()](std::string_view bytes) { return me->core_.feed(bytes); };
    callbacks.on_read = [me = me.get()] { me->read(); };
    callbacks.on_room = [me = me.get()] { me->pump(); };
    callbacks.on_down = [me = me.get()](const Error& why) {
      const auto callbacks = me->callbacks_;
      if (callbacks && callbacks->on_down) callbacks->on_down(why);
    };
    callbacks.on_over = [me = me.get()](const Error& why) { me->end(why); };
    me->link_.start(me, std::move(callbacks));
    me->link_.attach(std::move(connection), 0);
  });
}

void MuxOverStream::read() {
  const auto keep = self();
  const MuxCore::Packets packets = core_.take_packets();
  const auto callbacks = callbacks_;
  if (!packets.empty() && callbacks && callbacks->on_packets) callbacks->on_packets(packets);
  deliver();
  pump();
}

void MuxOverStream::deliver() {
  MuxCore::Event event;
  while (!closed_ && core_.next_event(event)) {
    if (event.kind == MuxCore::Event::Kind::opened)
      opened(event.stream);
    else
      this->event(event);
  }
}

void MuxOverStream::opened(uint32_t id) {
  auto state = std::make_shared<StreamState>();
  state->mux = self();
  state->id = id;
  streams_[id] = state;
  auto stream = std::make_unique<MuxStream>(std::move(state));
  const auto callbacks = callbacks_;
  if (callbacks && callbacks->on_stream) callbacks->on_stream(std::move(stream));
}

void MuxOverStream::event(const MuxCore::Event& event) {
  const auto found = streams_.find(event.stream);
  const auto state = found == streams_.end() ? nullptr : found->second.lock();
  if (!state) {
    if (event.kind == MuxCore::Event::Kind::data) core_.consumed(event.stream, event.data.size());
    return;
  }
  switch (event.kind) {
    case MuxCore::Event::Kind::data:
      return state->received(event.data);
    case MuxCore::Event::Kind::finished:
      state->ended = true;
      return state->deliver();
    case MuxCore::Event::Kind::reset:
      return state->close(Error{502, "StreamReset", "the other side gave the stream up"});
    case MuxCore::Event::Kind::writable:
      return wants_turn(state);
    default:
      return;
  }
}

void MuxOverStream::wants_turn(const std::shared_ptr<StreamState>& state) {
  if (!state->has_turn && state->can_send()) {
    state->has_turn = true;
    turns_.push_back(state);
  }
  pump();
}

// Frames that are not data (windows, pongs, ends) go first and at once; they are small and few.
void MuxOverStream::pump() {
  if (pumping_ || closed_) return;
  const auto keep = self();
  pumping_ = true;
  bool more = true;
  while (more && !closed_ && core_.output_bytes() < kAheadMax && link_.room(kAheadMax - core_.output_bytes())) {
    more = stream_turn();
    more = packet_turn() || more;
    if (core_.output_bytes() >= kPieceBytes) flush();
  }
  flush();
  held_ = core_.held_bytes();
  pumping_ = false;
}

bool MuxOverStream::stream_turn() {
  if (turns_.empty()) return false;
  const auto state = std::move(turns_.front());
  turns_.pop_front();
  state->has_turn = false;
  if (state->can_send() && state->send_frame() && !state->has_turn) {
    state->has_turn = true;
    turns_.push_back(state);
  }
  return true;
}

bool MuxOverStream::packet_turn() {
  if (!packets_wait_) return false;
  std::string frames = packets_.pop();
  packets_wait_ = !frames.empty();
  if (!packets_wait_) return false;
  flush();
  link_.send_loose(frames);
  return true;
}

void MuxOverStream::flush() {
  if (closed_ || core_.output_bytes() == 0) return;
  link_.send(core_.take_output());
}

void MuxOverStream::send_packets(std::string frames, size_t count) {
  if (closed_ || !packets_.push(std::move(frames), count)) return;
  loop_.post([weak = std::weak_ptr(self())] {
    const auto me = weak.lock();
    if (!me) return;
    me->packets_wait_ = true;
    me->pump();
  });
}

void MuxOverStream::suspect() {
  on_loop([me = self()] { me->link_.suspect(); });
}

void MuxOverStream::drop(Error why) {
  on_loop([me = self(), why = std::move(why)]() mutable { me->link_.down(std::move(why)); });
}

void MuxOverStream::hold(std::optional<uint64_t> peer_received, std::function<void(std::optional<uint64_t>)> then) {
  on_loop([me = self(), peer_received, then = std::move(then)] {
    if (me->closed_ || (peer_received && !me->link_.can_resume(*peer_received))) return then(std::nullopt);
    me->link_.down(Error{502, "TunnelReplaced", "the peer made a new connection"});
    then(me->link_.received());
  });
}

void MuxOverStream::resume(std::unique_ptr<wire::Stream> connection, uint64_t peer_received) {
  on_loop([me = self(), connection = wire::rehome(std::move(connection), loop_), peer_received]() mutable {
    if (me->closed_) return;
    if (!me->link_.can_resume(peer_received))
      return me->end(Error{502, "MuxBroken", "the peer has records that were not sent"});
    me->link_.attach(std::move(connection), peer_received);
    me->pump();
  });
}

void MuxOverStream::end(Error why) {
  if (closed_.exchange(true)) return;
  const auto keep = self();
  link_.close();
  turns_.clear();
  const auto streams = std::exchange(streams_, {});
  for (const auto& [id, weak] : streams)
    if (const auto state = weak.lock()) state->close(Error{502, "TunnelClosed", why.message});
  const auto callbacks = std::exchange(callbacks_, nullptr);
  if (callbacks && callbacks->on_end) callbacks->on_end(why);
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
      return;
    }
    me->streams_[state->id] = state;
    me->pump();
  });
  return std::make_unique<MuxStream>(std::move(state));
}

}  // namespace

std::shared_ptr<Mux> Mux::start(std::unique_ptr<wire::Stream> connection, bool dialled, Callbacks callbacks,
                                Link::Limits limits) {
  run::Loop& loop = connection->loop();
  auto mux = std::make_shared<MuxOverStream>(loop, dialled, std::move(callbacks), limits);
  mux->begin(std::move(connection));
  return mux;
}

}  // namespace dure::tunnel
