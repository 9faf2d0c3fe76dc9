#include <cstring>
#include <unordered_map>

#include "base/text.h"
#include "wire/client_call.h"
#include "wire/deadline.h"
#include "wire/http2_session.h"

namespace dure::wire {
namespace {

constexpr uint32_t stream_window = 1 << 20;
constexpr int32_t connection_window = 16 << 20;
constexpr Duration silence_before_ping = 20s, patience_after_ping = 15s, idle_timeout = 90s;
constexpr size_t header_bytes_max = 256 << 10;

struct ClientStream {
  std::shared_ptr<ClientCall> call;
  size_t body_sent = 0, header_bytes = 0;
  int status = 0;  // of the header block being read; zero in trailers
  bool started = false, trailers_seen = false;
  Headers headers;
};

class Http2ClientConnection final : public ClientConnection,
                                    public std::enable_shared_from_this<Http2ClientConnection> {
 public:
  Http2ClientConnection(std::unique_ptr<Stream> stream, std::string scheme, std::string authority)
      : stream_(std::move(stream)),
        socket_(dynamic_cast<SocketStream*>(stream_.get())),
        scheme_(std::move(scheme)),
        authority_(std::move(authority)),
        deadline_(stream_->loop(), [this] { time_is_up(); }) {}

  void begin(Events events) override;
  bool can_take() const override {
    if (over_ || draining_) return false;
    // Streams beyond the server's limit would wait behind watches that never end: they belong on
    // another connection. The limit comes with the first frame; until then only the call that
    // opened the connection goes ahead.
    const uint32_t allowed = settings_seen_
                                 ? nghttp2_session_get_remote_settings(
                                       session_.get(), NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
                                 : 1;
    return streams_.size() < allowed && nghttp2_session_check_request_allowed(session_.get());
  }
  void submit(std::shared_ptr<ClientCall> call) override;
  void close(const Error& why) override { over(why, false); }

 private:
  friend nghttp2_session_callbacks* make_http2_callbacks<Http2ClientConnection>();
  static const nghttp2_session_callbacks* callbacks();
  static Http2ClientConnection& self_of(void* user) {
    return *static_cast<Http2ClientConnection*>(user);
  }
  ClientStream* find(int32_t id) {
    const auto at = streams_.find(id);
    return at == streams_.end() ? nullptr : &at->second;
  }
  int on_header(const nghttp2_frame* frame, std::string_view name, std::string_view value);
  int on_frame(const nghttp2_frame* frame);
  int on_chunk(int32_t id, std::string_view bytes);
  int on_stream_close(int32_t id, uint32_t code);
  void on_header_block(ClientStream& stream);
  ssize_t fill(int32_t id, uint8_t* buffer, size_t room, uint32_t* flags);
  void on_data(std::string_view bytes);
  void schedule_pump();
  void pump();
  void time_is_up();
  void look_at_deadline();
  void over(const Error& why, bool may_repeat);
  void abandon(int32_t id);

  std::unique_ptr<Stream> stream_;
  SocketStream* socket_;
  const std::string scheme_, authority_;
  Deadline deadline_;
  Events events_;
  Http2SessionPointer session_;
  std::unordered_map<int32_t, ClientStream> streams_;
  bool receiving_ = false, pump_scheduled_ = false, ping_sent_ = false;
  bool settings_seen_ = false, draining_ = false, over_ = false;
};

const nghttp2_session_callbacks* Http2ClientConnection::callbacks() {
  static const nghttp2_session_callbacks* const table = make_http2_callbacks<Http2ClientConnection>();
  return table;
}

void Http2ClientConnection::begin(Events events) {
  events_ = std::move(events);
  nghttp2_option* option = nullptr;
  nghttp2_option_new(&option);
  nghttp2_option_set_no_closed_streams(option, 1);
  nghttp2_session* session = nullptr;
  nghttp2_session_client_new2(&session, callbacks(), this, option);
  nghttp2_option_del(option);
  session_.reset(session);
  const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, stream_window},
  };
  nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, std::size(settings));
  nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, connection_window);
  Stream::Callbacks callbacks;
  callbacks.on_data = [this](std::string_view bytes) { on_data(bytes); };
  callbacks.on_end = [this] { over(connection_lost("the server closed it"), true); };
  callbacks.on_close = [this](Error why) { over(connection_lost(why.message), true); };
  callbacks.on_drained = [this] { pump(); };
  stream_->start(std::move(callbacks));
  look_at_deadline();
  pump();
}

