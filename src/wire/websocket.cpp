#include "wire/websocket.h"

#include "base/text.h"
#include "os/clock.h"
#include "wire/deadline.h"
#include "wire/http1_parser.h"
#include "wire/stream_pipe.h"
#include "wire/websocket_frames.h"

namespace dure::wire {
namespace {

constexpr int going_away = 1001, no_close_frame = 1006;
constexpr Duration goodbye_timeout = 3s;

class Connection final : public WebSocketSink, public std::enable_shared_from_this<Connection> {
 public:
  Connection(std::unique_ptr<Stream> stream, WebSocket::Role role, size_t message_bytes_max)
      : loop_(stream->loop()),
        stream_(std::move(stream)),
        masks_(role == WebSocket::Role::client),
        reader_(!masks_, message_bytes_max),
        random_(masks_ ? os::make_random() : nullptr),
        deadline_(loop_, [this] { over(no_close_frame, "the peer did not answer the close"); }) {}

  void start(WebSocket::Callbacks callbacks) {
    callbacks_ = std::make_shared<WebSocket::Callbacks>(std::move(callbacks));
    // Weakly: the stream may outlive this object by a farewell.
    Stream::Callbacks below;
    below.on_data = [weak = weak_from_this()](std::string_view bytes) {
      if (const auto self = weak.lock()) self->on_data(bytes);
    };
    below.on_end = [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->over(no_close_frame, "the connection ended");
    };
    below.on_close = [weak = weak_from_this()](Error why) {
      if (const auto self = weak.lock()) self->over(no_close_frame, why.message);
    };
    below.on_drained = [weak = weak_from_this()] {
      const auto self = weak.lock();
      if (!self) return;
      if (const auto callbacks = self->callbacks_; callbacks && callbacks->on_drained)
        callbacks->on_drained();
    };
    stream_->start(std::move(below));
  }
  void send_frame(WebSocketOp op, std::string_view payload) {
    if (over_ || close_sent_) return;
    stream_->write(SharedBytes(frame(op, payload)));
  }
  void close(int code, std::string_view reason) {
    if (over_ || close_sent_) return;
    send_frame(WebSocketOp::close, websocket_close_payload(code, reason));
    close_sent_ = true;
    stream_->finish_writing();
    deadline_.set(goodbye_timeout);
  }
  void silence() {
    callbacks_.reset();
    if (std::exchange(over_, true)) return;
    if (!close_sent_)
      stream_->write(
          SharedBytes(frame(WebSocketOp::close, websocket_close_payload(going_away, {}))));
    farewell(std::move(stream_));
  }
  size_t unsent() const { return over_ ? 0 : stream_->unsent(); }
  void pause(bool paused) {
    if (!over_) stream_->pause(paused);
  }
  run::Loop& loop() { return loop_; }

 private:
  std::string frame(WebSocketOp op, std::string_view payload) {
    return websocket_frame(op, payload, masks_ ? random_->bytes(4) : std::string());
  }
  void on_data(std::string_view bytes) {
    const auto keep = shared_from_this();
    if (over_) return;
    if (auto fed = reader_.feed(bytes, *this); !fed) {
      close(fed.error().code, fed.error().message);
      over(fed.error().code, fed.error().message);
    }
  }
  void on_message(bool is_text, std::string_view message) override {
    if (const auto callbacks = callbacks_; callbacks && callbacks->on_message && !over_)
      callbacks->on_message(is_text, message);
  }
  void on_ping(std::string_view payload) override {
    // A peer that pings faster than it reads gets no more pongs.
    if (!over_ && stream_->unsent() < (1 << 20)) send_frame(WebSocketOp::pong, payload);
  }
  void on_pong(std::string_view) override {}
  void on_close(int code, std::string_view reason) override {
    if (!close_sent_) close(code == 1005 ? 1000 : code, {});
    over(code, reason);
  }
  void over(int code, std::string_view reason) {
    if (std::exchange(over_, true)) return;
    const auto keep = shared_from_this();
    deadline_.clear();
    // Our close frame may still be on its way.
    if (close_sent_)
      farewell(std::move(stream_));
    else
      stream_->close();
    if (const auto callbacks = std::exchange(callbacks_, nullptr); callbacks && callbacks->on_close)
      callbacks->on_close(code, reason);
  }

  run::Loop& loop_;
  std::unique_ptr<Stream> stream_;  // null after a farewell
  const bool masks_;
  WebSocketReader reader_;
  const std::unique_ptr<os::Random> random_;
  Deadline deadline_;
  std::shared_ptr<WebSocket::Callbacks> callbacks_;
  bool close_sent_ = false, over_ = false;
};

class OwnedWebSocket final : public WebSocket {
 public:
  explicit OwnedWebSocket(std::shared_ptr<Connection> connection)
      : connection_(std::move(connection)) {}
  ~OwnedWebSocket() override { connection_->silence(); }
  void start(Callbacks callbacks) override { connection_->start(std::move(callbacks)); }
  void send(bool is_text, std::string_view message) override {
    connection_->send_frame(is_text ? WebSocketOp::text : WebSocketOp::binary, message);
  }
  void ping(std::string_view payload) override {
    connection_->send_frame(WebSocketOp::ping, payload);
  }
  void close(int code, std::string_view reason) override { connection_->close(code, reason); }
  size_t unsent() const override { return connection_->unsent(); }
  void pause(bool paused) override { connection_->pause(paused); }
  run::Loop& loop() override { return connection_->loop(); }

