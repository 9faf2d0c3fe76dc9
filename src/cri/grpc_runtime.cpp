// The runtime over gRPC: unary calls and event streams on one HTTP/2 connection over a unix socket.
//
// gRPC frames a message with one byte (0: not compressed) and its length in four, big endian; the outcome stands in the
// trailers.
#include <fmt/format.h>

#include <array>
#include <condition_variable>
#include <mutex>
#include <set>

#include "base/text.h"
#include "cri/methods.h"
#include "cri/runtime.h"
#include "cri/views/cri_v1.h"
#include "schema/proto.h"
#include "wire/http.h"

namespace dure::cri {

namespace {

constexpr size_t message_bytes_max = 16 << 20;

struct Code {
  std::string_view name;
  int http;  // the nearest HTTP status, for Error::code
};
constexpr std::array codes{Code{"OK", 200},
                           Code{"Canceled", 499},
                           Code{"Unknown", 500},
                           Code{"InvalidArgument", 400},
                           Code{"DeadlineExceeded", 504},
                           Code{"NotFound", 404},
                           Code{"AlreadyExists", 409},
                           Code{"PermissionDenied", 403},
                           Code{"ResourceExhausted", 429},
                           Code{"FailedPrecondition", 412},
                           Code{"Aborted", 409},
                           Code{"OutOfRange", 400},
                           Code{"Unimplemented", 501},
                           Code{"Internal", 500},
                           Code{"Unavailable", 503},
                           Code{"DataLoss", 500},
                           Code{"Unauthenticated", 401}};

std::string frame(std::string_view message) {
  std::string out(5, '\0');
  for (int i = 0; i < 4; ++i) out[1 + i] = static_cast<char>(message.size() >> (24 - 8 * i));
  out.append(message);
  return out;
}

// Takes one whole message off the front of `buffer`; nullopt: more bytes are needed.
Result<std::optional<std::string>> take_message(std::string& buffer) {
  if (buffer.size() < 5) return std::nullopt;
  if (buffer[0] != 0) return fail(Error{500, "Internal", "the runtime sent a compressed message"});
  size_t length = 0;
  for (int i = 0; i < 4; ++i) length = length << 8 | static_cast<unsigned char>(buffer[1 + i]);
  if (length > message_bytes_max)
    return fail(Error{500, "ResourceExhausted", "the runtime sent a message that is too large"});
  if (buffer.size() < 5 + length) return std::nullopt;
  std::string message = buffer.substr(5, length);
  buffer.erase(0, 5 + length);
  return message;
}

// The outcome as trailers (or, when the answer has no body, headers) tell it.
Status outcome_of(const wire::Headers& headers) {
  const auto code = parse_int(headers.get("grpc-status"));
  if (!code) return fail(Error{500, "Unknown", "the runtime's answer has no grpc-status"});
  if (*code == 0) return {};
  const Code& known =
      *code > 0 && *code < static_cast<int64_t>(codes.size()) ? codes[static_cast<size_t>(*code)] : codes[2];
  return fail(Error{known.http, std::string(known.name), percent_decode(headers.get("grpc-message"))});
}

Error transport_error(Error error) {
  const bool late = error.code == 504 || error.is("Timeout");
  return {late ? 504 : 503, late ? "DeadlineExceeded" : "Unavailable", std::move(error.message)};
}

wire::Request request_for(const std::string& path, std::string body, std::optional<Duration> timeout) {
  wire::Request request;
  request.method = "POST";
  request.target = path;
  request.headers.set("host", "localhost");
  request.headers.set("content-type", "application/grpc");
  request.headers.set("te", "trailers");
  request.headers.set("user-agent", "dure");
  if (timeout)
    request.headers.set("grpc-timeout",
                        fmt::format("{}m", std::chrono::duration_cast<std::chrono::milliseconds>(*timeout).count()));
  request.body = std::move(body);
  return request;
}

// One unary call in flight; holds itself alive through the callbacks until it ended.
struct Call {
  const schema::Method* method = nullptr;
  Runtime::Done done;
  std::mutex mutex;
  bool ended = false;
  int status = 0;
  wire::Headers headers, trailers;
  std::string body;
  std::unique_ptr<run::Timer> request, deadline;

  // The outcome of a stream that came to its end.
  Result<schema::Document> answer() {
    if (status != 200)
      return fail(Error{503, "Unavailable", fmt::format("the runtime answered with HTTP status {}", status)});
    DURE_CHECK(outcome_of(trailers.get("grpc-status").empty() ? headers : trailers));
    DURE_TRY(std::optional<std::string> message, take_message(body));
    if (!message) return fail(Error{500, "Internal", "the runtime's answer is cut short"});
    return schema::decode_message(SharedBytes(*std::move(message)), *method->response);
  }
};

// One server stream; lives until it ended or its handle was destroyed.
struct Subscription {
  std::mutex mutex;
  std::condition_variable answered;
  std::optional<Status> ended;
  bool begun = false;   // a message came
  bool silent = false;  // the handle is gone
  wire::Headers headers, trailers;
  std::string buffer;
  std::function<void(std::string_view message)> on_message;
  std::function<void(Error)> on_end;
  bool delivered = false;  // `events` returned this subscription: its end is told by on_end