void Http2ClientConnection::submit(std::shared_ptr<ClientCall> call) {
  ++call->attempts;
  const Request& request = call->request;
  HeaderList list;
  const auto host = request.headers.get("host");
  const std::string length = std::to_string(request.body.size());
  const bool has_body = !request.body.empty();
  list.add(":method", request.method);
  list.add(":scheme", scheme_);
  list.add(":authority", host.empty() ? std::string_view(authority_) : host);
  list.add(":path", request.target);
  list.add_all(request.headers);
  if (has_body && request.headers.get("content-length").empty()) list.add("content-length", length);
  nghttp2_data_provider provider{};
  provider.read_callback = [](nghttp2_session*, int32_t id, uint8_t* buffer, size_t room,
                              uint32_t* flags, nghttp2_data_source*,
                              void* user) { return self_of(user).fill(id, buffer, room, flags); };
  const int32_t id = nghttp2_submit_request(session_.get(), nullptr, list.data(), list.size(),
                                            has_body ? &provider : nullptr, nullptr);
  if (id < 0) {
    draining_ = true;  // stream ids are used up, or the session is going away
    return events_.on_give_back(std::move(call));
  }
  call->abandon = [weak = weak_from_this(), id] {
    if (const auto self = weak.lock()) self->abandon(id);
  };
  streams_[id].call = std::move(call);
  look_at_deadline();
  schedule_pump();
}

ssize_t Http2ClientConnection::fill(int32_t id, uint8_t* buffer, size_t room, uint32_t* flags) {
  ClientStream* stream = find(id);
  if (!stream) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  const auto rest = std::string_view(stream->call->request.body).substr(stream->body_sent);
  const size_t count = std::min(room, rest.size());
  std::memcpy(buffer, rest.data(), count);
  stream->body_sent += count;
  if (count == rest.size()) *flags |= NGHTTP2_DATA_FLAG_EOF;
  return ssize_t(count);
}

void Http2ClientConnection::on_data(std::string_view bytes) {
  const auto keep = shared_from_this();
  ping_sent_ = false;
  receiving_ = true;
  const ssize_t used = nghttp2_session_mem_recv(
      session_.get(), reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  receiving_ = false;
  if (over_) return;
  look_at_deadline();
  pump();
  if (used < 0) over(connection_lost(nghttp2_strerror(int(used))), false);
}

int Http2ClientConnection::on_header(const nghttp2_frame* frame, std::string_view name,
                                     std::string_view value) {
  ClientStream* stream = find(frame->hd.stream_id);
  if (!stream) return 0;
  stream->header_bytes += name.size() + value.size() + 32;
  if (stream->header_bytes > header_bytes_max) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  if (name == ":status")
    stream->status = int(parse_int(value).value_or(0));
  else if (!name.starts_with(':'))
    stream->headers.items.emplace_back(name, value);
  return 0;
}

int Http2ClientConnection::on_frame(const nghttp2_frame* frame) {
  switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
      if (ClientStream* stream = find(frame->hd.stream_id)) on_header_block(*stream);
      break;
    case NGHTTP2_SETTINGS:
      settings_seen_ = true;
      events_.on_idle();
      break;
    case NGHTTP2_GOAWAY:
      draining_ = true;
      break;  // nghttp2 closes the streams that the server did not look at
    default:
      break;
  }
  return 0;
}

void Http2ClientConnection::on_header_block(ClientStream& stream) {
  const Headers headers = std::exchange(stream.headers, {});
  const int status = std::exchange(stream.status, 0);
  stream.header_bytes = 0;
  const auto call = stream.call;
  if (!stream.started) {
    if (status >= 100 && status < 200) return;
    stream.started = true;
    return call->on_start(status, headers);
  }
  call->on_trailers(headers);
}

