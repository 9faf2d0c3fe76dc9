// The runtime over gRPC: unary calls and event streams on one HTTP/2 connection over a unix socket.
#include <fmt/format.h>

#include <condition_variable>
#include <mutex>
#include <set>

#include "cri/methods.h"
#include "cri/runtime.h"
#include "cri/views/cri_v1.h"
#include "schema/proto.h"
#include "wire/grpc.h"

namespace dure::cri {

namespace {

constexpr size_t message_bytes_max = 16 << 20;

std::string path_of(const schema::Method& method) { return fmt::format("/{}/{}", method.service, method.name); }

Error gone(std::string message) { return {503, "Unavailable", std::move(message)}; }

// One unary call in flight; holds itself alive through the callbacks until it ended.
struct Call {
  const schema::Method* method = nullptr;
  Runtime::Done done;
  std::optional<std::string> message;  // the loop's
  std::mutex mutex;
  bool ended = false;
  std::unique_ptr<run::Timer> request, deadline;

  Result<schema::Document> answer() {
    if (!message) return fail(Error{500, "Internal", "the runtime's answer is empty"});
    return schema::decode_message(SharedBytes(*std::move(message)), *method->response);
  }
};

// One server stream; lives until it ended or its handle was destroyed.
struct Subscription {
  std::mutex mutex;
  std::condition_variable answered;
  std::optional<Error> ended;
  bool begun = false;   // a message came
  bool silent = false;  // the handle is gone
  std::function<void(std::string_view message)> on_message;
  std::function<void(Error)> on_end;
  bool delivered = false;  // `events` returned this subscription: its end is told by on_end

  void take(std::string_view message) {
    {
      std::lock_guard lock(mutex);
      begun = true;
      if (silent) return;
    }
    answered.notify_all();
    on_message(message);
  }
  void end(Error why) {
    bool tell;
    {
      std::lock_guard lock(mutex);
      ended = why;
      tell = delivered && !silent;
    }
    answered.notify_all();
    if (tell) on_end(std::move(why));
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
    if (client) {
      http_ = std::move(*client);
      grpc_.emplace(*http_, message_bytes_max);
    } else {
      broken_ = gone(std::move(client.error().message));
    }
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
    if (!grpc_) return done(fail(broken_));
    std::string message;
    schema::encode_message(request.root(), *method->request, message);
    auto call = std::make_shared<Call>();
    call->method = method;
    call->done = std::move(done);
    begin(call, message, timeout);
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
    const schema::Method& method = *find_method("GetContainerEvents");
    auto decoded = [on_event, &method](std::string_view message) {
      auto event = schema::decode_message(SharedBytes(std::string(message)), *method.response);
      if (event) on_event(*event);
    };
    auto stream = subscribe(path_of(method), "", {}, decoded, on_end);
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
    wire::Headers headers;
    headers.add("containerd-namespace", "k8s.io");
    return subscribe("/containerd.services.events.v1.Events/Subscribe", subscribe_request, headers, hint, on_end);
  }

  ~GrpcRuntime() override { interrupt_calls(); }

 private:
  // Answers once a message came, the stream ended (an error), or nothing happened for a moment (then it stands).
  Result<std::unique_ptr<run::Timer>> subscribe(const std::string& path, std::string_view message,
                                                const wire::Headers& headers,
                                                std::function<void(std::string_view)> on_message,
                                                std::function<void(Error)> on_end) {
    if (!grpc_) return fail(broken_);
    auto subscription = std::make_shared<Subscription>();
    subscription->on_message = std::move(on_message);
    subscription->on_end = std::move(on_end);
    wire::GrpcClient::Streaming callbacks;
    callbacks.on_message = [subscription](std::string_view event) { subscription->take(event); };
    callbacks.on_end = [subscription](Status how) {
      subscription->end(how ? gone("the runtime ended the event stream") : std::move(how).error());
    };
    auto handle = std::make_unique<StreamHandle>(
        subscription, grpc_->stream(path, message, std::move(callbacks), Duration::zero(), headers));
    std::unique_lock lock(subscription->mutex);
    subscription->answered.wait_for(lock, std::chrono::milliseconds(300),
                                    [&] { return subscription->ended || subscription->begun; });
    if (subscription->ended) {
      Error why = *subscription->ended;
      lock.unlock();
      return fail(std::move(why));
    }
    subscription->delivered = true;
    return handle;
  }

  struct State {
    std::mutex mutex;
    std::set<std::shared_ptr<Call>> calls;
  };

  void begin(const std::shared_ptr<Call>& call, std::string_view message, Duration timeout) {
    wire::GrpcClient::Streaming callbacks;
    callbacks.on_message = [call](std::string_view answer) { call->message = std::string(answer); };
    callbacks.on_end = [call, state = state_](Status how) {
      end(state, call, [&]() -> Result<schema::Document> {
        DURE_CHECK(std::move(how));
        return call->answer();
      });
    };
    {
      std::lock_guard lock(state_->mutex);
      state_->calls.insert(call);
    }
    auto stream = grpc_->stream(path_of(*call->method), message, std::move(callbacks), timeout);
    // The runtime minds the deadline too; ours is a little later, so that its own error is seen.
    auto deadline = loop_.after(timeout + 1s, [weak = std::weak_ptr(call), state = state_] {
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
  std::unique_ptr<wire::HttpClient> http_;
  std::optional<wire::GrpcClient> grpc_;  // none: the endpoint makes no sense
  Error broken_;
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace

std::unique_ptr<Runtime> connect(run::Loop& loop, std::string endpoint) {
  return std::make_unique<GrpcRuntime>(loop, endpoint);
}

}  // namespace dure::cri
