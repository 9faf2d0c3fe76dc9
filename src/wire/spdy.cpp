#include "wire/spdy.h"

#include <map>

#include "wire/spdy_frames.h"
#include "wire/stream_pipe.h"

namespace dure::wire {
namespace {

constexpr size_t streams_max = 4096;
constexpr size_t unclaimed_bytes_max =
    1 << 20;  // for a stream that nobody started yet; then the connection pauses

class SpdyConnection;

// Shared by the connection and the SpdyStream that its owner holds.
struct StreamState {
  uint32_t id = 0;
  Headers headers;
  std::shared_ptr<Stream::Callbacks>
      callbacks;      // shared with the call that runs, which may drop it
  std::string early;  // before start
  bool started = false, owned = true, paused = false;
  bool ended = false, end_told = false, finished = false, over = false;
  std::optional<Error> error;  // why it is over, until told
};
using StatePointer = std::shared_ptr<StreamState>;

class SpdyConnection final : public SpdySink, public std::enable_shared_from_this<SpdyConnection> {
 public:
  SpdyConnection(std::unique_ptr<Stream> stream, Spdy::Role role, Spdy::Callbacks callbacks)
      : loop_(stream->loop()),
        stream_(std::move(stream)),
        callbacks_(std::move(callbacks)),
        next_id_(role == Spdy::Role::client ? 1 : 2),
        own_parity_(role == Spdy::Role::client ? 1 : 0) {}

  void begin() {
    // Weakly: the stream may outlive this object by a farewell.
    Stream::Callbacks callbacks;
    callbacks.on_data = [weak = weak_from_this()](std::string_view bytes) {
      const auto self = weak.lock();
      if (!self || self->over_) return;
      if (auto fed = self->reader_.feed(bytes, *self); !fed) self->close(std::move(fed).error());
    };
    callbacks.on_end = [weak = weak_from_this()] {
      if (const auto self = weak.lock())
        self->close(Error{.code = 503,
                          .reason = "EndOfStream",
                          .message = "the peer closed the SPDY connection"});
    };
    callbacks.on_close = [weak = weak_from_this()](Error why) {
      if (const auto self = weak.lock()) self->close(std::move(why));
    };
    callbacks.on_drained = [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->drained();
    };
    stream_->start(std::move(callbacks));
  }
  StatePointer open(const Headers& headers) {
    if (over_ || going_away_) return nullptr;
    auto state = std::make_shared<StreamState>();
    state->id = next_id_;
    state->headers = headers;
    next_id_ += 2;
    streams_[state->id] = state;
    send(writer_.syn_stream(state->id, headers));
    return state;
  }
  void start(const StatePointer& state, Stream::Callbacks callbacks) {
    state->callbacks = std::make_shared<Stream::Callbacks>(std::move(callbacks));
    state->started = true;
    look_at_pauses();
    loop_.post([weak = weak_from_this(), state] {
      if (const auto self = weak.lock()) self->catch_up(state);
    });
  }
  void write(const StatePointer& state, SharedBytes bytes) {
    if (over_ || state->over || state->finished || bytes.empty()) return;
    for (size_t at = 0; at < bytes.size(); at += spdy_data_bytes_max) {
      const auto part = bytes.slice(at, spdy_data_bytes_max);
      std::string head = SpdyWriter::data_head(state->id, part.size(), false);
      if (part.size() < (16 << 10)) {
        send(std::move(head.append(part.view())));
      } else {
        send(std::move(head));
        stream_->write(part);
      }
    }
  }
  void finish(const StatePointer& state) {
    if (over_ || state->over || state->finished) return;
    state->finished = true;
    send(SpdyWriter::data_head(state->id, 0, true));
    if (state->ended) settle(state, end_of_stream());
  }
  void pause(const StatePointer& state, bool paused) {
    state->paused = paused;
    look_at_pauses();
    if (!paused) catch_up(state);
  }
  // The owner let go: silence, and the peer hears a reset unless both sides were done.
  void let_go(const StatePointer& state) {
    state->owned = false;
    const auto callbacks = std::exchange(state->callbacks, nullptr);
    if (!state->over) {
      state->over = true;
      if (!over_) send(SpdyWriter::rst_stream(state->id, SpdyStatus::cancel));
    }
    streams_.erase(state->id);
    if (!over_) look_at_pauses();
  }
  // The Spdy object is destroyed.
  void silence() {
    callbacks_ = {};
    if (over_) return;
    over_ = true;
    for (auto& [id, state] : std::exchange(streams_, {})) {
      state->over = true;
      const auto callbacks = std::exchange(state->callbacks, nullptr);
    }
    stream_->write(SharedBytes(SpdyWriter::goaway(last_peer_id_)));
    farewell(std::move(stream_));
  }
  void pause_all(bool paused) {
    paused_by_owner_ = paused;
    look_at_pauses();
  }
  size_t unsent() const { return over_ ? 0 : stream_->unsent(); }
  size_t streams() const { return streams_.size(); }
  std::unique_ptr<SpdyStream> wrap(const StatePointer& state);
  run::Loop& loop() { return loop_; }

