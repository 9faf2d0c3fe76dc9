#include "base/log.h"
#include "base/text.h"
#include "wire/deadline.h"
#include "wire/http1_parser.h"
#include "wire/progress.h"
#include "wire/relay_stream.h"
#include "wire/session.h"
#include "wire/socket_stream.h"

namespace dure::wire {
namespace {

constexpr size_t read_ahead_bytes_max =
    64 << 10;  // of pipelined requests while one is answered; then reading stops
constexpr size_t copy_bytes_max = 16 << 10;  // a larger body is sent by reference
constexpr size_t pipeline_unsent_bytes_max = 256 << 10;  // answers that nobody took yet; then the next request waits
constexpr Duration linger_timeout = 2s, body_timeout = 30s;

class Http1Session;

class Http1Exchange final : public ExchangeBase {
 public:
  Http1Exchange(run::Loop& loop, Request request, std::weak_ptr<Http1Session> session,
                uint64_t serial)
      : ExchangeBase(loop, std::move(request)), session_(std::move(session)), serial_(serial) {}
  ~Http1Exchange() override;

 private:
  // The session, when it still waits for this exchange's answer.
  std::shared_ptr<Http1Session> session() const;
  void do_respond(Response response) override;
  void do_start(int status, Headers headers) override;
  void do_write(SharedBytes bytes) override;
  void do_finish(Headers trailers) override;
  void do_abort() override;
  std::unique_ptr<Stream> do_upgrade(Headers headers) override;

  const std::weak_ptr<Http1Session> session_;
  const uint64_t serial_;
};

class Http1Session final : public Session, public std::enable_shared_from_this<Http1Session> {
 public:
  Http1Session(std::unique_ptr<Stream> stream, std::shared_ptr<const Peer> peer,
               std::shared_ptr<const SessionHost> host)
      : loop_(stream->loop()),
        stream_(std::move(stream)),
        socket_(dynamic_cast<SocketStream*>(stream_.get())),
        peer_(std::move(peer)),
        host_(std::move(host)),
        deadline_(loop_, [this] { time_is_up(); }),
        next_look_(loop_, [this] { look_at_progress(); }) {}
  ~Http1Session() override {
    if (const auto exchange = exchange_.lock()) exchange->notify_close();
  }

  void begin() override {
    deadline_.set(host_->limits.header_timeout);
    Stream::Callbacks callbacks;
    callbacks.on_data = [this](std::string_view bytes) { on_data(bytes); };
    callbacks.on_end = [this] { on_end(); };
    callbacks.on_close = [this](Error) { end(); };
    callbacks.on_drained = [this] { on_drained(); };
    stream_->start(std::move(callbacks));
  }

  bool waits_for(uint64_t serial) const { return busy_ && serial == serial_ && stream_; }
  void respond(Response response);
  void start(int status, Headers headers);
  void write(SharedBytes bytes);
  void finish(Headers trailers);
  void end();
  std::unique_ptr<Stream> upgrade(Headers headers);
  bool started() const { return started_; }
  size_t unsent() const { return stream_ ? stream_->unsent() : 0; }

 private:
  enum class State { head, body };
  enum class BodyForm { none, chunked, raw };

  void on_data(std::string_view bytes);
  void on_end();
  void on_drained();
  void nothing_more_comes();
  void end_when_nothing_follows();
  void feed(std::string_view bytes);
  bool step();
  bool read_head();
  bool read_body();
  void accept_head(Http1Head& head, Http1Framing framing);
  void dispatch();
  void refuse(int status, std::string_view why);
  void answered();
  void go_on();
  void say_goodbye();
  void time_is_up();
  void send(std::string_view text);
  void send(std::initializer_list<std::string_view> parts);
  void send(SharedBytes bytes);
  void sent(size_t count);
  void look_at_progress();
  bool reading() const { return !busy_ && !clogged_ && !ended_ && !saying_goodbye_; }
  bool body_allowed(int status) const {
    return !head_request_ && status >= 200 && status != 204 && status != 304;
  }
  std::string response_head(int status, Headers& headers, std::string_view framing);