  void end(Status how) {
    std::function<void(Error)> tell;
    {
      std::lock_guard lock(mutex);
      if (ended) return;
      ended = std::move(how);
      if (delivered && !silent) tell = on_end;
    }
    answered.notify_all();
    if (tell)
      tell(ended->has_value() ? Error{503, "Unavailable", "the runtime ended the event stream"} : ended->error());
  }
};

class StreamHandle : public run::Timer {
 public:
  StreamHandle(std::shared_ptr<Subscription> subscription, std::unique_ptr<run::Timer> call)
      : subscription_(std::move(subscription)), call_(std::move(call)) {}
  ~StreamHandle() override { cancel(); }
  void cancel() override {
    {
      std::lock_guard lock(subscription_->mutex);
      subscription_->silent = true;
    }
    call_.reset();
  }

 private:
  std::shared_ptr<Subscription> subscription_;
  std::unique_ptr<run::Timer> call_;
};

class GrpcRuntime : public Runtime {
 public:
  GrpcRuntime(run::Loop& loop, const std::string& endpoint) : loop_(loop) {
    std::string path = endpoint.starts_with("unix://") ? endpoint.substr(7) : endpoint;
    auto client = wire::HttpClient::create(loop, "h2c+unix:" + path);
    if (client)
      client_ = std::move(*client);
    else
      broken_ = std::move(client).error();
  }

  Result<schema::Document> call(std::string_view name, const schema::Document& request, Duration timeout) override {
    struct Waiter {
      std::mutex mutex;
      std::condition_variable answered;
      std::optional<Result<schema::Document>> answer;
    };
    auto waiter = std::make_shared<Waiter>();
    call_async(name, request, timeout, [waiter](Result<schema::Document> answer) {
      {
        std::lock_guard lock(waiter->mutex);
        waiter->answer = std::move(answer);
      }
      waiter->answered.notify_all();
    });
    std::unique_lock lock(waiter->mutex);
    waiter->answered.wait(lock, [&] { return waiter->answer.has_value(); });
    return *std::move(waiter->answer);
  }

  void call_async(std::string_view name, const schema::Document& request, Duration timeout, Done done) override {
    const schema::Method* method = find_method(name);
    if (!method || method->stream)
      return done(fail(Error{501, "Unimplemented", fmt::format("CRI v1 has no unary call {}", name)}));
    if (!client_) return done(fail(transport_error(broken_)));
    std::string message;
    schema::encode_message(request.root(), *method->request, message);
    auto call = std::make_shared<Call>();
    call->method = method;
    call->done = std::move(done);
    begin(call, request_for(fmt::format("/{}/{}", method->service, method->name), frame(message), timeout),
          timeout + 1s);
  }

  void interrupt_calls() override {
    std::set<std::shared_ptr<Call>> all;
    {
      std::lock_guard lock(state_->mutex);
      all = state_->calls;
    }
    for (const auto& call : all) end(state_, call, [] { return fail(Error{499, "Canceled", "the agent is ending"}); });
  }

  Result<std::unique_ptr<run::Timer>> events(std::function<void(const schema::Document&)> on_event,
                                             std::function<void(Error)> on_end) override {
    const schema::Method* method = find_method("GetContainerEvents");
    auto decoded = [on_event](std::string_view message) {
      auto event =
          schema::decode_message(SharedBytes(std::string(message)), *find_method("GetContainerEvents")->response);
      if (event) on_event(*event);
    };
    auto stream = subscribe(fmt::format("/{}/{}", method->service, method->name), "", {}, decoded, on_end);
    if (stream || !stream.error().is("Unimplemented")) return stream;
    // containerd before 1.7 has no CRI events but its own service, which tells at least that something happened.
    std::string filter = R"x(topic~="^/tasks/(start|exit|oom)")x";
    std::string subscribe_request;
    subscribe_request += '\x0a';
    subscribe_request += static_cast<char>(filter.size());
    subscribe_request += filter;
    auto hint = [on_event](std::string_view) {
      schema::Document nothing(v1::ContainerEventResponse::type());
      on_event(nothing);
    };
    return subscribe("/containerd.services.events.v1.Events/Subscribe", subscribe_request, "k8s.io", hint, on_end);
  }

