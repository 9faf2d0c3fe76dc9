#include <deque>
#include <future>
#include <list>
#include <unordered_map>

#include "base/log.h"
#include "wire/client_call.h"
#include "wire/connector.h"
#include "wire/http1_parser.h"
#include "wire/relay_stream.h"
#include "wire/socket.h"

namespace dure::wire {
namespace {

constexpr size_t http1_connections_max = 64;  // per client; more calls wait for one to be free

enum class Protocol { unknown, http1, http2 };

struct Opened {
  std::unique_ptr<Stream> stream;
  Protocol protocol = Protocol::http1;
};
// Opens one more connection. `http1_only`: for an upgrade. The handle ends the attempt.
using Opener = std::function<std::unique_ptr<run::Timer>(
    bool http1_only, std::move_only_function<void(Result<Opened>)>)>;

// Loop thread only, but for what says otherwise.
class ClientCore final : public std::enable_shared_from_this<ClientCore> {
 public:
  ClientCore(run::Loop& loop, Opener open, std::string scheme, std::string authority)
      : loop(loop),
        open_(std::move(open)),
        scheme_(std::move(scheme)),
        authority_(std::move(authority)) {}

  void submit(std::shared_ptr<ClientCall> call) {
    if (call->dead()) return;
    if (closed_) return call->on_end(fail(connection_lost("the client was closed")));
    if (!valid_request_line(call->request.method, call->request.target))
      return call->on_end(fail(bad_request("a method or target that is none")));
    if (call->upgraded) return submit_upgrade(std::move(call));
    for (const auto& connection : connections_)
      if (connection->can_take()) return connection->submit(std::move(call));
    call->abandon = [weak = weak_from_this(), raw = call.get()] {
      if (const auto self = weak.lock())
        std::erase_if(self->waiting_, [&](const auto& other) { return other.get() == raw; });
    };
    waiting_.push_back(std::move(call));
    open_more();
  }
  void close() {
    closed_ = true;
    attempts_.clear();
    next_attempt_.reset();
    const Error why = connection_lost("the client was closed");
    for (const auto& call : std::exchange(waiting_, {})) call->on_end(fail(why));
    for (const auto& connection : std::exchange(connections_, {})) connection->close(why);
    for (const auto& connection : std::exchange(upgrading_, {})) connection->close(why);
  }

  run::Loop& loop;

