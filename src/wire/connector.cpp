#include "wire/connector.h"

#include <errno.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <mutex>
#include <thread>

#include "wire/socket.h"

namespace dure::wire {
namespace {

constexpr Duration head_start = 250ms;  // of one address before the next (RFC 8305, 5)
constexpr size_t proxy_answer_bytes_max = 16 << 10;
constexpr size_t told_addresses_max = 8;  // in an error

// Where a look-up in flight sends its answer; the loop may be gone by then.
struct Inbox {
  std::mutex mutex;
  run::Loop* loop = nullptr;
};

// One address that is being tried; loop thread.
struct Attempt {
  SocketAddress address;
  std::string through_proxy = {};  // the CONNECT request that is left to send, then the answer as it comes
  int fd = -1;
  std::unique_ptr<run::Readiness> readiness = {};
  std::unique_ptr<SocketStream> stream = {};

  explicit Attempt(const SocketAddress& to) : address(to) {}
  Attempt(const Attempt&) = delete;
  ~Attempt() {
    readiness.reset();
    stream.reset();
    if (fd >= 0) ::close(fd);
  }
};

class Connecting final : public std::enable_shared_from_this<Connecting> {
 public:
  Connecting(run::Loop& loop, ConnectSpec spec, std::move_only_function<void(Result<Connected>)> done)
      : loop_(loop), spec_(std::move(spec)), done_(std::move(done)) {
    inbox_->loop = &loop;
  }
  ~Connecting() { release(); }

  void begin() {
    timeout_ = loop_.after(spec_.timeout, [weak = weak_from_this()] {
      if (const auto self = weak.lock())
        self->finish(fail(timed_out("connect to " + self->spec_.address + " took too long" +
                                    (self->trouble().empty() ? "" : " (" + self->trouble() + ")"))));
    });
    if (spec_.address.starts_with("unix:")) {
      auto address = unix_address(std::string_view(spec_.address).substr(5));
      if (!address) return finish(fail(std::move(address).error()));
      addresses_ = {*address};
      return try_next();
    }
    auto target = parse_host_port(spec_.address);
    if (!target) return finish(fail(std::move(target).error()));
    if (spec_.server_name.empty()) spec_.server_name = target->host;
    if (spec_.proxy) target = parse_host_port(spec_.proxy->address);
    if (!target) return finish(fail(std::move(target).error()));
    addresses_ = std::move(spec_.addresses);
    if (!addresses_.empty()) return try_next();
    if (auto numeric = resolve(*target, true)) {
      addresses_ = std::move(*numeric);
      return try_next();
    }
    look_up(std::move(*target));
  }
  // No `done` after this; waits for one that runs on another thread.
  void cancel() {
    {
      std::unique_lock lock(mutex_, std::defer_lock);
      if (!loop_.on_loop_thread()) lock.lock();
      dead_ = true;
    }
    disconnect_inbox();
    loop_.post([self = shared_from_this()] { self->release(); });
  }

