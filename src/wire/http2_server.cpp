#include <cstring>
#include <unordered_map>

#include "base/log.h"
#include "wire/deadline.h"
#include "wire/http2_session.h"
#include "wire/out_queue.h"
#include "wire/progress.h"
#include "wire/rate_limit.h"
#include "wire/session.h"

namespace dure::wire {
namespace {

constexpr uint32_t stream_window = 256 << 10;
constexpr int32_t connection_window = 1 << 20;
constexpr size_t bodies_bytes_max =
    16 << 20;  // requests still arriving on one connection; then the peer's window stays closed
constexpr Duration body_timeout = 30s;

class Http2Session;

class Http2Exchange final : public ExchangeBase {
 public:
  Http2Exchange(run::Loop& loop, Request request, std::weak_ptr<Http2Session> session, int32_t id)
      : ExchangeBase(loop, std::move(request)), session_(std::move(session)), id_(id) {}
  ~Http2Exchange() override;

 private:
  void do_respond(Response response) override;
  void do_start(int status, Headers headers) override;
  void do_write(SharedBytes bytes) override;
  void do_finish(Headers trailers) override;
  void do_abort() override;
  std::unique_ptr<Stream> do_upgrade(Headers) override { return nullptr; }

  const std::weak_ptr<Http2Session> session_;
  const int32_t id_;
};

struct Http2Stream {
  int32_t id = 0;
  Request request;
  size_t header_bytes = 0;
  bool dispatched = false;  // the handler has it, or it was refused
  bool refused = false;
  bool started = false, finished = false, waiting = false;
  bool head_request = false;
  OutQueue out;
  uint64_t taken = 0;  // of its answer, by the connection: as far as the peer's windows are open
  Progress progress;
  Headers trailers;
  std::weak_ptr<Http2Exchange> exchange;
};

class Http2Session final : public Session, public std::enable_shared_from_this<Http2Session> {
 public:
  Http2Session(std::unique_ptr<Stream> stream, std::shared_ptr<const Peer> peer,
               std::shared_ptr<const SessionHost> host)
      : loop_(stream->loop()),
        stream_(std::move(stream)),
        socket_(dynamic_cast<SocketStream*>(stream_.get())),
        peer_(std::move(peer)),
        host_(std::move(host)),
        deadline_(loop_, [this] { time_is_up(); }),
        next_look_(loop_, [this] { look_at_progress(); }) {}
  ~Http2Session() override { close_exchanges(); }

  void begin() override;

  Http2Stream* find(int32_t id) {
    const auto at = streams_.find(id);
    return at == streams_.end() ? nullptr : at->second.get();
  }
  void respond(Http2Stream& stream, Response response);
  void start(Http2Stream& stream, int status, const Headers& headers, bool empty = false);
  void write(Http2Stream& stream, SharedBytes bytes);
  void finish(Http2Stream& stream, Headers trailers);
  void reset(int32_t id, uint32_t code);

 private:
  static const nghttp2_session_callbacks* callbacks();
  friend nghttp2_session_callbacks* make_http2_callbacks<Http2Session>();
  static Http2Session& self_of(void* user) { return *static_cast<Http2Session*>(user); }
  int on_begin_headers(const nghttp2_frame* frame);
  int on_header(const nghttp2_frame* frame, std::string_view name, std::string_view value);
  int on_frame(const nghttp2_frame* frame);
  int on_chunk(int32_t id, std::string_view bytes);
  int on_stream_close(int32_t id, uint32_t code);
  int on_sent(const nghttp2_frame* frame);
  ssize_t fill(int32_t id, uint8_t* buffer, size_t room, uint32_t* flags);

  void on_data(std::string_view bytes);
  void on_request_complete(Http2Stream& stream);
  void refuse(Http2Stream& stream, int status, std::string_view why);
  void body_taken(size_t size);
  bool flooding(const nghttp2_frame* frame);
  void schedule_pump();
  void pump();
  void look_at_deadline();
  void time_is_up();
  void queue(Http2Stream& stream, SharedBytes bytes);
  void watch_progress();
  void look_at_progress();
  void close_exchanges();
  void end();