 private:
  void open_more() {
    // Before the protocol is known, and with HTTP/2, one attempt at a time is enough: the others
    // share it. Asked anew each time, because an attempt may succeed at once.
    const auto wanted = [this] {
      if (closed_ || waiting_.empty()) return size_t(0);
      if (protocol_ != Protocol::http1) return size_t(1);
      return std::min(waiting_.size(),
                      http1_connections_max - std::min(http1_connections_max, connections_.size()));
    };
    // An attempt may also fail at once, with calls left that wait for a connection that is alive (or not yet known to
    // be over): the next turn comes with that connection's end, or in a moment.
    for (const uint64_t failed = failed_; failed == failed_ && attempts_.size() < wanted();) {
      const uint64_t id = ++last_attempt_;
      attempts_[id] = nullptr;
      auto handle = open_(false, [weak = weak_from_this(), id](Result<Opened> opened) {
        const auto self = weak.lock();
        if (!self || self->attempts_.count(id) == 0) return;
        self->loop.post([handle = std::shared_ptr(std::move(self->attempts_[id]))] {
        });  // not destroyed inside its own call
        self->attempts_.erase(id);
        self->opened(std::move(opened));
      });
      if (const auto at = attempts_.find(id); at != attempts_.end()) at->second = std::move(handle);
    }
  }
  void opened(Result<Opened> opened) {
    if (closed_) return;
    if (!opened) {
      ++failed_;
      // With another connection alive the calls may still get their turn there, before the next attempt.
      if (!connections_.empty()) {
        next_attempt_ = loop.after(1s, [weak = weak_from_this()] {
          if (const auto self = weak.lock()) self->open_more();
        });
        return;
      }
      for (const auto& call : std::exchange(waiting_, {})) call->on_end(fail(opened.error()));
      return;
    }
    protocol_ = opened->protocol;
    adopt(make(std::move(opened->stream), opened->protocol), connections_);
    serve_waiting();
  }
  std::shared_ptr<ClientConnection> make(std::unique_ptr<Stream> stream, Protocol protocol) {
    return protocol == Protocol::http2
               ? make_http2_client_connection(std::move(stream), scheme_, authority_)
               : make_http1_client_connection(std::move(stream), authority_);
  }
  void adopt(std::shared_ptr<ClientConnection> connection,
             std::list<std::shared_ptr<ClientConnection>>& home) {
    home.push_back(connection);
    ClientConnection::Events events;
    events.on_idle = [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->serve_waiting();
    };
    events.on_over = [weak = weak_from_this(), raw = connection.get(), &home, &loop = loop] {
      loop.post([weak, raw, &home] {
        const auto self = weak.lock();
        if (!self) return;
        std::erase_if(home, [&](const auto& other) { return other.get() == raw; });
        self->serve_waiting();
      });
    };
    events.on_give_back = [weak = weak_from_this(),
                           &loop = loop](std::shared_ptr<ClientCall> call) {
      loop.post([weak, call = std::move(call)] {
        if (const auto self = weak.lock())
          self->submit(call);
        else
          call->on_end(fail(connection_lost("the client was closed")));
      });
    };
    connection->begin(std::move(events));
  }
  void serve_waiting() {
    for (const auto& connection : std::list(connections_))
      while (!waiting_.empty() && connection->can_take()) {
        auto call = std::move(waiting_.front());
        waiting_.pop_front();
        if (!call->dead()) connection->submit(std::move(call));
      }
    open_more();
  }
  void submit_upgrade(std::shared_ptr<ClientCall> call) {
    const uint64_t id = ++last_attempt_;
    attempts_upgrade_[id] = nullptr;
    auto handle = open_(true, [weak = weak_from_this(), id, call](Result<Opened> opened) {
      const auto self = weak.lock();
      if (!self) return;
      if (const auto at = self->attempts_upgrade_.find(id); at != self->attempts_upgrade_.end()) {
        self->loop.post([handle = std::shared_ptr(std::move(at->second))] {});
        self->attempts_upgrade_.erase(at);
      }
      if (call->dead()) return;
      if (!opened) return call->on_end(fail(std::move(opened).error()));
      auto connection = make_http1_client_connection(std::move(opened->stream), self->authority_);
      self->adopt(connection, self->upgrading_);
      connection->submit(call);
    });
    if (const auto at = attempts_upgrade_.find(id); at != attempts_upgrade_.end())
      at->second = std::move(handle);
  }

  const Opener open_;
  const std::string scheme_, authority_;
  Protocol protocol_ = Protocol::unknown;
  std::list<std::shared_ptr<ClientConnection>> connections_, upgrading_;
  std::deque<std::shared_ptr<ClientCall>> waiting_;
  std::unordered_map<uint64_t, std::unique_ptr<run::Timer>> attempts_, attempts_upgrade_;
  std::unique_ptr<run::Timer> next_attempt_;
  uint64_t last_attempt_ = 0, failed_ = 0;
  bool closed_ = false;
};

class CallHandle final : public run::Timer {
 public:
  explicit CallHandle(std::shared_ptr<ClientCall> call) : call_(std::move(call)) {}
  ~CallHandle() override { cancel(); }
  void cancel() override { call_->silence(); }

 private:
  std::shared_ptr<ClientCall> call_;
};

// What a blocking call gathers; the loop's thread writes, the caller reads after the end.
struct Gathered {
  Response response;
  std::promise<Result<void>> promise;
  bool too_large = false, ended = false;
  void end(Result<void> result) {
    if (!std::exchange(ended, true)) promise.set_value(std::move(result));
  }
};

// What an upgrade gathers until it is over; loop thread.
struct UpgradeWait {
  explicit UpgradeWait(std::move_only_function<void(Result<HttpClient::Upgraded>)> done) : done(std::move(done)) {}
  std::move_only_function<void(Result<HttpClient::Upgraded>)> done;
  std::unique_ptr<run::Timer> timer;
  int status = 0;
  std::string body;