int Http2ClientConnection::on_chunk(int32_t id, std::string_view bytes) {
  if (ClientStream* stream = find(id)) {
    const auto call = stream->call;
    call->on_data(bytes);
  }
  return 0;
}

int Http2ClientConnection::on_stream_close(int32_t id, uint32_t code) {
  const auto at = streams_.find(id);
  if (at == streams_.end()) return 0;
  const ClientStream stream = std::move(at->second);
  streams_.erase(at);
  stream.call->abandon = nullptr;
  if (code == NGHTTP2_REFUSED_STREAM && !stream.started && stream.call->attempts < 3)
    events_.on_give_back(stream.call);
  else if (stream.started && code == NGHTTP2_NO_ERROR)
    stream.call->on_end({});
  else
    stream.call->on_end(fail(connection_lost("the server reset the stream (" +
                                             std::string(nghttp2_http2_strerror(code)) + ")")));
  if (streams_.empty()) look_at_deadline();
  if (!over_) events_.on_idle();
  return 0;
}

// The caller left: the stream is reset, and what still arrives for it is dropped.
void Http2ClientConnection::abandon(int32_t id) {
  if (over_ || streams_.erase(id) == 0) return;
  nghttp2_submit_rst_stream(session_.get(), NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
  look_at_deadline();
  schedule_pump();
}

void Http2ClientConnection::schedule_pump() {
  if (receiving_ || pump_scheduled_) return;
  pump_scheduled_ = true;
  stream_->loop().post([weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self) return;
    self->pump_scheduled_ = false;
    self->pump();
  });
}
void Http2ClientConnection::pump() {
  if (over_ || receiving_) return;
  const auto keep = shared_from_this();
  receiving_ = true;  // callbacks inside (a stream that closes) must not come back here
  uint64_t pumped = 0;
  const bool good = pump_http2_output(session_.get(), *stream_, socket_, pumped);
  receiving_ = false;
  if (!good) return over(connection_lost("HTTP/2 session broke"), false);
  const bool nothing_left =
      !nghttp2_session_want_read(session_.get()) && !nghttp2_session_want_write(session_.get());
  if (nothing_left || (draining_ && streams_.empty()))
    over(connection_lost("the server is going away"), true);
}

// While calls are under way a silent server is asked whether it is still there; without calls the
// connection goes after a while.
void Http2ClientConnection::look_at_deadline() {
  if (over_) return;
  if (streams_.empty())
    deadline_.set(idle_timeout);
  else
    deadline_.set(ping_sent_ ? patience_after_ping : silence_before_ping);
}
void Http2ClientConnection::time_is_up() {
  const auto keep = shared_from_this();
  if (streams_.empty()) return over(connection_lost("it was idle"), true);
  if (ping_sent_) return over(connection_lost("the server does not answer pings"), true);
  ping_sent_ = true;
  nghttp2_submit_ping(session_.get(), NGHTTP2_FLAG_NONE, nullptr);
  deadline_.set(patience_after_ping);
  pump();
}

void Http2ClientConnection::over(const Error& why, bool may_repeat) {
  if (std::exchange(over_, true)) return;
  const auto keep = shared_from_this();
  deadline_.clear();
  stream_->close();
  auto streams = std::move(streams_);
  streams_.clear();
  for (auto& [id, stream] : streams) {
    stream.call->abandon = nullptr;
    if (may_repeat && stream.call->may_repeat())
      events_.on_give_back(stream.call);
    else
      stream.call->on_end(fail(why));
  }
  events_.on_over();
}

}  // namespace

std::shared_ptr<ClientConnection> make_http2_client_connection(std::unique_ptr<Stream> stream,
                                                               std::string scheme,
                                                               std::string authority) {
  return std::make_shared<Http2ClientConnection>(std::move(stream), std::move(scheme),
                                                 std::move(authority));
}

}  // namespace dure::wire
