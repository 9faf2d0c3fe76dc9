// Streams to nodes: logs, exec, attach, port-forward and node proxies. The request goes on to the kubelet API of the
// node; what comes back is passed on as it comes. After an upgrade a SPDY client and the node are a pipe of bytes; a
// WebSocket client is translated to the SPDY streams that container runtimes speak.
//
// Thread: all of it on the loop of the client's connection; the node's stream is brought there.
#include <fmt/format.h>

#include "apiserver/front_state.h"
#include "base/text.h"
#include "wire/http1_parser.h"
#include "wire/relay_stream.h"
#include "wire/remote_command.h"
#include "wire/stream_pipe.h"
#include "wire/websocket.h"

namespace dure::apiserver {

namespace {

constexpr size_t head_bytes_max = 64 << 10, unsent_bytes_max = 256 << 10, refusal_bytes_max = 8 << 10;

bool is_on(std::string_view text) { return text == "true" || text == "1"; }

// What the client upgrades to.
enum class Dress { none, spdy, websocket };

Dress dress_of(const wire::Request& http) {
  if (wire::wants_websocket(http)) return Dress::websocket;
  const bool upgrade =
      wire::header_has_token(http.headers, "connection", "upgrade") && !http.headers.get("upgrade").empty();
  return upgrade ? Dress::spdy : Dress::none;
}

// Joins a client and the node's SPDY connection after the node's 101.
class Joint {
 public:
  Joint(const ApiRequest& request, Dress dress) : dress_(dress) {
    port_forward_ = request.subresource == "portforward";
    command_.stdin_wanted = is_on(query_value(request.query, "stdin"));
    command_.stdout_wanted = is_on(query_value(request.query, "stdout"));
    command_.stderr_wanted = is_on(query_value(request.query, "stderr"));
    command_.tty = is_on(query_value(request.query, "tty"));
    for (const auto& [key, value] : request.query)
      if (const auto port = key == "ports" ? parse_int(value) : std::nullopt; port && *port > 0 && *port < 65536)
        ports_.push_back(static_cast<uint16_t>(*port));
  }

  Dress dress() const { return dress_; }

  void connect(wire::Exchange& exchange, wire::Headers headers, std::unique_ptr<wire::Stream> node) {
    if (dress_ == Dress::websocket)
      return port_forward_ ? join_port_forward(exchange, std::move(node)) : join_command(exchange, std::move(node));
    if (auto client = exchange.upgrade(std::move(headers))) wire::pipe_streams(std::move(client), std::move(node));
  }

  // What the node is asked to upgrade to.
  void add_upgrade(const wire::Request& http, wire::Headers& headers) const {
    headers.add("connection", "Upgrade");
    if (dress_ == Dress::websocket) {
      headers.add("upgrade", "SPDY/3.1");
      headers.add("x-stream-protocol-version", port_forward_ ? "portforward.k8s.io" : "v4.channel.k8s.io");
      return;
    }
    headers.add("upgrade", http.headers.get("upgrade"));
    for (const std::string_view version : http.headers.all("x-stream-protocol-version"))
      headers.add("x-stream-protocol-version", version);
  }

 private:
  void join_command(wire::Exchange& exchange, std::unique_ptr<wire::Stream> node) {
    auto accepted = wire::accept_websocket(exchange, wire::remote_command_protocols());
    if (!accepted) return answer_error(exchange, {}, accepted.error());
    command_.protocol = accepted->protocol;
    wire::bridge_websocket_to_spdy(std::move(accepted->socket), std::move(node), command_);
  }

  void join_port_forward(wire::Exchange& exchange, std::unique_ptr<wire::Stream> node) {
    auto accepted = wire::accept_websocket(exchange, wire::port_forward_protocols());
    if (!accepted) return answer_error(exchange, {}, accepted.error());
    if (accepted->protocol == wire::spdy_tunnel_protocol)
      return wire::pipe_streams(wire::websocket_as_stream(std::move(accepted->socket)), std::move(node));
    const bool base64 = accepted->protocol.find("base64") != std::string::npos;
    wire::bridge_websocket_port_forward(std::move(accepted->socket), std::move(node), ports_, base64);
  }