  void end(Result<HttpClient::Upgraded> result) {
    timer.reset();
    if (auto call = std::exchange(done, nullptr)) call(std::move(result));
  }
  // For the case that the answer is not an upgrade.
  static HttpClient::Streaming gather(const std::shared_ptr<UpgradeWait>& wait) {
    HttpClient::Streaming callbacks;
    callbacks.on_start = [wait](int status, const Headers&) { wait->status = status; };
    callbacks.on_data = [wait](std::string_view bytes) {
      if (wait->body.size() + bytes.size() <= refusal_bytes_max) wait->body += bytes;
    };
    callbacks.on_end = [wait](Result<void> result) {
      if (!result) return wait->end(fail(std::move(result).error()));
      wait->end(fail(Error{.code = wait->status, .reason = "UpgradeRefused", .message = wait->body}));
    };
    return callbacks;
  }
  static constexpr size_t refusal_bytes_max = 64 << 10;
};

class Client final : public HttpClient {
 public:
  Client(run::Loop& loop, Opener open, std::string scheme, std::string authority)
      : core_(std::make_shared<ClientCore>(loop, std::move(open), std::move(scheme),
                                           std::move(authority))) {}
  ~Client() override {
    if (core_->loop.on_loop_thread()) {
      core_->close();
      return;
    }
    auto promise = std::make_shared<std::promise<void>>();
    auto done = promise->get_future();
    core_->loop.post([core = core_, promise = std::move(promise)]() mutable {
      core->close();
      promise->set_value();
    });
    done.wait_for(std::chrono::seconds(5));  // a loop that was stopped first never answers
  }

  Result<Response> call(Request request, CallLimits limits) override {
    DURE_ASSERT(!core_->loop.on_loop_thread());
    const std::string what = request.method + " " + std::string(request.path());
    auto gathered = std::make_shared<Gathered>();
    auto done = gathered->promise.get_future();
    const auto handle = stream(std::move(request), gather(gathered, limits.body_bytes_max));
    if (done.wait_for(limits.timeout) != std::future_status::ready) {
      handle->cancel();
      if (done.wait_for(std::chrono::seconds(0)) != std::future_status::ready)
        return fail(timed_out(what + ": no answer within " + format_duration(limits.timeout)));
    }
    if (auto result = done.get(); !result) return fail(std::move(result).error());
    return std::move(gathered->response);
  }
  std::unique_ptr<run::Timer> stream(Request request, Streaming callbacks) override {
    auto call = std::make_shared<ClientCall>(core_->loop, std::move(request), std::move(callbacks));
    core_->loop.post([core = core_, call] { core->submit(call); });
    return std::make_unique<CallHandle>(std::move(call));
  }
  Result<Upgraded> upgrade(Request request, Duration timeout) override {
    DURE_ASSERT(!core_->loop.on_loop_thread());
    auto promise = std::make_shared<std::promise<Result<Upgraded>>>();
    auto answer = promise->get_future();
    const auto handle = start_upgrade(std::move(request), timeout, [promise](Result<Upgraded> upgraded) {
      promise->set_value(std::move(upgraded));
    });
    if (answer.wait_for(timeout + 1s) == std::future_status::ready) return answer.get();
    handle->cancel();  // the loop does not run any more
    if (answer.wait_for(std::chrono::seconds(0)) == std::future_status::ready) return answer.get();
    return fail(timed_out("upgrade: no answer within " + format_duration(timeout)));
  }
  std::unique_ptr<run::Timer> start_upgrade(Request request, Duration timeout,
                                            std::move_only_function<void(Result<Upgraded>)> done) override {
    if (request.headers.get("connection").empty()) request.headers.add("connection", "Upgrade");
    auto wait = std::make_shared<UpgradeWait>(std::move(done));
    auto call = std::make_shared<ClientCall>(core_->loop, std::move(request), UpgradeWait::gather(wait));
    call->upgraded = [wait](std::unique_ptr<Stream> stream, const Headers& headers) {
      wait->end(Upgraded{std::move(stream), headers});
    };
    core_->loop.post([core = core_, call, wait, timeout] {
      wait->timer = core->loop.after(timeout, [weak = std::weak_ptr(call), timeout] {
        const auto call = weak.lock();
        if (!call || call->dead()) return;
        const auto abandon = std::exchange(call->abandon, nullptr);
        call->on_end(fail(timed_out("upgrade: no answer within " + format_duration(timeout))));
        if (abandon) abandon();
      });
      core->submit(call);
    });
    return std::make_unique<CallHandle>(std::move(call));
  }

