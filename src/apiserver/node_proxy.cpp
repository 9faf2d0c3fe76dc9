// Streams to nodes: logs, exec, attach, port-forward and node proxies. The request goes on to the kubelet API of the node; what comes
// back is passed on as it comes, and after an upgrade (SPDY, WebSocket) both sides are a pipe of bytes.
//
// Thread: the client's stream and the node's may belong to different loops. Both only ever call methods of the other, under one
// mutex; each stream is destroyed on its own loop.
#include <mutex>

#include <fmt/format.h>

#include "apiserver/front_state.h"
#include "base/text.h"
#include "wire/http1_parser.h"

namespace dure::apiserver {

namespace {

constexpr size_t head_bytes_max = 64 << 10, pipe_bytes_max = 256 << 10;

void destroy_on_its_loop(std::unique_ptr<wire::Stream> stream) {
  if (!stream) return;
  run::Loop& loop = stream->loop();
  loop.post([stream = std::move(stream)]() mutable { stream.reset(); });
}

// Two byte streams, each feeding the other.
class Pipe : public std::enable_shared_from_this<Pipe> {
 public:
  Pipe(std::unique_ptr<wire::Stream> client, std::unique_ptr<wire::Stream> node) {
    ends_[0] = std::move(client);
    ends_[1] = std::move(node);
  }

  // The client's end; the node's runs already and calls data(1), end(1), over(1), drained(1).
  void start_client() {
    wire::Stream::Callbacks callbacks;
    callbacks.on_data = [self = shared_from_this()](std::string_view bytes) { self->data(0, bytes); };
    callbacks.on_end = [self = shared_from_this()] { self->end(0); };
    callbacks.on_close = [self = shared_from_this()](Error) { self->over(); };
    callbacks.on_drained = [self = shared_from_this()] { self->drained(0); };
    ends_[0]->start(std::move(callbacks));
  }

  void data(int from, std::string_view bytes) {
    const std::scoped_lock lock(mutex_);
    if (!ends_[0] || !ends_[1]) return;
    wire::Stream& to = *ends_[1 - from];
    to.write(SharedBytes(std::string(bytes)));
    if (to.unsent() < pipe_bytes_max || paused_[from]) return;
    paused_[from] = true;
    ends_[from]->pause(true);
  }
  void end(int from) {
    const std::scoped_lock lock(mutex_);
    if (ends_[1 - from]) ends_[1 - from]->finish_writing();
    ended_[from] = true;
  }
  void drained(int end) {  // of the stream `end`: the other may read again
    const std::scoped_lock lock(mutex_);
    if (!ends_[1 - end] || !std::exchange(paused_[1 - end], false)) return;
    ends_[1 - end]->pause(false);
  }
  // Either connection is over: the other has nobody to talk to. What was written to it may still leave.
  void over() {
    std::unique_ptr<wire::Stream> client, node;
    {
      const std::scoped_lock lock(mutex_);
      client = std::move(ends_[0]);
      node = std::move(ends_[1]);
    }
    if (client) linger(std::move(client));
    destroy_on_its_loop(std::move(node));
  }

 private:
  // Closes after what was written has left, or after a moment.
  static void linger(std::unique_ptr<wire::Stream> stream) {
    stream->finish_writing();
    run::Loop& loop = stream->loop();
    if (stream->unsent() == 0) return destroy_on_its_loop(std::move(stream));
    struct Held {
      std::unique_ptr<wire::Stream> stream;
      std::unique_ptr<run::Timer> timer;
    };
    auto held = std::make_shared<Held>();
    held->stream = std::move(stream);
    loop.post([held, &loop] {
      held->timer = loop.after(2s, [held] {
        held->stream.reset();
        held->timer.reset();
      });
    });
  }

  std::mutex mutex_;
  std::unique_ptr<wire::Stream> ends_[2];
  bool paused_[2] = {false, false}, ended_[2] = {false, false};
};

// One request to a node. Runs on the node stream's loop; answers the exchange from there (every Exchange method may be called from any
// thread).
class NodeRequest : public std::enable_shared_from_this<NodeRequest> {
 public:
  NodeRequest(ExchangePtr exchange, std::unique_ptr<wire::Stream> stream, std::string head, std::string body, bool upgrade,
              std::string method)
      : exchange_(std::move(exchange)), stream_(std::move(stream)), method_(std::move(method)), upgrade_(upgrade) {
    stream_->write(SharedBytes(std::move(head)));
    if (!body.empty()) stream_->write(SharedBytes(std::move(body)));
  }

  void start() {
    auto self = shared_from_this();
    exchange_->on_close([self] { self->client_gone(); });
    exchange_->on_drained([self] { self->client_drained(); });
    wire::Stream::Callbacks callbacks;
    callbacks.on_data = [self](std::string_view bytes) { self->data(bytes); };
    callbacks.on_end = [self] { self->node_ended(); };
    callbacks.on_close = [self](Error why) { self->node_gone(std::move(why)); };
    callbacks.on_drained = [self] {
      if (auto pipe = self->pipe()) pipe->drained(1);
    };
    stream_->start(std::move(callbacks));
  }

