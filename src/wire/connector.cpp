#include "wire/connector.h"

#include <errno.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <mutex>
#include <thread>

#include "wire/socket.h"

namespace dure::wire {
namespace {

constexpr Duration patience_with_one_address = 3s;  // while others are left to try
constexpr size_t proxy_answer_bytes_max = 16 << 10;
constexpr size_t told_addresses_max = 8;  // in an error

// Where a look-up in flight sends its answer; the loop may be gone by then.
struct Inbox {
  std::mutex mutex;
  run::Loop* loop = nullptr;
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
                                    (self->last_error_ ? " (" + self->last_error_->message + ")" : ""))));
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
  void try_next() {
    release_attempt();
    if (dead_) return;
    if (turn_ == addresses_.size())
      return finish(fail(last_error_.value_or(unavailable("connect to " + spec_.address + ": no address"))));
    const SocketAddress& address = addresses_[turn_++];
    fd_ = socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd_ < 0) return attempt_failed(errno);
    tune_connection(fd_, address.family());
    const int answer = ::connect(fd_, reinterpret_cast<const sockaddr*>(&address.storage), address.size);
    if (answer == 0) return reached();
    if (errno != EINPROGRESS) return attempt_failed(errno);
    readiness_ = loop_.watch(fd_);
    readiness_->on_writable([weak = weak_from_this()] {
      const auto self = weak.lock();
      if (!self || self->dead_) return;
      int error = 0;
      socklen_t size = sizeof error;
      getsockopt(self->fd_, SOL_SOCKET, SO_ERROR, &error, &size);
      self->readiness_.reset();
      error == 0 ? self->reached() : self->attempt_failed(error);
    });
    if (turn_ < addresses_.size())
      impatience_ = loop_.after(patience_with_one_address, [weak = weak_from_this()] {
        if (const auto self = weak.lock(); self && self->readiness_) self->attempt_failed(ETIMEDOUT);
      });
  }
  void attempt_failed(int error) {
    Error failed = from_errno("connect to " + address_text(addresses_[turn_ - 1]), error);
    failed.code = 503;
    failed.reason = "ConnectionFailed";
    if (last_error_ && turn_ <= told_addresses_max)
      failed.message = last_error_->message + "; " + failed.message;  // each says what it did
    last_error_ = std::move(failed);
    try_next();
  }
  void reached() {
    impatience_.reset();
    if (!spec_.proxy) return connected();
    through_proxy_ = connect_request(*spec_.proxy, spec_.address);
    ask_proxy();
  }
  void ask_proxy() {
    const ssize_t put = send(fd_, through_proxy_.data(), through_proxy_.size(), MSG_NOSIGNAL);
    if (put < 0 && errno != EAGAIN && errno != EINTR) return attempt_failed(errno);
    if (put > 0) through_proxy_.erase(0, size_t(put));
    if (!through_proxy_.empty()) return when_ready(false, [](Connecting& self) { self.ask_proxy(); });
    when_ready(true, [](Connecting& self) { self.hear_proxy(); });
  }
  // The server says nothing before we do, so what comes up to the empty line is the proxy's and nothing else follows.
  void hear_proxy() {
    char buffer[4096];
    const ssize_t got = recv(fd_, buffer, sizeof buffer, 0);
    if (got == 0) return proxy_failed("closed the connection");
    if (got < 0 && errno != EAGAIN && errno != EINTR) return attempt_failed(errno);
    if (got > 0) through_proxy_.append(buffer, size_t(got));
    if (through_proxy_.find("\r\n\r\n") != std::string::npos) {
      readiness_.reset();
      if (auto passed = check_connect_answer(through_proxy_, *spec_.proxy); !passed)
        return finish(fail(std::move(passed).error()));
      return connected();
    }
    if (through_proxy_.size() > proxy_answer_bytes_max) return proxy_failed("answered with too many headers");
    when_ready(true, [](Connecting& self) { self.hear_proxy(); });
  }
  void proxy_failed(std::string_view what) {
    finish(fail(Error{.code = 503,
                      .reason = "ProxyRefused",
                      .message = "the proxy " + spec_.proxy->address + " " + std::string(what)}));
  }
  void when_ready(bool to_read, void (*then)(Connecting&)) {
    if (!readiness_) readiness_ = loop_.watch(fd_);
    auto work = [weak = weak_from_this(), then] {
      const auto self = weak.lock();
      if (self && !self->dead_ && self->readiness_) then(*self);
    };
    to_read ? readiness_->on_readable(std::move(work)) : readiness_->on_writable(std::move(work));
  }
  void connected() {
    ssl_st* session = nullptr;
    if (spec_.tls) {
      auto made = make_client_session(spec_.tls, fd_, spec_.server_name, spec_.insecure, spec_.alpn);
      if (!made) return finish(fail(std::move(made).error()));
      session = *made;
    }
    stream_ = std::make_unique<SocketStream>(loop_, std::exchange(fd_, -1), session);
    stream_->handshake([weak = weak_from_this()](Status status) {
      const auto self = weak.lock();
      if (!self) return;
      if (!status)
        return self->finish(fail(std::move(status).error().with_context("connect to " + self->spec_.address)));
      Connected connected{std::move(self->stream_), {}};
      if (connected.stream->session()) connected.protocol = alpn_of(connected.stream->session());
      self->finish(std::move(connected));
    });
  }
  void finish(Result<Connected> result) {
    const auto keep = shared_from_this();
    std::lock_guard lock(mutex_);
    if (dead_.exchange(true)) return;
    timeout_.reset();
    auto done = std::exchange(done_, nullptr);
    // The stream of a failed attempt may be running its callback right now.
    loop_.post([keep] { keep->release(); });
    done(std::move(result));
  }
  void release_attempt() {
    readiness_.reset();
    impatience_.reset();
    stream_.reset();
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  void release() {
    disconnect_inbox();
    timeout_.reset();
    release_attempt();
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
  size_t turn_ = 0;
  std::string through_proxy_;  // the CONNECT request that is left to send, then the answer as it comes
  int fd_ = -1;
  std::unique_ptr<run::Readiness> readiness_;
  std::unique_ptr<run::Timer> timeout_, impatience_;
  std::unique_ptr<SocketStream> stream_;
  std::optional<Error> last_error_;
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