  const Dress dress_;
  bool port_forward_ = false;
  wire::RemoteCommand command_;
  std::vector<uint16_t> ports_;
};

// One request to a node.
class NodeRequest : public std::enable_shared_from_this<NodeRequest> {
 public:
  NodeRequest(ExchangePtr exchange, std::unique_ptr<wire::Stream> stream, Joint joint, bool log)
      : exchange_(std::move(exchange)),
        stream_(std::move(stream)),
        method_(exchange_->request().method),
        joint_(std::move(joint)),
        log_(log) {}

  void start(std::string head, const std::string& body) {
    auto self = shared_from_this();
    exchange_->on_close([self] { self->drop(); });
    exchange_->on_drained([self] { self->client_drained(); });
    wire::Stream::Callbacks callbacks;
    callbacks.on_data = [self](std::string_view bytes) { self->data(bytes); };
    callbacks.on_end = [self] { self->node_ended("the node closed the connection without an answer"); };
    callbacks.on_close = [self](Error why) { self->node_ended(why.message); };
    stream_->start(std::move(callbacks));
    stream_->write(SharedBytes(head + body));
  }

 private:
  enum class Phase { head, body, over };

  void data(std::string_view bytes) {
    if (phase_ == Phase::over) return;
    if (phase_ == Phase::body) return body(bytes);
    buffer_ += bytes;
    const size_t size = wire::http1_head_size(buffer_);
    if (size != std::string::npos) return take_head(buffer_.substr(0, size), buffer_.substr(size));
    if (buffer_.size() > head_bytes_max) fail_with("the head of the node's answer has no end");
  }

  void take_head(const std::string& head, std::string rest) {
    wire::Http1Head parsed;
    if (auto ok = wire::parse_http1_response(head, parsed); !ok) return fail_with(ok.error().message);
    if (joint_.dress() != Dress::none && parsed.status == 101) return join(parsed.headers, std::move(rest));
    auto framing = wire::response_framing(parsed, method_);
    if (!framing) return fail_with(framing.error().message);
    reader_ = wire::Http1BodyReader(*framing);
    if (log_ && parsed.status >= 400) {
      refusal_ = Error{parsed.status, reason_of(parsed.status), {}};
      phase_ = Phase::body;
      return body(rest);
    }
    wire::Headers headers;
    for (const auto& [name, value] : parsed.headers.items)
      if (name != "connection" && name != "transfer-encoding" && name != "content-length" && name != "keep-alive" &&
          name != "date")
        headers.add(name, value);
    phase_ = Phase::body;
    exchange_->start(parsed.status, std::move(headers));
    body(rest);
  }

  void join(const wire::Headers& from_node, std::string rest) {
    wire::Headers headers;
    for (const auto& [name, value] : from_node.items)
      if (name != "date" && name != "content-length" && name != "transfer-encoding") headers.add(name, value);
    phase_ = Phase::over;
    stream_->hand_over(std::move(rest));
    // not from inside the node stream's own callback
    exchange_->loop().post([self = shared_from_this(), headers = std::move(headers)]() mutable {
      if (self->stream_ && self->exchange_)
        self->joint_.connect(*self->exchange_, std::move(headers), std::move(self->stream_));
      self->exchange_.reset();
    });
  }

  void body(std::string_view bytes) {
    while (!reader_.done() && !bytes.empty()) {
      std::string_view piece;
      if (auto ok = reader_.read(bytes, piece); !ok) return abort();
      if (refusal_)
        refusal_->message += piece.substr(0, refusal_bytes_max - refusal_->message.size());
      else if (!piece.empty())
        exchange_->write(SharedBytes(std::string(piece)));
      if (!exchange_) return;  // the client went away
    }
    if (reader_.done()) return finish();
    if (refusal_ || paused_ || exchange_->unsent() < unsent_bytes_max) return;
    paused_ = true;
    stream_->pause(true);
  }