 private:
  static Error end_of_stream() {
    return Error{.code = 503, .reason = "EndOfStream", .message = "both sides finished"};
  }
  StatePointer find(uint32_t id) const {
    const auto at = streams_.find(id);
    return at == streams_.end() ? nullptr : at->second;
  }
  void send(std::string bytes) { stream_->write(SharedBytes(std::move(bytes))); }

  void on_syn_stream(uint32_t id, bool fin, Headers headers) override {
    if (over_) return;
    const bool valid = id != 0 && (id & 1) != own_parity_ && id > last_peer_id_;
    if (!valid)
      return close(Error{
          .code = 502, .reason = "SpdyProtocolError", .message = "SPDY: stream id out of order"});
    last_peer_id_ = id;
    if (streams_.size() >= streams_max || !callbacks_.on_stream)
      return send(SpdyWriter::rst_stream(id, SpdyStatus::refused_stream));
    auto state = std::make_shared<StreamState>();
    state->id = id;
    state->headers = std::move(headers);
    state->ended = fin;
    streams_[id] = state;
    send(writer_.syn_reply(id, {}));
    callbacks_.on_stream(wrap(state));
  }
  void on_syn_reply(uint32_t id, bool fin, Headers) override {
    if (fin) on_fin(id);
  }
  void on_headers(uint32_t id, bool fin, Headers) override {
    if (fin) on_fin(id);
  }
  void on_data(uint32_t id, std::string_view bytes) override {
    if (over_) return;
    const auto state = find(id);
    if (!state || state->ended) return;
    if (!state->started || !state->early.empty() || state->paused) {
      state->early += bytes;
      return look_at_pauses();
    }
    deliver(state, bytes);
  }
  void on_fin(uint32_t id) override {
    const auto state = find(id);
    if (!state || over_) return;
    state->ended = true;
    catch_up(state);
  }
  void on_reset(uint32_t id, uint32_t status) override {
    if (const auto state = find(id); state && !over_)
      settle(state,
             Error{.code = 503,
                   .reason = "StreamReset",
                   .message = "the peer reset the stream (status " + std::to_string(status) + ")"});
  }
  void on_ping(uint32_t id) override {
    if (!over_ && (id & 1) != own_parity_) send(SpdyWriter::ping(id));
  }
  void on_goaway(uint32_t) override { going_away_ = true; }