 private:
  // The resolver blocks, possibly for long: a thread of its own, which nobody waits for.
  void look_up(HostPort target) {
    std::thread([weak = weak_from_this(), inbox = inbox_, target = std::move(target)] {
      auto found = resolve(target, false);
      std::lock_guard lock(inbox->mutex);
      if (!inbox->loop) return;
      inbox->loop->post([weak, found = std::move(found)]() mutable {
        const auto self = weak.lock();
        if (!self || self->dead_) return;
        if (!found) return self->finish(fail(std::move(found).error()));
        self->addresses_ = std::move(*found);
        self->try_next();
      });
    }).detach();
  }
  // The next address gets its turn when the one before it failed or has had its head start; what was begun goes on.
  void try_next() {
    next_turn_.reset();
    if (dead_) return;
    if (turn_ == addresses_.size()) return finish_without();
    const auto attempt = std::make_shared<Attempt>(addresses_[turn_++]);
    attempts_.push_back(attempt);
    if (turn_ < addresses_.size())
      next_turn_ = loop_.after(head_start, [weak = weak_from_this()] {
        if (const auto self = weak.lock()) self->try_next();
      });
    start(*attempt);
  }
  void start(Attempt& attempt) {
    const SocketAddress& address = attempt.address;
    attempt.fd = socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (attempt.fd < 0) return not_reached(attempt, errno);
    tune_connection(attempt.fd, address.family());
    const int answer = ::connect(attempt.fd, reinterpret_cast<const sockaddr*>(&address.storage), address.size);
    if (answer == 0) return reached(attempt);
    if (errno != EINPROGRESS) return not_reached(attempt, errno);
    when_ready(attempt, false, [](Connecting& self, Attempt& attempt) {
      int error = 0;
      socklen_t size = sizeof error;
      getsockopt(attempt.fd, SOL_SOCKET, SO_ERROR, &error, &size);
      attempt.readiness.reset();
      error == 0 ? self.reached(attempt) : self.not_reached(attempt, error);
    });
  }
  void not_reached(Attempt& attempt, int error) {
    Error failed = from_errno("connect to " + address_text(attempt.address), error);
    failed.code = 503;
    failed.reason = "ConnectionFailed";
    if (!silent_)
      silent_ = std::move(failed);
    else if (++told_ < told_addresses_max)
      silent_->message += "; " + failed.message;  // each says what it did
    over(attempt);
  }
  // Whoever is at the address is not what we want.
  void unwanted(Attempt& attempt, Error why) {
    if (!answered_) answered_ = std::move(why);
    over(attempt);
  }
  void over(Attempt& attempt) {
    const auto same = [&](const auto& one) { return one.get() == &attempt; };
    const auto found = std::find_if(attempts_.begin(), attempts_.end(), same);
    if (found == attempts_.end()) return;
    loop_.post([attempt = std::move(*found)] {});  // its stream may be running its callback right now
    attempts_.erase(found);
    if (turn_ < addresses_.size()) return try_next();
    if (attempts_.empty()) finish_without();
  }
  void finish_without() {
    const Error nowhere = unavailable("connect to " + spec_.address + ": no address");
    finish(fail(answered_ ? *answered_ : silent_.value_or(nowhere)));
  }
  void reached(Attempt& attempt) {
    if (!spec_.proxy) return connected(attempt);
    attempt.through_proxy = connect_request(*spec_.proxy, spec_.address);
    ask_proxy(attempt);
  }
  void ask_proxy(Attempt& attempt) {
    std::string& left = attempt.through_proxy;
    const ssize_t put = send(attempt.fd, left.data(), left.size(), MSG_NOSIGNAL);
    if (put < 0 && errno != EAGAIN && errno != EINTR) return not_reached(attempt, errno);
    if (put > 0) left.erase(0, size_t(put));
    if (!left.empty())
      return when_ready(attempt, false, [](Connecting& self, Attempt& attempt) { self.ask_proxy(attempt); });
    when_ready(attempt, true, [](Connecting& self, Attempt& attempt) { self.hear_proxy(attempt); });
  }
  // The server says nothing before we do, so what comes up to the empty line is the proxy's and nothing else follows.
  void hear_proxy(Attempt& attempt) {
    char buffer[4096];
    const ssize_t got = recv(attempt.fd, buffer, sizeof buffer, 0);
    if (got == 0) return proxy_failed(attempt, "closed the connection");
    if (got < 0 && errno != EAGAIN && errno != EINTR) return not_reached(attempt, errno);
    if (got > 0) attempt.through_proxy.append(buffer, size_t(got));
    if (attempt.through_proxy.find("\r\n\r\n") != std::string::npos) {
      attempt.readiness.reset();
      if (auto passed = check_connect_answer(attempt.through_proxy, *spec_.proxy); !passed)
        return unwanted(attempt, std::move(passed).error());
      return connected(attempt);
    }
    if (attempt.through_proxy.size() > proxy_answer_bytes_max)
      return proxy_failed(attempt, "answered with too many headers");
    when_ready(attempt, true, [](Connecting& self, Attempt& attempt) { self.hear_proxy(attempt); });
  }
  void proxy_failed(Attempt& attempt, std::string_view what) {
    unwanted(attempt, Error{.code = 503,
                            .reason = "ProxyRefused",
                            .message = "the proxy " + spec_.proxy->address + " " + std::string(what)});
  }
  std::shared_ptr<Attempt> shared(const Attempt& attempt) const {
    return *std::find_if(attempts_.begin(), attempts_.end(), [&](const auto& one) { return one.get() == &attempt; });
  }
  std::string trouble() const { return answered_ ? answered_->message : silent_ ? silent_->message : std::string(); }
  void when_ready(Attempt& attempt, bool to_read, void (*then)(Connecting&, Attempt&)) {
    if (!attempt.readiness) attempt.readiness = loop_.watch(attempt.fd);
    auto work = [weak = weak_from_this(), attempt = std::weak_ptr(shared(attempt)), then] {
      const auto self = weak.lock();
      const auto kept = attempt.lock();
      if (self && kept && !self->dead_ && kept->readiness) then(*self, *kept);
    };
    to_read ? attempt.readiness->on_readable(std::move(work)) : attempt.readiness->on_writable(std::move(work));
  }
  void connected(Attempt& attempt) {
    ssl_st* session = nullptr;
    if (spec_.tls) {
      auto made = make_client_session(spec_.tls, attempt.fd, spec_.server_name, spec_.insecure, spec_.alpn);
      if (!made) return unwanted(attempt, std::move(made).error());
      session = *made;
    }
    attempt.stream = std::make_unique<SocketStream>(loop_, std::exchange(attempt.fd, -1), session);
    attempt.stream->handshake([weak = weak_from_this(), tried = std::weak_ptr(shared(attempt))](Status status) {
      const auto self = weak.lock();
      const auto attempt = tried.lock();
      if (!self || !attempt) return;
      if (!status)
        return self->unwanted(*attempt, std::move(status).error().with_context("connect to " + self->spec_.address));
      Connected connected{std::move(attempt->stream), {}};
      if (connected.stream->session()) connected.protocol = alpn_of(connected.stream->session());
      self->finish(std::move(connected));
    });
  }
  void finish(Result<Connected> result) {
    const auto keep = shared_from_this();
    std::lock_guard lock(mutex_);
    if (dead_.exchange(true)) return;
    timeout_.reset();
    next_turn_.reset();
    auto done = std::exchange(done_, nullptr);
    // The stream of an attempt may be running its callback right now.
    loop_.post([keep] { keep->release(); });
    done(std::move(result));
  }
  void release() {
    disconnect_inbox();
    timeout_.reset();
    next_turn_.reset();
    attempts_.clear();
    const auto done = std::exchange(done_, nullptr);
  }
  void disconnect_inbox() {
    std::lock_guard lock(inbox_->mutex);
    inbox_->loop = nullptr;
  }