  run::Loop& loop_;
  std::unique_ptr<Stream> stream_;
  SocketStream* socket_;
  const std::shared_ptr<const Peer> peer_;
  const std::shared_ptr<const SessionHost> host_;
  Http2SessionPointer session_;
  std::unordered_map<int32_t, std::unique_ptr<Http2Stream>> streams_;
  Deadline deadline_;
  Deadline next_look_;  // set while bytes wait for the peer
  Progress progress_;
  uint64_t pumped_ = 0;        // handed to stream_
  size_t waiting_bytes_ = 0;   // in the queues of all streams
  bool looking_ = false;
  // Rapid reset and the floods of settings and pings: each frame makes us work or answer.
  RateLimit resets_{200, 50}, controls_{100, 20};
  size_t arriving_bytes_ = 0, withheld_ = 0;
  size_t arriving_ = 0;  // streams whose request is not complete
  bool receiving_ = false, pump_scheduled_ = false, ended_ = false;
};

const nghttp2_session_callbacks* Http2Session::callbacks() {
  static const nghttp2_session_callbacks* const table = [] {
    nghttp2_session_callbacks* made = make_http2_callbacks<Http2Session>();
    nghttp2_session_callbacks_set_on_begin_headers_callback(
        made, [](nghttp2_session*, const nghttp2_frame* frame, void* user) {
          return self_of(user).on_begin_headers(frame);
        });
    nghttp2_session_callbacks_set_on_frame_send_callback(
        made, [](nghttp2_session*, const nghttp2_frame* frame, void* user) {
          return self_of(user).on_sent(frame);
        });
    return made;
  }();
  return table;
}

void Http2Session::begin() {
  nghttp2_option* option = nullptr;
  nghttp2_option_new(&option);
  nghttp2_option_set_no_auto_window_update(option, 1);
  nghttp2_option_set_no_closed_streams(option, 1);
  nghttp2_session* session = nullptr;
  nghttp2_session_server_new2(&session, callbacks(), this, option);
  nghttp2_option_del(option);
  session_.reset(session);
  const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, host_->limits.streams_max},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, stream_window},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, uint32_t(host_->limits.header_bytes_max)},
  };
  nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, std::size(settings));
  nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, connection_window);
  deadline_.set(host_->limits.header_timeout);
  Stream::Callbacks stream_callbacks;
  stream_callbacks.on_data = [this](std::string_view bytes) { on_data(bytes); };
  stream_callbacks.on_end = [this] { end(); };
  stream_callbacks.on_close = [this](Error) { end(); };
  stream_callbacks.on_drained = [this] {
    progress_.all_taken();
    pump();
  };
  stream_->start(std::move(stream_callbacks));
  pump();
}

void Http2Session::on_data(std::string_view bytes) {
  const auto keep = shared_from_this();
  receiving_ = true;
  const ssize_t used = nghttp2_session_mem_recv(
      session_.get(), reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  receiving_ = false;
  if (ended_) return;
  pump();  // also the GOAWAY that says what was wrong
  if (used < 0) return end();
  look_at_deadline();
}

int Http2Session::on_begin_headers(const nghttp2_frame* frame) {
  if (ended_ || frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
    return 0;
  auto stream = std::make_unique<Http2Stream>();
  stream->id = frame->hd.stream_id;
  stream->request.http_version = 2;
  stream->request.headers.items.reserve(8);
  streams_.emplace(stream->id, std::move(stream));
  ++arriving_;
  return 0;
}

int Http2Session::on_header(const nghttp2_frame* frame, std::string_view name,
                            std::string_view value) {
  Http2Stream* stream = find(frame->hd.stream_id);
  if (!stream || stream->dispatched) return 0;  // trailers of a request mean nothing to us
  stream->header_bytes += name.size() + value.size() + 32;
  if (stream->header_bytes > host_->limits.header_bytes_max)
    return 0;  // counted, not kept: 431 follows
  Request& request = stream->request;
  if (!name.starts_with(':'))
    request.headers.items.emplace_back(name, value);
  else if (name == ":method")
    request.method = value;
  else if (name == ":path")
    request.target = value;
  else if (name == ":authority")
    request.headers.items.emplace_back("host", value);
  return 0;
}

bool Http2Session::flooding(const nghttp2_frame* frame) {
  const bool ack = frame->hd.flags & NGHTTP2_FLAG_ACK;
  if (frame->hd.type == NGHTTP2_RST_STREAM) return !resets_.allow(loop_.now());
  if (!ack && (frame->hd.type == NGHTTP2_PING || frame->hd.type == NGHTTP2_SETTINGS))
    return !controls_.allow(loop_.now());
  return false;
}

int Http2Session::on_frame(const nghttp2_frame* frame) {
  if (ended_) return 0;
  if (flooding(frame)) {
    nghttp2_session_terminate_session(session_.get(), NGHTTP2_ENHANCE_YOUR_CALM);
    return 0;
  }
  if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) return 0;
  Http2Stream* stream = find(frame->hd.stream_id);
  if (!stream || stream->dispatched) return 0;
  if (stream->header_bytes > host_->limits.header_bytes_max) {
    refuse(*stream, 431, "the request's headers are too large");
  } else if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) {
    on_request_complete(*stream);
  }
  return 0;
}