 private:
  const std::shared_ptr<Connection> connection_;
};

std::vector<std::string> offered_protocols(const Headers& headers) {
  std::vector<std::string> out;
  for (const auto line : headers.all("sec-websocket-protocol"))
    for (const auto part : split(line, ','))
      if (const auto name = trim(part); !name.empty()) out.emplace_back(name);
  return out;
}

std::optional<std::string> choose(const std::vector<std::string>& ours,
                                  const std::vector<std::string>& theirs) {
  for (const auto& protocol : ours) {
    if (protocol.empty() && theirs.empty()) return std::string();
    for (const auto& other : theirs)
      if (other == protocol) return protocol;
  }
  return std::nullopt;
}

}  // namespace

std::unique_ptr<WebSocket> WebSocket::create(std::unique_ptr<Stream> stream, Role role,
                                             size_t message_bytes_max) {
  return std::make_unique<OwnedWebSocket>(
      std::make_shared<Connection>(std::move(stream), role, message_bytes_max));
}

bool wants_websocket(const Request& request) {
  return request.http_version == 1 && header_has_token(request.headers, "connection", "upgrade") &&
         header_has_token(request.headers, "upgrade", "websocket");
}

Result<AcceptedWebSocket> accept_websocket(Exchange& exchange,
                                           const std::vector<std::string>& protocols,
                                           size_t message_bytes_max) {
  const Request& request = exchange.request();
  if (!wants_websocket(request) || request.method != "GET")
    return fail(bad_request("the request does not ask for a WebSocket"));
  if (request.headers.get("sec-websocket-version") != "13")
    return fail(bad_request("only WebSocket version 13 is spoken here"));
  const auto key = request.headers.get("sec-websocket-key");
  const auto decoded = base64_decode(key);
  if (!decoded || decoded->size() != 16)
    return fail(bad_request("Sec-WebSocket-Key is not 16 bytes of base64"));
  const auto offered = offered_protocols(request.headers);
  const auto chosen = choose(protocols, offered);
  if (!chosen)
    return fail(
        forbidden("none of the offered WebSocket protocols is supported: " + join(offered, ", ")));
  Headers headers;
  headers.add("upgrade", "websocket");
  headers.add("connection", "Upgrade");
  headers.add("sec-websocket-accept", websocket_accept_key(key));
  if (!chosen->empty()) headers.add("sec-websocket-protocol", *chosen);
  auto stream = exchange.upgrade(std::move(headers));
  if (!stream) return fail(unavailable("the connection is gone or cannot be upgraded"));
  return AcceptedWebSocket{
      WebSocket::create(std::move(stream), WebSocket::Role::server, message_bytes_max), *chosen};
}

Result<AcceptedWebSocket> connect_websocket(HttpClient& client, Request request,
                                            const std::vector<std::string>& protocols,
                                            Duration timeout, size_t message_bytes_max) {
  const std::string key = base64_encode(os::make_random()->bytes(16));
  request.headers.set("connection", "Upgrade");
  request.headers.set("upgrade", "websocket");
  request.headers.set("sec-websocket-version", "13");
  request.headers.set("sec-websocket-key", key);
  if (!protocols.empty()) request.headers.set("sec-websocket-protocol", join(protocols, ", "));
  DURE_TRY(auto upgraded, client.upgrade(std::move(request), timeout));
  if (upgraded.headers.get("sec-websocket-accept") != websocket_accept_key(key))
    return fail(Error{.code = 502,
                      .reason = "WebSocketProtocolError",
                      .message = "the server did not answer the WebSocket key"});
  const std::string protocol(upgraded.headers.get("sec-websocket-protocol"));
  return AcceptedWebSocket{
      WebSocket::create(std::move(upgraded.stream), WebSocket::Role::client, message_bytes_max),
      protocol};
}

namespace {

class WebSocketStream final : public Stream {
 public:
  explicit WebSocketStream(std::unique_ptr<WebSocket> socket) : socket_(std::move(socket)) {}
  void start(Callbacks callbacks) override {
    // Held by what runs, because a callback may destroy this stream.
    const auto shared = std::make_shared<Callbacks>(std::move(callbacks));
    WebSocket::Callbacks below;
    below.on_message = [shared](bool is_text, std::string_view message) {
      if (!is_text && shared->on_data && !message.empty()) shared->on_data(message);
    };
    below.on_drained = [shared] {
      if (shared->on_drained) shared->on_drained();
    };
    below.on_close = [shared](int code, std::string_view reason) {
      if (shared->on_end && code < no_close_frame) shared->on_end();
      if (shared->on_close)
        shared->on_close(Error{.code = 503,
                               .reason = "EndOfStream",
                               .message = "WebSocket closed with " + std::to_string(code) + " " +
                                          std::string(reason)});
    };
    socket_->start(std::move(below));
  }
  void write(SharedBytes bytes) override {
    // kubectl reads frames into a buffer of its own size; moderate messages keep the other side's
    // memory small.
    constexpr size_t message_bytes = 32 << 10;
    for (size_t at = 0; socket_ && at < bytes.size(); at += message_bytes)
      socket_->send(false, bytes.view().substr(at, message_bytes));
  }
  size_t unsent() const override { return socket_ ? socket_->unsent() : 0; }
  void pause(bool paused) override {
    if (socket_) socket_->pause(paused);
  }
  void finish_writing() override {
    if (socket_) socket_->close(1000);
  }
  void close() override { socket_.reset(); }
  run::Loop& loop() override { return *loop_; }

 private:
  std::unique_ptr<WebSocket> socket_;
  run::Loop* loop_ = &socket_->loop();
};

}  // namespace

std::unique_ptr<Stream> websocket_as_stream(std::unique_ptr<WebSocket> socket) {
  return std::make_unique<WebSocketStream>(std::move(socket));
}

}  // namespace dure::wire