  void node_ended(std::string_view why) {
    if (phase_ == Phase::over) return;
    if (phase_ == Phase::head) return fail_with(why);
    if (reader_.ends_with_connection())
      finish();
    else
      abort();
  }

  void client_drained() {
    if (stream_ && std::exchange(paused_, false)) stream_->pause(false);
  }

  void finish() {
    if (exchange_ && refusal_)
      answer_error(*exchange_, {}, *refusal_);
    else if (exchange_)
      exchange_->finish();
    drop();
  }

  static std::string reason_of(int status) {
    return status == 400 ? "BadRequest" : status == 404 ? "NotFound" : "InternalError";
  }

  void abort() {
    if (exchange_) exchange_->abort();
    drop();
  }

  void fail_with(std::string_view why) {
    if (exchange_)
      answer_error(*exchange_, {}, Error{502, "BadGateway", fmt::format("error dialing backend: {}", why)});
    drop();
  }

  void drop() {
    if (phase_ == Phase::over && !stream_) return;
    phase_ = Phase::over;
    auto exchange = std::exchange(exchange_, nullptr);
    if (!exchange || !stream_) return;
    // a stream is not destroyed from inside its own callback
    exchange->loop().post([stream = std::shared_ptr<wire::Stream>(std::move(stream_))] {});
  }

  ExchangePtr exchange_;
  std::unique_ptr<wire::Stream> stream_;
  const std::string method_;
  Joint joint_;
  const bool log_;
  // What the node says instead of a log, in plain text: clients are told as the API tells errors, for they show nothing
  // else.
  std::optional<Error> refusal_;
  bool paused_ = false;
  Phase phase_ = Phase::head;
  std::string buffer_;
  wire::Http1BodyReader reader_;
};

// Headers that concern the node; credentials stay here.
wire::Headers forwarded_headers(const wire::Request& http, const Joint& joint, std::string_view node) {
  wire::Headers headers;
  headers.add("host", node);
  for (const auto& [name, value] : http.headers.items)
    if (name == "accept" || name == "content-type" || name == "range" || name == "user-agent") headers.add(name, value);
  if (joint.dress() != Dress::none) {
    joint.add_upgrade(http, headers);
    return headers;
  }
  headers.add("connection", "close");
  if (!http.body.empty()) headers.add("content-length", std::to_string(http.body.size()));
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
  const schema::Object object =
      state.api.peek(served.resource->group, served.resource->plural, request.namespace_, request.name);
  if (!object)
    return fail(about(not_found(served.resource->qualified(), request.name), *served.resource, request.name));
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
  const bool interactive =
      request.subresource == "exec" || request.subresource == "attach" || request.subresource == "portforward";
  const Dress dress = interactive ? dress_of(http) : Dress::none;
  if (interactive && dress == Dress::none) return answer_error(*exchange, {}, bad_request("Upgrade request required"));
  if (interactive && http.http_version != 1)
    return answer_error(*exchange, {}, bad_request("streams need HTTP/1.1: HTTP/2 has no upgrade"));
  if (!wire::valid_request_line(http.method, call->target))
    return answer_error(*exchange, {}, bad_request("a path that no request can carry"));
  auto stream = state->options.nodes->dial(call->node);
  if (!stream) {
    Error error = stream.error();
    error.message = fmt::format("error dialing backend: {}", error.message);
    if (error.code < 400) error.code = 502;
    return answer_error(*exchange, {}, error);
  }
  Joint joint(request, dress);
  std::string head;
  wire::write_http1_request_head(head, dress == Dress::websocket ? "POST" : http.method, call->target,
                                 forwarded_headers(http, joint, call->node));
  const std::string body = dress == Dress::none ? http.body : std::string{};
  auto here = wire::make_transferable(wire::rehome(std::move(*stream), exchange->loop()));
  std::make_shared<NodeRequest>(std::move(exchange), std::move(here), std::move(joint), request.subresource == "log")
      ->start(std::move(head), body);
}

}  // namespace dure::apiserver