int Http2Session::on_chunk(int32_t id, std::string_view bytes) {
  nghttp2_session_consume_stream(session_.get(), id, bytes.size());
  Http2Stream* stream = find(id);
  const bool keeps = stream && !stream->dispatched && !ended_;
  if (keeps) arriving_bytes_ += bytes.size();
  if (keeps && arriving_bytes_ > bodies_bytes_max)
    withheld_ += bytes.size();
  else
    nghttp2_session_consume_connection(session_.get(), bytes.size());
  if (!keeps) return 0;
  stream->request.body += bytes;
  if (stream->request.body.size() > host_->limits.body_bytes_max)
    refuse(*stream, 413, "the request's body is too large");
  return 0;
}

// The request is complete or given up: its bytes no longer count as arriving.
void Http2Session::body_taken(size_t size) {
  --arriving_;
  arriving_bytes_ -= size;
  if (withheld_ > 0 && arriving_bytes_ <= bodies_bytes_max / 2)
    nghttp2_session_consume_connection(session_.get(), std::exchange(withheld_, 0));
}

void Http2Session::on_request_complete(Http2Stream& stream) {
  stream.dispatched = true;
  body_taken(stream.request.body.size());
  if (waiting_bytes_ > host_->limits.waiting_bytes_max)
    return refuse(stream, 429, "too many answers wait on this connection for their reader");
  stream.request.peer = peer_;
  stream.head_request = stream.request.method == "HEAD";
  if (stream.request.target.empty() || stream.request.target[0] != '/')
    return refuse(stream, 400, "request without a path");
  const auto exchange = std::make_shared<Http2Exchange>(loop_, std::move(stream.request),
                                                        weak_from_this(), stream.id);
  stream.exchange = exchange;
  host_->handler(exchange);
}

void Http2Session::refuse(Http2Stream& stream, int status, std::string_view why) {
  if (!stream.dispatched) body_taken(stream.request.body.size());
  stream.dispatched = stream.refused = true;
  stream.request.body = {};
  respond(stream, refusal_response(host_->limits, status, why));
}

void Http2Session::respond(Http2Stream& stream, Response response) {
  if (stream.started) return;
  const bool has_body = !stream.head_request && response.status != 204 && response.status != 304 &&
                        !response.body.empty();
  std::erase_if(response.headers.items,
                [](const auto& item) { return item.first == "content-length"; });
  if (response.status != 204 && response.status != 304)
    response.headers.items.emplace_back("content-length", std::to_string(response.body.size()));
  if (!has_body) return start(stream, response.status, response.headers, true);
  queue(stream, SharedBytes(std::move(response.body)));
  stream.finished = true;
  stream.trailers = std::move(response.trailers);
  start(stream, response.status, response.headers);
}

void Http2Session::start(Http2Stream& stream, int status, const Headers& headers, bool empty) {
  if (stream.started) return;
  stream.started = true;
  const std::string status_text = std::to_string(status);
  HeaderList list;
  list.add(":status", status_text);
  list.add_all(headers);
  nghttp2_data_provider provider{};
  provider.read_callback = [](nghttp2_session*, int32_t id, uint8_t* buffer, size_t room,
                              uint32_t* flags, nghttp2_data_source*,
                              void* user) { return self_of(user).fill(id, buffer, room, flags); };
  nghttp2_submit_response(session_.get(), stream.id, list.data(), list.size(),
                          empty ? nullptr : &provider);
  if (empty) stream.finished = true;
  schedule_pump();
}