 private:
  static Streaming gather(const std::shared_ptr<Gathered>& gathered, size_t bytes_max) {
    Streaming callbacks;
    callbacks.on_start = [gathered](int status, const Headers& headers) {
      gathered->response.status = status;
      gathered->response.headers = headers;
    };
    callbacks.on_data = [gathered, bytes_max](std::string_view bytes) {
      if (gathered->too_large) return;
      if (gathered->response.body.size() + bytes.size() > bytes_max) {
        gathered->too_large = true;
        gathered->response.body = {};
        return gathered->end(fail(Error{
            .code = 502,
            .reason = "ResponseTooLarge",
            .message = "the response is larger than " + std::to_string(bytes_max) + " bytes"}));
      }
      gathered->response.body += bytes;
    };
    callbacks.on_trailers = [gathered](const Headers& trailers) {
      gathered->response.trailers = trailers;
    };
    callbacks.on_end = [gathered](Result<void> result) { gathered->end(std::move(result)); };
    return callbacks;
  }
  const std::shared_ptr<ClientCore> core_;
};

struct Origin {
  std::string scheme, authority, address;
  Protocol plain_protocol = Protocol::http1;
};

Result<Origin> parse_origin(std::string_view text) {
  if (text.starts_with("unix:")) return Origin{"http", "localhost", std::string(text)};
  if (text.starts_with("h2c+unix:"))
    return Origin{"http", "localhost", std::string(text.substr(4)), Protocol::http2};
  const size_t colon = text.find("://");
  if (colon == std::string_view::npos)
    return fail(bad_request("origin \"" + std::string(text) + "\" has no scheme"));
  Origin origin;
  origin.scheme = text.substr(0, colon);
  auto authority = text.substr(colon + 3);
  authority = authority.substr(0, authority.find('/'));
  origin.authority = authority;
  origin.address = authority;
  if (origin.scheme == "h2c") {
    origin.scheme = "http";
    origin.plain_protocol = Protocol::http2;
  } else if (origin.scheme != "http" && origin.scheme != "https") {
    return fail(
        bad_request("origin \"" + std::string(text) + "\": the scheme is not http, https or h2c"));
  }
  if (authority.empty())
    return fail(bad_request("origin \"" + std::string(text) + "\" has no host"));
  const size_t bracket = authority.rfind(']');
  if (authority.find(':', bracket == std::string_view::npos ? 0 : bracket) ==
      std::string_view::npos)
    origin.address += origin.scheme == "https" ? ":443" : ":80";
  DURE_CHECK(parse_host_port(origin.address));
  return origin;
}

}  // namespace

Result<std::unique_ptr<HttpClient>> HttpClient::create(run::Loop& loop, std::string origin_text,
                                                       TlsClientConfig tls, std::optional<Proxy> proxy) {
  DURE_TRY(auto origin, parse_origin(origin_text));
  ConnectSpec spec{
      .address = origin.address, .server_name = tls.server_name, .insecure = tls.insecure, .proxy = std::move(proxy)};
  if (origin.scheme == "https") {
    DURE_TRY(spec.tls, make_client_context(tls));
  }
  Opener open = [&loop, spec, plain = origin.plain_protocol](
                    bool http1_only, std::move_only_function<void(Result<Opened>)> done) {
    ConnectSpec attempt = spec;
    if (attempt.tls)
      attempt.alpn = http1_only ? std::vector<std::string>{"http/1.1"}
                                : std::vector<std::string>{"h2", "http/1.1"};
    const bool is_plain = !attempt.tls;
    return connect(loop, std::move(attempt),
                   [plain, is_plain, done = std::move(done)](Result<Connected> connected) mutable {
                     if (!connected) return done(fail(std::move(connected).error()));
                     const Protocol protocol = is_plain                      ? plain
                                               : connected->protocol == "h2" ? Protocol::http2
                                                                             : Protocol::http1;
                     done(Opened{std::move(connected->stream), protocol});
                   });
  };
  return std::make_unique<Client>(loop, std::move(open), std::move(origin.scheme),
                                  std::move(origin.authority));
}

namespace {

class NothingToCancel final : public run::Timer {
  void cancel() override {}
};

}  // namespace

std::unique_ptr<HttpClient> HttpClient::over_streams(run::Loop& loop, std::string host,
                                                     Dialer dial) {
  Opener open =
      [dial = std::move(dial)](
          bool, std::move_only_function<void(Result<Opened>)> done) -> std::unique_ptr<run::Timer> {
    dial([done = std::move(done)](Result<std::unique_ptr<Stream>> stream) mutable {
      if (!stream) return done(fail(std::move(stream).error()));
      done(Opened{make_transferable(std::move(*stream)), Protocol::http1});
    });
    return std::make_unique<NothingToCancel>();
  };
  return std::make_unique<Client>(loop, std::move(open), "http", std::move(host));
}

}  // namespace dure::wire