  run::Loop& loop_;
  std::unique_ptr<Stream> stream_;
  SocketStream* socket_;  // the same stream, when it is one: takes text without a shared owner
  const std::shared_ptr<const Peer> peer_;
  const std::shared_ptr<const SessionHost> host_;
  Deadline deadline_;
  Deadline next_look_;  // set while bytes wait for the peer
  Progress progress_;
  uint64_t sent_ = 0;  // handed to the stream

  State state_ = State::head;
  std::string in_;          // received and not yet used
  std::string_view input_;  // inside feed: what is left of this input
  size_t scanned_ = 0;      // this much of an unfinished head holds no empty line
  Request request_;
  Http1BodyReader body_;
  std::weak_ptr<Http1Exchange> exchange_;
  uint64_t serial_ = 0;
  BodyForm form_ = BodyForm::none;
  bool feeding_ = false, busy_ = false, started_ = false, paused_ = false, looking_ = false;
  bool clogged_ = false;  // too many answers wait for the peer: no further request until it took them
  bool keep_alive_ = true, head_request_ = false, old_client_ = false;
  bool saying_goodbye_ = false, peer_ended_ = false, ended_ = false;
};

void Http1Session::send(std::string_view text) {
  if (!socket_) return send(SharedBytes(std::string(text)));
  socket_->write_text(text);
  sent(text.size());
}
// A stream that gathers takes the parts as they are; others get one piece.
void Http1Session::send(std::initializer_list<std::string_view> parts) {
  std::string joined;
  for (const std::string_view part : parts) {
    if (socket_)
      send(part);
    else
      joined += part;
  }
  if (!joined.empty()) send(SharedBytes(std::move(joined)));
}
void Http1Session::send(SharedBytes bytes) {
  const size_t count = bytes.size();
  stream_->write(std::move(bytes));
  sent(count);
}
void Http1Session::sent(size_t count) {
  sent_ += count;
  if (std::exchange(looking_, true)) return;
  progress_.stalled(sent_ - unsent(), true);
  next_look_.set(host_->limits.stall_timeout);
}
void Http1Session::look_at_progress() {
  const auto keep = shared_from_this();
  const size_t waiting = unsent();
  if (progress_.stalled(sent_ - waiting, waiting > 0)) {
    log(LogLevel::info, "wire", "connection closed: the peer does not take its answers",
        {{"peer", peer_->address}, {"bytes", std::to_string(waiting)}});
    return end();
  }
  if (waiting == 0) return void(looking_ = false);
  next_look_.set(host_->limits.stall_timeout);
}

void Http1Session::on_data(std::string_view bytes) {
  const auto keep = shared_from_this();
  if (saying_goodbye_)
    return;  // read and forgotten, so that our last words are not lost to a reset
  if (!reading()) {
    in_ += bytes;
    if (in_.size() > read_ahead_bytes_max) stream_->pause(paused_ = true);
    return;
  }
  if (in_.empty()) return feed(bytes);
  in_ += bytes;
  const std::string input = std::exchange(in_, {});
  feed(input);
}

void Http1Session::feed(std::string_view bytes) {
  feeding_ = true;
  input_ = bytes;
  while (!input_.empty() && reading() && step()) {
  }
  feeding_ = false;
  in_.assign(input_);
  input_ = {};
  if (in_.empty() && in_.capacity() > 256) in_.shrink_to_fit();
}

// One step forward; false when more input is needed.
bool Http1Session::step() { return state_ == State::head ? read_head() : read_body(); }

bool Http1Session::read_head() {
  while (scanned_ == 0 && input_.starts_with("\r\n"))
    input_.remove_prefix(2);  // RFC 9112 2.2: a leftover of old clients
  if (input_.empty()) return false;
  const size_t skip = scanned_ < 3 ? 0 : scanned_ - 3;
  size_t size = http1_head_size(input_.substr(skip));
  if (size == std::string_view::npos) {
    if (scanned_ == 0) deadline_.set(host_->limits.header_timeout);
    scanned_ = input_.size();
    if (input_.size() > host_->limits.header_bytes_max)
      refuse(431, "the request's headers are too large");
    return false;
  }
  size += skip;
  scanned_ = 0;
  if (size > host_->limits.header_bytes_max) {
    refuse(431, "the request's headers are too large");
    return false;
  }
  Http1Head head;
  if (auto parsed = parse_http1_request(input_.substr(0, size), head); !parsed) {
    refuse(parsed.error().code, parsed.error().message);
    return false;
  }
  input_.remove_prefix(size);
  const auto framing = request_framing(head);
  old_client_ = head.minor_version == 0;
  head_request_ = head.method == "HEAD";
  keep_alive_ = http1_keep_alive(head);
  if (!framing) {
    refuse(framing.error().code, framing.error().message);
    return false;
  }
  if (framing->length > host_->limits.body_bytes_max) {
    refuse(413, "the request's body is too large");
    return false;
  }
  accept_head(head, *framing);
  return true;
}

void Http1Session::accept_head(Http1Head& head, Http1Framing framing) {
  request_ = Request{};
  request_.method = std::move(head.method);
  request_.target = std::move(head.target);
  request_.headers = std::move(head.headers);
  request_.peer = peer_;
  body_ = Http1BodyReader(framing);
  if (body_.done()) return dispatch();
  request_.body.reserve(size_t(std::min<uint64_t>(framing.length, 64 << 10)));
  state_ = State::body;
  deadline_.set(body_timeout);
  if (!old_client_ && input_.empty() &&
      equal_ignore_case(request_.headers.get("expect"), "100-continue"))
    send("HTTP/1.1 100 Continue\r\n\r\n");
}

bool Http1Session::read_body() {
  std::string_view piece;
  if (auto read = body_.read(input_, piece); !read) {
    refuse(400, read.error().message);
    return false;
  }
  if (request_.body.size() + piece.size() > host_->limits.body_bytes_max) {
    refuse(413, "the request's body is too large");
    return false;
  }
  request_.body += piece;
  if (body_.done())
    dispatch();
  else if (input_.empty())
    deadline_.set(body_timeout);
  return true;
}

void Http1Session::dispatch() {
  state_ = State::head;
  deadline_.clear();
  busy_ = true;
  started_ = false;
  ++serial_;
  const auto exchange =
      std::make_shared<Http1Exchange>(loop_, std::move(request_), weak_from_this(), serial_);
  exchange_ = exchange;
  host_->handler(exchange);
}

void Http1Session::refuse(int status, std::string_view why) {
  busy_ = true;
  started_ = false;
  keep_alive_ = false;
  ++serial_;
  exchange_.reset();
  respond(refusal_response(host_->limits, status, why));
}

std::string Http1Session::response_head(int status, Headers& headers, std::string_view framing) {
  std::erase_if(headers.items, [](const auto& item) {
    if (valid_header_name(item.first) && valid_header_value(item.second)) return false;
    log(LogLevel::error, "wire", "response header dropped: it holds a control character",
        {{"name", item.first}});
    return true;
  });
  std::string out;
  out.reserve(256);
  std::string extra(framing);
  if (!keep_alive_)
    extra += "connection: close\r\n";
  else if (old_client_)
    extra += "connection: keep-alive\r\n";
  write_http1_response_head(out, status, headers, extra);
  return out;
}

void Http1Session::respond(Response response) {
  if (started_) return;
  std::string framing;
  std::erase_if(response.headers.items,
                [](const auto& item) { return item.first == "content-length"; });
  if (response.status >= 200 && response.status != 204 && response.status != 304)
    framing = "content-length: " + std::to_string(response.body.size()) + "\r\n";
  std::string head = response_head(response.status, response.headers, framing);
  if (body_allowed(response.status)) {
    if (response.body.size() <= copy_bytes_max) {
      send({head, response.body});
    } else {
      send(head);
      send(SharedBytes(std::move(response.body)));
    }
  } else {
    send(head);
  }
  answered();
}

void Http1Session::start(int status, Headers headers) {
  if (started_) return;
  started_ = true;
  std::string_view framing;
  if (!body_allowed(status)) {
    form_ = BodyForm::none;
  } else if (!headers.get("content-length").empty()) {
    form_ = BodyForm::raw;
  } else if (old_client_) {
    form_ = BodyForm::raw;
    keep_alive_ = false;
  } else {
    form_ = BodyForm::chunked;
    framing = "transfer-encoding: chunked\r\n";
  }
  send(response_head(status, headers, framing));
}

void Http1Session::write(SharedBytes bytes) {
  if (!started_ || form_ == BodyForm::none) return;
  if (form_ == BodyForm::raw) return send(std::move(bytes));
  std::string edge;
  write_chunk_head(edge, bytes.size());
  if (bytes.size() < copy_bytes_max) return send({edge, bytes.view(), "\r\n"});
  send(edge);
  send(std::move(bytes));
  send("\r\n");
}

void Http1Session::finish(Headers trailers) {
  if (!started_) return respond(Response{});
  if (form_ == BodyForm::chunked) {
    std::string last = "0\r\n";
    for (const auto& [name, value] : trailers.items)
      if (valid_header_name(name) && valid_header_value(value))
        last.append(name).append(": ").append(value).append("\r\n");
    send(last += "\r\n");
  }
  answered();
}

// The response is written; on with the next request, or out.
void Http1Session::answered() {
  busy_ = started_ = false;
  if (const auto exchange = exchange_.lock()) exchange->forget_callbacks();
  exchange_.reset();
  const bool more_came = feeding_ ? !input_.empty() : !in_.empty();
  if (!keep_alive_ || (peer_ended_ && !more_came)) return say_goodbye();
  deadline_.set(host_->limits.idle_timeout);
  clogged_ = unsent() > pipeline_unsent_bytes_max;
  if (!clogged_) go_on();
}

void Http1Session::go_on() {
  if (paused_) stream_->pause(paused_ = false);
  if (feeding_) return;
  if (!in_.empty()) {
    const std::string input = std::exchange(in_, {});
    feed(input);
  }
  if (peer_ended_ && reading()) nothing_more_comes();
}

// Closing at once could reset the connection and destroy the response in the peer's hands: first
// everything is sent, then what the peer still sends is read for a moment.
void Http1Session::say_goodbye() {
  saying_goodbye_ = true;
  if (paused_) stream_->pause(paused_ = false);
  stream_->finish_writing();
  deadline_.set(linger_timeout);
}

void Http1Session::on_drained() {
  const auto keep = shared_from_this();
  progress_.all_taken();
  if (saying_goodbye_) return peer_ended_ ? end() : deadline_.set(linger_timeout);
  if (std::exchange(clogged_, false)) return go_on();
  if (const auto exchange = exchange_.lock(); exchange && busy_ && started_) {
    exchange->unsent_ = 0;
    exchange->notify_drained();
    end_when_nothing_follows();
  }
}

void Http1Session::on_end() {
  const auto keep = shared_from_this();
  peer_ended_ = true;
  // One who only finished writing still waits for its answers.
  if (clogged_ || (busy_ && !started_)) return;
  if (busy_) return end_when_nothing_follows();
  if (saying_goodbye_) return unsent() > 0 ? void() : end();
  nothing_more_comes();
}

void Http1Session::nothing_more_comes() {
  if (state_ == State::body || scanned_ > 0) return refuse(400, "the connection ended in the middle of the request");
  if (unsent() > 0) return say_goodbye();
  end();
}

// A half-closed peer gets an answer that goes on by itself; one that only waits for something to happen is over.
void Http1Session::end_when_nothing_follows() {
  if (peer_ended_ && busy_ && started_ && unsent() == 0) end();
}

void Http1Session::time_is_up() {
  const auto keep = shared_from_this();
  if (!busy_ && unsent() > 0) return deadline_.set(linger_timeout);  // slow, and maybe stuck: that is for the looks
  const bool in_the_middle = state_ == State::body || scanned_ > 0;
  if (!busy_ && !saying_goodbye_ && in_the_middle)
    return refuse(408, "the request did not arrive in time");
  end();
}

void Http1Session::end() {
  if (std::exchange(ended_, true)) return;
  const auto keep = shared_from_this();
  deadline_.clear();
  next_look_.clear();
  if (stream_) stream_->close();
  if (const auto exchange = exchange_.lock()) exchange->notify_close();
  exchange_.reset();
  busy_ = false;
  if (over) over();
}

std::unique_ptr<Stream> Http1Session::upgrade(Headers headers) {
  if (started_) return nullptr;
  std::string head;
  keep_alive_ = true;
  old_client_ = false;
  send(response_head(101, headers, {}));
  stream_->hand_over(std::string(feeding_ ? input_ : std::string_view(in_)));
  if (paused_) stream_->pause(false);
  input_ = {};
  in_.clear();
  busy_ = false;
  if (const auto exchange = exchange_.lock()) exchange->forget_callbacks();
  exchange_.reset();
  auto stream = std::move(stream_);
  end();
  return stream;
}

Http1Exchange::~Http1Exchange() {
  if (settled()) return;
  loop_.post([weak = session_, serial = serial_] {
    const auto session = weak.lock();
    if (!session || !session->waits_for(serial)) return;
    if (session->started()) return session->end();
    Response response{.status = 500, .body = "the request was not answered\n"};
    session->respond(std::move(response));
  });
}
std::shared_ptr<Http1Session> Http1Exchange::session() const {
  auto session = session_.lock();
  return session && session->waits_for(serial_) ? session : nullptr;
}
void Http1Exchange::do_respond(Response response) {
  if (const auto s = session()) s->respond(std::move(response));
}
void Http1Exchange::do_start(int status, Headers headers) {
  if (const auto s = session()) s->start(status, std::move(headers));
}
void Http1Exchange::do_write(SharedBytes bytes) {
  const auto s = session();
  if (!s) {
    unsent_ = 0;
    return;
  }
  s->write(std::move(bytes));
  unsent_ = s->unsent();
}
void Http1Exchange::do_finish(Headers trailers) {
  if (const auto s = session()) s->finish(std::move(trailers));
}
void Http1Exchange::do_abort() {
  if (const auto s = session()) s->end();
}
std::unique_ptr<Stream> Http1Exchange::do_upgrade(Headers headers) {
  const auto s = session();
  return s ? s->upgrade(std::move(headers)) : nullptr;
}

}  // namespace

std::shared_ptr<Session> make_http1_session(std::unique_ptr<Stream> stream,
                                            std::shared_ptr<const Peer> peer,
                                            std::shared_ptr<const SessionHost> host) {
  return std::make_shared<Http1Session>(std::move(stream), std::move(peer), std::move(host));
}

namespace {

// A session of its own: held by its loop, as a timer that never fires, so that it goes when it is
// over or with the loop.
void serve_alone(std::unique_ptr<Stream> stream, std::shared_ptr<const Peer> peer, Handler handler,
                 ServerLimits limits) {
  constexpr Duration never = 24h * 365 * 50;
  auto host =
      std::make_shared<const SessionHost>(SessionHost{std::move(handler), std::move(limits)});
  run::Loop& loop = stream->loop();
  const auto session =
      make_http1_session(make_transferable(std::move(stream)), std::move(peer), std::move(host));
  auto holder = std::make_shared<std::unique_ptr<run::Timer>>(loop.after(never, [session] {}));
  session->over = [&loop, holder] { loop.post([holder] { holder->reset(); }); };
  session->begin();
}

}  // namespace

void serve_stream(std::unique_ptr<Stream> stream, std::shared_ptr<const Peer> peer, Handler handler,
                  ServerLimits limits) {
  run::Loop& loop = stream->loop();
  if (loop.on_loop_thread())
    return serve_alone(std::move(stream), std::move(peer), std::move(handler), std::move(limits));
  loop.post([stream = std::move(stream), peer = std::move(peer), handler = std::move(handler),
             limits = std::move(limits)]() mutable {
    serve_alone(std::move(stream), std::move(peer), std::move(handler), std::move(limits));
  });
}

}  // namespace dure::wire