ssize_t Http2Session::fill(int32_t id, uint8_t* buffer, size_t room, uint32_t* flags) {
  Http2Stream* stream = find(id);
  if (!stream) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  size_t count = 0;
  while (count < room && !stream->out.empty()) {
    const auto part = stream->out.front().substr(0, room - count);
    std::memcpy(buffer + count, part.data(), part.size());
    count += part.size();
    stream->out.pop(part.size());
  }
  stream->taken += count;
  waiting_bytes_ -= count;
  if (stream->out.empty()) stream->progress.all_taken();
  const auto exchange = stream->exchange.lock();
  if (exchange) exchange->unsent_ = stream->out.size();
  if (stream->out.empty() && stream->finished) {
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (!stream->trailers.items.empty()) {
      *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
      HeaderList list;
      list.add_all(stream->trailers);
      nghttp2_submit_trailer(session_.get(), id, list.data(), list.size());
    }
    return ssize_t(count);
  }
  if (stream->out.empty() && exchange && count > 0)
    loop_.post([weak = std::weak_ptr(exchange)] {
      if (const auto exchange = weak.lock(); exchange && exchange->unsent() == 0)
        exchange->notify_drained();
    });
  if (count > 0) return ssize_t(count);
  stream->waiting = true;
  return NGHTTP2_ERR_DEFERRED;
}

void Http2Session::queue(Http2Stream& stream, SharedBytes bytes) {
  waiting_bytes_ += bytes.size();
  stream.out.push(std::move(bytes));
  watch_progress();
}

void Http2Session::watch_progress() {
  if (!std::exchange(looking_, true)) next_look_.set(host_->limits.stall_timeout);
}

// The connection is stuck when the kernel takes nothing, a stream when its window stays shut.
void Http2Session::look_at_progress() {
  const auto keep = shared_from_this();
  looking_ = false;
  const size_t unsent = stream_->unsent();
  if (progress_.stalled(pumped_ - unsent, unsent > 0)) {
    log(LogLevel::info, "wire", "connection closed: the peer does not take its answers",
        {{"peer", peer_->address}, {"bytes", std::to_string(unsent + waiting_bytes_)}});
    return end();
  }
  std::vector<int32_t> stuck;
  for (const auto& [id, stream] : streams_)
    if (stream->progress.stalled(stream->taken, !stream->out.empty())) stuck.push_back(id);
  for (const int32_t id : stuck) reset(id, NGHTTP2_CANCEL);
  if (unsent > 0 || waiting_bytes_ > 0) watch_progress();
}

void Http2Session::write(Http2Stream& stream, SharedBytes bytes) {
  if (!stream.started || stream.finished || stream.head_request) return;
  queue(stream, std::move(bytes));
  if (const auto exchange = stream.exchange.lock()) exchange->unsent_ = stream.out.size();
  if (std::exchange(stream.waiting, false)) nghttp2_session_resume_data(session_.get(), stream.id);
  schedule_pump();
}

void Http2Session::finish(Http2Stream& stream, Headers trailers) {
  if (!stream.started) {
    stream.finished = true;
    stream.trailers = std::move(trailers);
    return start(stream, 200, {});
  }
  if (stream.finished) return;
  stream.finished = true;
  stream.trailers = std::move(trailers);
  if (std::exchange(stream.waiting, false)) nghttp2_session_resume_data(session_.get(), stream.id);
  schedule_pump();
}

void Http2Session::reset(int32_t id, uint32_t code) {
  nghttp2_submit_rst_stream(session_.get(), NGHTTP2_FLAG_NONE, id, code);
  schedule_pump();
}

// A refused request may still be on its way: the peer is told that nobody reads the rest.
int Http2Session::on_sent(const nghttp2_frame* frame) {
  if (!(frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) return 0;
  if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) return 0;
  const Http2Stream* stream = find(frame->hd.stream_id);
  if (stream && stream->refused &&
      nghttp2_session_get_stream_remote_close(session_.get(), frame->hd.stream_id) == 0)
    nghttp2_submit_rst_stream(session_.get(), NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                              NGHTTP2_NO_ERROR);
  return 0;
}