  run::Loop& loop_;
  ConnectSpec spec_;
  std::move_only_function<void(Result<Connected>)> done_;
  const std::shared_ptr<Inbox> inbox_ = std::make_shared<Inbox>();
  std::vector<SocketAddress> addresses_;
  size_t turn_ = 0, told_ = 0;
  std::vector<std::shared_ptr<Attempt>> attempts_;  // under way
  std::unique_ptr<run::Timer> timeout_, next_turn_;
  std::optional<Error> answered_, silent_;
  std::mutex mutex_;
  std::atomic<bool> dead_ = false;
};

class ConnectHandle final : public run::Timer {
 public:
  explicit ConnectHandle(std::shared_ptr<Connecting> connecting) : connecting_(std::move(connecting)) {}
  ~ConnectHandle() override { cancel(); }
  void cancel() override { connecting_->cancel(); }

 private:
  std::shared_ptr<Connecting> connecting_;
};

}  // namespace

std::unique_ptr<run::Timer> connect(run::Loop& loop, ConnectSpec spec,
                                    std::move_only_function<void(Result<Connected>)> done) {
  auto connecting = std::make_shared<Connecting>(loop, std::move(spec), std::move(done));
  loop.post([connecting] { connecting->begin(); });
  return std::make_unique<ConnectHandle>(std::move(connecting));
}

Result<std::unique_ptr<Stream>> dial(run::Loop& loop, std::string_view address, std::optional<TlsClientConfig> tls,
                                     Duration timeout) {
  DURE_ASSERT(!loop.on_loop_thread());
  ConnectSpec spec{.address = std::string(address), .timeout = timeout};
  if (tls) {
    DURE_TRY(spec.tls, make_client_context(*tls));
    spec.server_name = tls->server_name;
    spec.insecure = tls->insecure;
  }
  std::promise<Result<Connected>> promise;
  auto answer = promise.get_future();
  const auto handle =
      connect(loop, std::move(spec), [&](Result<Connected> result) { promise.set_value(std::move(result)); });
  DURE_TRY(auto connected, answer.get());
  return std::unique_ptr<Stream>(std::move(connected.stream));
}

}  // namespace dure::wire