 private:
  enum class Phase { head, body, pipe, over };

  std::shared_ptr<Pipe> pipe() {
    const std::scoped_lock lock(mutex_);
    return pipe_;
  }

  void data(std::string_view bytes) {
    if (phase_ == Phase::pipe) return pipe_->data(1, bytes);
    if (phase_ == Phase::over) return;
    if (phase_ == Phase::body) return body(bytes);
    buffer_ += bytes;
    const size_t size = wire::http1_head_size(buffer_);
    if (size == std::string::npos) {
      if (buffer_.size() > head_bytes_max) fail_with(bad_gateway("the node's answer has no end"));
      return;
    }
    const std::string rest = buffer_.substr(size);
    const std::string head = buffer_.substr(0, size);
    buffer_.clear();
    answer_head(head, rest);
  }

  void answer_head(std::string_view head, std::string_view rest) {
    wire::Http1Head parsed;
    if (auto ok = wire::parse_http1_response(head, parsed); !ok) return fail_with(bad_gateway(ok.error().message));
    if (upgrade_ && parsed.status == 101) return become_pipe(parsed, rest);
    auto framing = wire::response_framing(parsed, method_);
    if (!framing) return fail_with(bad_gateway(framing.error().message));
    reader_ = wire::Http1BodyReader(*framing);
    wire::Headers headers;
    for (const auto& [name, value] : parsed.headers.items)
      if (name != "connection" && name != "transfer-encoding" && name != "content-length" && name != "keep-alive" && name != "date")
        headers.add(name, value);
    phase_ = Phase::body;
    exchange_->start(parsed.status, std::move(headers));
    body(rest);
  }

  void body(std::string_view bytes) {
    while (true) {
      if (reader_.done()) return finish();
      if (bytes.empty()) break;
      std::string_view piece;
      if (auto ok = reader_.read(bytes, piece); !ok) return abort();
      if (!piece.empty()) exchange_->write(SharedBytes(std::string(piece)));
    }
    if (exchange_->unsent() < pipe_bytes_max) return;
    const std::scoped_lock lock(mutex_);
    if (!stream_ || paused_) return;
    paused_ = true;
    stream_->pause(true);
  }

  void become_pipe(const wire::Http1Head& head, std::string_view rest) {
    wire::Headers headers;
    for (const auto& [name, value] : head.headers.items)
      if (name != "date" && name != "content-length" && name != "transfer-encoding") headers.add(name, value);
    phase_ = Phase::pipe;
    // taking the connection over must happen on its own loop
    std::string first(rest);
    {
      const std::scoped_lock lock(mutex_);
      stream_->pause(true);
    }
    exchange_->loop().post([self = shared_from_this(), headers = std::move(headers), first = std::move(first)]() mutable {
      self->take_client(std::move(headers), std::move(first));
    });
  }

  // On the client's loop; the node's stream is paused.
  void take_client(wire::Headers headers, std::string first) {
    auto client = exchange_ ? exchange_->upgrade(std::move(headers)) : nullptr;
    std::unique_ptr<wire::Stream> node;
    {
      const std::scoped_lock lock(mutex_);
      node = std::move(stream_);
    }
    if (!client || !node) return destroy_on_its_loop(std::move(node));
    wire::Stream& resumed = *node;
    auto pipe = std::make_shared<Pipe>(std::move(client), std::move(node));
    {
      const std::scoped_lock lock(mutex_);
      pipe_ = pipe;
    }
    if (!first.empty()) pipe->data(1, first);
    pipe->start_client();
    resumed.pause(false);
  }

  void node_ended() {
    if (auto pipe = this->pipe()) return pipe->end(1);
    if (phase_ == Phase::body && reader_.ends_with_connection()) return finish();
    if (phase_ == Phase::head) fail_with(bad_gateway("the node closed the connection without an answer"));
  }

  void node_gone(Error why) {
    if (auto pipe = this->pipe()) return pipe->over();
    if (phase_ == Phase::head) return fail_with(bad_gateway(why.message));
    if (phase_ == Phase::body && reader_.ends_with_connection()) return finish();
    if (phase_ == Phase::body) abort();
  }

  void client_gone() { drop_stream(); }

  void client_drained() {
    const std::scoped_lock lock(mutex_);
    if (!stream_ || !std::exchange(paused_, false)) return;
    stream_->pause(false);
  }

  void finish() {
    phase_ = Phase::over;
    exchange_->finish();
    drop_stream();
  }

  void abort() {
    phase_ = Phase::over;
    exchange_->abort();
    drop_stream();
  }