int Http2Session::on_stream_close(int32_t id, uint32_t) {
  const auto at = streams_.find(id);
  if (at == streams_.end()) return 0;
  const auto stream = std::move(at->second);
  streams_.erase(at);
  waiting_bytes_ -= stream->out.size();
  if (!stream->dispatched) body_taken(stream->request.body.size());
  if (const auto exchange = stream->exchange.lock()) {
    if (stream->finished && stream->out.empty())
      exchange->forget_callbacks();
    else
      exchange->notify_close();
    exchange->unsent_ = 0;
  }
  if (streams_.empty()) look_at_deadline();
  return 0;
}

void Http2Session::schedule_pump() {
  if (receiving_ || pump_scheduled_) return;
  pump_scheduled_ = true;
  loop_.post([weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self) return;
    self->pump_scheduled_ = false;
    self->pump();
  });
}

void Http2Session::pump() {
  if (ended_ || receiving_) return;
  const auto keep = shared_from_this();
  if (!pump_http2_output(session_.get(), *stream_, socket_, pumped_)) return end();
  if (stream_->unsent() > 0) watch_progress();
  if (!nghttp2_session_want_read(session_.get()) && !nghttp2_session_want_write(session_.get())) {
    if (stream_->unsent() == 0) return end();
    stream_->finish_writing();
    deadline_.set(2s);
  }
}

void Http2Session::look_at_deadline() {
  if (ended_) return;
  if (arriving_ > 0)
    deadline_.set(body_timeout);
  else if (streams_.empty())
    deadline_.set(host_->limits.idle_timeout);
  else
    deadline_.clear();
}

void Http2Session::time_is_up() {
  const auto keep = shared_from_this();
  if (arriving_ == 0 && stream_->unsent() > 0) return look_at_deadline();  // slow, not idle
  if (arriving_ == 0) return end();
  std::vector<int32_t> late;
  for (const auto& [id, stream] : streams_)
    if (!stream->dispatched) late.push_back(id);
  for (const int32_t id : late)
    if (Http2Stream* stream = find(id)) refuse(*stream, 408, "the request did not arrive in time");
  pump();
  look_at_deadline();
}

void Http2Session::close_exchanges() {
  auto streams = std::move(streams_);
  streams_.clear();
  for (const auto& [id, stream] : streams)
    if (const auto exchange = stream->exchange.lock()) exchange->notify_close();
}

void Http2Session::end() {
  if (std::exchange(ended_, true)) return;
  const auto keep = shared_from_this();
  deadline_.clear();
  next_look_.clear();
  stream_->close();
  close_exchanges();
  if (over) over();
}

Http2Exchange::~Http2Exchange() {
  if (settled()) return;
  loop_.post([weak = session_, id = id_] {
    const auto session = weak.lock();
    Http2Stream* stream = session ? session->find(id) : nullptr;
    if (!stream || stream->finished) return;
    if (stream->started) return session->reset(id, NGHTTP2_INTERNAL_ERROR);
    Response response{.status = 500, .body = "the request was not answered\n"};
    session->respond(*stream, std::move(response));
  });
}
void Http2Exchange::do_respond(Response response) {
  const auto session = session_.lock();
  if (Http2Stream* stream = session ? session->find(id_) : nullptr)
    session->respond(*stream, std::move(response));
}
void Http2Exchange::do_start(int status, Headers headers) {
  const auto session = session_.lock();
  if (Http2Stream* stream = session ? session->find(id_) : nullptr)
    session->start(*stream, status, headers);
}
void Http2Exchange::do_write(SharedBytes bytes) {
  const auto session = session_.lock();
  if (Http2Stream* stream = session ? session->find(id_) : nullptr)
    session->write(*stream, std::move(bytes));
}
void Http2Exchange::do_finish(Headers trailers) {
  const auto session = session_.lock();
  if (Http2Stream* stream = session ? session->find(id_) : nullptr)
    session->finish(*stream, std::move(trailers));
}
void Http2Exchange::do_abort() {
  if (const auto session = session_.lock()) session->reset(id_, NGHTTP2_INTERNAL_ERROR);
}

}  // namespace

std::shared_ptr<Session> make_http2_session(std::unique_ptr<Stream> stream,
                                            std::shared_ptr<const Peer> peer,
                                            std::shared_ptr<const SessionHost> host) {
  return std::make_shared<Http2Session>(std::move(stream), std::move(peer), std::move(host));
}

}  // namespace dure::wire