  ~GrpcRuntime() override { interrupt_calls(); }

 private:
  // Answers once a message came, the stream failed, or nothing happened for a moment (then it stands).
  Result<std::unique_ptr<run::Timer>> subscribe(const std::string& path, std::string_view message,
                                                std::string_view containerd_namespace,
                                                std::function<void(std::string_view)> on_message,
                                                std::function<void(Error)> on_end) {
    if (!client_) return fail(transport_error(broken_));
    auto subscription = std::make_shared<Subscription>();
    subscription->on_message = std::move(on_message);
    subscription->on_end = std::move(on_end);
    wire::Request request = request_for(path, frame(message), std::nullopt);
    if (!containerd_namespace.empty()) request.headers.set("containerd-namespace", containerd_namespace);
    wire::HttpClient::Streaming callbacks;
    callbacks.on_start = [subscription](int, const wire::Headers& headers) { subscription->headers = headers; };
    callbacks.on_trailers = [subscription](const wire::Headers& trailers) { subscription->trailers = trailers; };
    callbacks.on_data = [subscription](std::string_view bytes) { take(*subscription, bytes); };
    callbacks.on_end = [subscription](Result<void> how) {
      if (!how) return subscription->end(fail(transport_error(std::move(how).error())));
      const bool own = !subscription->trailers.get("grpc-status").empty();
      subscription->end(outcome_of(own ? subscription->trailers : subscription->headers));
    };
    auto handle =
        std::make_unique<StreamHandle>(subscription, client_->stream(std::move(request), std::move(callbacks)));
    std::unique_lock lock(subscription->mutex);
    subscription->answered.wait_for(lock, std::chrono::milliseconds(300),
                                    [&] { return subscription->ended || subscription->begun; });
    if (subscription->ended && !subscription->ended->has_value()) {
      Error why = subscription->ended->error();
      lock.unlock();
      return fail(std::move(why));
    }
    subscription->delivered = true;
    return handle;
  }

  static void take(Subscription& subscription, std::string_view bytes) {
    subscription.buffer.append(bytes);
    while (true) {
      auto message = take_message(subscription.buffer);
      if (!message) return subscription.end(fail(std::move(message).error()));
      if (!*message) return;
      {
        std::lock_guard lock(subscription.mutex);
        subscription.begun = true;
        if (subscription.silent) return;
      }
      subscription.answered.notify_all();
      subscription.on_message(**message);
    }
  }

  struct State {
    std::mutex mutex;
    std::set<std::shared_ptr<Call>> calls;
  };

  void begin(const std::shared_ptr<Call>& call, wire::Request request, Duration patience) {
    wire::HttpClient::Streaming callbacks;
    callbacks.on_start = [call](int status, const wire::Headers& headers) {
      call->status = status;
      call->headers = headers;
    };
    callbacks.on_data = [call](std::string_view bytes) {
      if (call->body.size() + bytes.size() <= message_bytes_max + 5) call->body.append(bytes);
    };
    callbacks.on_trailers = [call](const wire::Headers& trailers) { call->trailers = trailers; };
    callbacks.on_end = [call, state = state_](Result<void> how) {
      end(state, call, [&]() -> Result<schema::Document> {
        if (!how) return fail(transport_error(std::move(how).error()));
        return call->answer();
      });
    };
    {
      std::lock_guard lock(state_->mutex);
      state_->calls.insert(call);
    }
    auto stream = client_->stream(std::move(request), std::move(callbacks));
    auto deadline = loop_.after(patience, [weak = std::weak_ptr(call), state = state_] {
      if (auto late = weak.lock())
        end(state, late,
            [] { return fail(Error{504, "DeadlineExceeded", "the container runtime did not answer in time"}); });
    });
    std::lock_guard lock(call->mutex);
    if (call->ended) return;  // both go here
    call->request = std::move(stream);
    call->deadline = std::move(deadline);
  }

  template <class Outcome>
  static void end(const std::shared_ptr<State>& state, const std::shared_ptr<Call>& call, Outcome outcome) {
    std::unique_ptr<run::Timer> request, deadline;
    {
      std::lock_guard lock(call->mutex);
      if (std::exchange(call->ended, true)) return;
      request = std::move(call->request);
      deadline = std::move(call->deadline);
    }
    {
      std::lock_guard lock(state->mutex);
      state->calls.erase(call);
    }
    Done done = std::move(call->done);
    done(Result<schema::Document>(outcome()));
  }

  run::Loop& loop_;
  std::unique_ptr<wire::HttpClient> client_;
  Error broken_;
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace

std::unique_ptr<Runtime> connect(run::Loop& loop, std::string endpoint) {
  return std::make_unique<GrpcRuntime>(loop, endpoint);
}

}  // namespace dure::cri