  // A callback may destroy its own stream: what runs is held while it runs.
  template <class Call>
  void call(const StatePointer& state, Call run) {
    const auto keep = shared_from_this();
    if (const auto callbacks = state->callbacks) run(*callbacks);
  }
  void deliver(const StatePointer& state, std::string_view bytes) {
    call(state, [&](Stream::Callbacks& callbacks) {
      if (callbacks.on_data) callbacks.on_data(bytes);
    });
  }
  void catch_up(const StatePointer& state) {
    if (!state->started || !state->owned || state->paused) return;
    if (!state->early.empty()) {
      const std::string early = std::exchange(state->early, {});
      deliver(state, early);
      look_at_pauses();
    }
    if (!state->owned || state->paused || !state->early.empty()) return;
    if (state->ended && !std::exchange(state->end_told, true))
      call(state, [](Stream::Callbacks& callbacks) {
        if (callbacks.on_end) callbacks.on_end();
      });
    if (state->ended && state->finished && !state->over) return settle(state, end_of_stream());
    tell_over(state);
  }
  void settle(const StatePointer& state, Error why) {
    if (state->over) return;
    state->over = true;
    state->error = std::move(why);
    streams_.erase(state->id);
    if (!over_) look_at_pauses();
    catch_up(state);
  }
  void tell_over(const StatePointer& state) {
    if (!state->error || !state->owned) return;
    const Error why = *std::exchange(state->error, std::nullopt);
    call(state, [&](Stream::Callbacks& callbacks) {
      if (callbacks.on_close) callbacks.on_close(why);
    });
  }
  void drained() {
    const auto keep = shared_from_this();
    std::vector<StatePointer> all;
    for (const auto& [id, state] : streams_) all.push_back(state);
    for (const auto& state : all)
      call(state, [](Stream::Callbacks& callbacks) {
        if (callbacks.on_drained) callbacks.on_drained();
      });
  }
  void look_at_pauses() {
    if (over_) return;
    bool wanted = paused_by_owner_;
    for (const auto& [id, state] : streams_)
      wanted |= state->paused || state->early.size() > unclaimed_bytes_max;
    if (wanted != paused_) stream_->pause(paused_ = wanted);
  }
  void close(Error why) {
    const auto keep = shared_from_this();
    if (std::exchange(over_, true)) return;
    stream_->close();
    for (auto& [id, state] : std::exchange(streams_, {})) settle(state, why);
    const auto on_close = std::exchange(callbacks_.on_close, nullptr);
    if (on_close) on_close(std::move(why));
  }
  run::Loop& loop_;
  std::unique_ptr<Stream> stream_;  // null after a farewell
  Spdy::Callbacks callbacks_;
  SpdyReader reader_;
  SpdyWriter writer_;
  std::map<uint32_t, StatePointer> streams_;
  uint32_t next_id_, last_peer_id_ = 0;
  const uint32_t own_parity_;
  bool over_ = false, going_away_ = false, paused_ = false, paused_by_owner_ = false;
};

class OwnedStream final : public SpdyStream {
 public:
  OwnedStream(std::shared_ptr<SpdyConnection> connection, StatePointer state)
      : connection_(std::move(connection)), state_(std::move(state)) {}
  ~OwnedStream() override { connection_->let_go(state_); }
  uint32_t id() const override { return state_->id; }
  const Headers& headers() const override { return state_->headers; }
  void start(Callbacks callbacks) override { connection_->start(state_, std::move(callbacks)); }
  void write(SharedBytes bytes) override { connection_->write(state_, std::move(bytes)); }
  size_t unsent() const override { return connection_->unsent(); }
  void pause(bool paused) override { connection_->pause(state_, paused); }
  void finish_writing() override { connection_->finish(state_); }
  void close() override { connection_->let_go(state_); }
  void reset() override { connection_->let_go(state_); }
  run::Loop& loop() override { return connection_->loop(); }

 private:
  const std::shared_ptr<SpdyConnection> connection_;
  const StatePointer state_;
};

std::unique_ptr<SpdyStream> SpdyConnection::wrap(const StatePointer& state) {
  return std::make_unique<OwnedStream>(shared_from_this(), state);
}

class OwnedSpdy final : public Spdy {
 public:
  explicit OwnedSpdy(std::shared_ptr<SpdyConnection> connection)
      : connection_(std::move(connection)) {}
  ~OwnedSpdy() override { connection_->silence(); }
  std::unique_ptr<SpdyStream> open(const Headers& headers) override {
    auto state = connection_->open(headers);
    return state ? connection_->wrap(state) : nullptr;
  }
  void pause(bool paused) override { connection_->pause_all(paused); }
  size_t unsent() const override { return connection_->unsent(); }
  size_t streams() const override { return connection_->streams(); }

 private:
  const std::shared_ptr<SpdyConnection> connection_;
};

}  // namespace

std::unique_ptr<Spdy> Spdy::create(std::unique_ptr<Stream> stream, Role role, Callbacks callbacks) {
  auto connection = std::make_shared<SpdyConnection>(std::move(stream), role, std::move(callbacks));
  connection->begin();
  return std::make_unique<OwnedSpdy>(std::move(connection));
}

}  // namespace dure::wire