  static Error bad_gateway(std::string_view why) {
    return {502, "BadGateway", fmt::format("error dialing backend: {}", why)};
  }

  void fail_with(Error error) {
    phase_ = Phase::over;
    answer_error(*exchange_, {}, error);
    drop_stream();
  }

  void drop_stream() {
    std::unique_ptr<wire::Stream> stream;
    {
      const std::scoped_lock lock(mutex_);
      stream = std::move(stream_);
    }
    destroy_on_its_loop(std::move(stream));
  }

  const ExchangePtr exchange_;
  std::mutex mutex_;  // of stream_, pipe_ and paused_
  std::unique_ptr<wire::Stream> stream_;
  std::shared_ptr<Pipe> pipe_;
  const std::string method_;
  const bool upgrade_;
  bool paused_ = false;
  Phase phase_ = Phase::head;
  std::string buffer_;
  wire::Http1BodyReader reader_;
};

// Headers that concern the node; credentials stay here.
wire::Headers forwarded_headers(const wire::Request& http, bool upgrade, std::string_view node) {
  wire::Headers headers;
  headers.add("host", node);
  for (const auto& [name, value] : http.headers.items) {
    const bool of_upgrade = name.starts_with("x-stream-protocol-version") || name.starts_with("sec-websocket-");
    if ((upgrade && of_upgrade) || name == "accept" || name == "content-type" || name == "range" || name == "user-agent")
      headers.add(name, value);
  }
  if (upgrade) {
    headers.add("connection", "Upgrade");
    headers.add("upgrade", http.headers.get("upgrade"));
  } else {
    headers.add("connection", "close");
  }
  if (!upgrade && !http.body.empty()) headers.add("content-length", std::to_string(http.body.size()));
  return headers;
}

Status verb_is_served(const schema::Resource& resource, const ApiRequest& request) {
  const schema::Subresource* sub = resource.subresource(request.subresource);
  for (const std::string_view verb : sub->verbs)
    if (verb == request.verb) return {};
  return fail(Error{405, "MethodNotAllowed", "the server does not allow this method on the requested resource"});
}

Result<kinds::NodeCall> plan_call(const Front::State& state, const Served& served, const ApiRequest& request) {
  DURE_CHECK(state.api.authorize(request));
  DURE_CHECK(verb_is_served(*served.resource, request));
  if (!served.hooks->node_call)
    return fail(unsupported(fmt::format("{}/{} is not served yet", served.resource->qualified(), request.subresource)));
  const schema::Object object = state.api.peek(served.resource->group, served.resource->plural, request.namespace_, request.name);
  if (!object) return fail(about(not_found(served.resource->qualified(), request.name), *served.resource, request.name));
  auto call = served.hooks->node_call(*object, request.subresource, request.sub_path, request.query);
  if (call) return call;
  Error error = std::move(call).error();
  if (error.code == 422 && error.message.empty()) error = invalid("", "PodLogOptions", "", std::move(error.causes));
  return fail(about(std::move(error), *served.resource, request.name));
}

}  // namespace

bool is_node_stream(const ApiRequest& request) {
  if (request.subresource.empty()) return false;
  const schema::Subresource* sub = request.resource->subresource(request.subresource);
  return sub && (sub->connect || sub->name == "log");
}

void serve_node_stream(const std::shared_ptr<Front::State>& state, ExchangePtr exchange, ApiRequest request) {
  const Served* served = state->api.catalog().find(*request.resource);
  if (!served) return answer_error(*exchange, {}, no_such_resource());
  auto call = plan_call(*state, *served, request);
  if (!call) return answer_error(*exchange, {}, call.error());
  if (!state->options.nodes) return answer_error(*exchange, {}, unsupported("this server has no way to its nodes"));
  const wire::Request& http = exchange->request();
  const bool upgrade = wire::header_has_token(http.headers, "connection", "upgrade") && !http.headers.get("upgrade").empty();
  const bool wants_upgrade = request.subresource == "exec" || request.subresource == "attach" || request.subresource == "portforward";
  if (wants_upgrade && !upgrade) return answer_error(*exchange, {}, bad_request("Upgrade request required"));
  if (wants_upgrade && http.http_version != 1)
    return answer_error(*exchange, {}, bad_request("streams need HTTP/1.1: HTTP/2 has no upgrade"));
  auto stream = state->options.nodes->dial(call->node);
  if (!stream) {
    Error error = stream.error();
    error.message = fmt::format("error dialing backend: {}", error.message);
    if (error.code < 400) error.code = 502;
    return answer_error(*exchange, {}, error);
  }
  std::string head;
  wire::write_http1_request_head(head, http.method, call->target, forwarded_headers(http, upgrade, call->node));
  const std::string method = http.method, body = upgrade ? std::string{} : http.body;
  std::make_shared<NodeRequest>(std::move(exchange), std::move(*stream), std::move(head), body, upgrade, method)->start();
}

}  // namespace dure::apiserver
