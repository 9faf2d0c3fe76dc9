#include "wire/socket_stream.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <mutex>

#include "wire/out_queue.h"
#include "wire/socket.h"

namespace dure::wire {
namespace {

Error end_of_stream() {
  return Error{.code = 503, .reason = "EndOfStream", .message = "the peer closed the connection"};
}

}  // namespace

// All state lives here, shared with the work that is posted; only the loop thread touches it, but
// for what is marked.
class SocketStream::Core : public std::enable_shared_from_this<Core> {
 public:
  Core(run::Loop& loop, int fd, SSL* session) : loop_(loop), fd_(fd), session_(session) {}
  ~Core() { release(); }

  void handshake(std::move_only_function<void(Status)> done) {
    if (!readiness_) readiness_ = loop_.watch(fd_);
    if (!session_) return done({});
    handshake_done_ = std::move(done);
    continue_handshake();
  }
  void start(Callbacks callbacks) {
    if (dead_) return;
    callbacks_ = std::move(callbacks);
    started_ = true;
    if (fd_ < 0) {  // it broke while nobody listened
      loop_.post([self = shared_from_this()] { self->over(self->error_); });
      return;
    }
    if (!readiness_) readiness_ = loop_.watch(fd_);
    if (unread_.empty() && !ended_)
      resume_reading();
    else if (!read_scheduled_)
      post_read();
    if (!out_.empty() || finish_wanted_) schedule_flush();
  }
  void hand_over(std::string unread) {
    started_ = false;
    unread_ = std::move(unread);
    end_reported_ = false;
    retired_ = std::exchange(callbacks_, Callbacks{});  // one of them may be running
    if (depth_ == 0) retired_ = {};
  }
  void write(SharedBytes bytes) {
    if (fd_ < 0 || finish_wanted_) return drop(bytes.size());
    out_.push(std::move(bytes));
    if (!flush_follows_) schedule_flush();
  }
  void write_text(std::string_view text) {
    if (fd_ < 0 || finish_wanted_) return;
    unsent_ += text.size();
    out_.push_text(text);
    if (!flush_follows_) schedule_flush();
  }
  void pause(bool paused) {
    if (paused_ == paused) return;
    paused_ = paused;
    if (!paused_ && started_) resume_reading();
  }
  void finish_writing() {
    if (finish_wanted_) return;
    finish_wanted_ = true;
    if (!flush_follows_) schedule_flush();
  }
  // Silent: no callback follows.
  void close() {
    dead_ = true;
    if (fd_ >= 0 && session_ && SSL_is_init_finished(session_) && !finished_) {
      ERR_clear_error();
      SSL_shutdown(session_);  // best effort: one close_notify if the kernel takes it now
    }
    release();
    if (depth_ == 0) drop_callbacks();
  }
  // Waits until no callback runs; none starts afterwards. Thread: not the loop's.
  void silence() {
    std::lock_guard lock(callback_mutex_);
    dead_ = true;
  }

  run::Loop& loop_;
  int fd_;
  SSL* session_;
  std::atomic<size_t> unsent_ = 0;  // any thread

 private:
  enum class Io { done, again, wants_read, wants_write, ended, failed };

  // Runs one callback, unless the owner is gone. The owner may destroy the stream inside it.
  template <class Call>
  void call_out(Call call) {
    if (dead_) return;
    const auto keep = shared_from_this();
    if (depth_ == 0) {
      std::lock_guard lock(callback_mutex_);
      if (dead_) return;
      ++depth_;
      call();
      --depth_;
    } else {
      ++depth_;
      call();
      --depth_;
    }
    if (depth_ > 0) return;
    if (dead_) return drop_callbacks();
    if (retired_.on_data || retired_.on_close)
      const auto retired = std::exchange(retired_, Callbacks{});
  }
  void drop_callbacks() {
    // Moved out first: destroying what they captured may come back here.
    const auto callbacks = std::exchange(callbacks_, Callbacks{});
    const auto retired = std::exchange(retired_, Callbacks{});
    const auto done = std::exchange(handshake_done_, nullptr);
  }
  void release() {
    readiness_.reset();
    if (session_) SSL_free(std::exchange(session_, nullptr));
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
    out_.clear();
    unsent_ = 0;
  }
  void drop(size_t count) { unsent_ -= std::min(count, unsent_.load()); }

  void continue_handshake() {
    ERR_clear_error();
    const int answer = SSL_do_handshake(session_);
    if (answer == 1) return finish_handshake({});
    const int error = SSL_get_error(session_, answer);
    const auto again = [weak = weak_from_this()] {
      if (const auto self = weak.lock(); self && self->fd_ >= 0) self->continue_handshake();
    };
    if (error == SSL_ERROR_WANT_READ) return readiness_->on_readable(again);
    if (error == SSL_ERROR_WANT_WRITE) return readiness_->on_writable(again);
    if (error == SSL_ERROR_SYSCALL && errno != 0)
      return finish_handshake(fail(from_errno("TLS handshake", errno)));
    if (error == SSL_ERROR_ZERO_RETURN || error == SSL_ERROR_SYSCALL)
      return finish_handshake(
          fail(Error{.code = 503,
                     .reason = "TlsFailed",
                     .message = "TLS handshake: the peer closed the connection"}));
    if (ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_HTTP_REQUEST) answer_plain_request();
    finish_handshake(fail(tls_error(session_, "TLS handshake")));
  }
  // Somebody speaks HTTP to a TLS port: told so, in the words that Go's servers use. One small packet; not waited for.
  void answer_plain_request() {
    constexpr std::string_view text =
        "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
        "Client sent an HTTP request to an HTTPS server.\n";
    if (::send(fd_, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT) < 0) return;
    ::shutdown(fd_, SHUT_WR);
    char unread[4096];  // closing with unread bytes would reset the connection before the answer is read
    while (::recv(fd_, unread, sizeof unread, MSG_DONTWAIT) > 0) {
    }
  }
  void finish_handshake(Status status) {
    const auto keep = shared_from_this();
    auto done = std::exchange(handshake_done_, nullptr);
    if (done) call_out([&] { done(std::move(status)); });
  }

  void schedule_read() {
    if (read_scheduled_ || fd_ < 0 || ended_) return;
    read_scheduled_ = true;
    readiness_->on_readable([weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->readable();
    });
  }
  void readable() {
    read_scheduled_ = false;
    if (fd_ < 0 || dead_ || !started_) return;
    flush_follows_ = true;
    pump_in();
    flush_follows_ = false;
    if (fd_ >= 0) flush();
  }
  // The session may hold bytes that the kernel no longer knows of: look there first.
  void resume_reading() {
    if (!session_) return schedule_read();
    if (read_scheduled_ || fd_ < 0 || ended_) return;
    post_read();
  }
  void post_read() {
    read_scheduled_ = true;
    loop_.post([weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->readable();
    });
  }
  // Delivers what there is, but not for ever: other connections wait too.
  void pump_in() {
    char buffer[16 << 10];
    for (int rounds = 0; rounds < 8; ++rounds) {
      if (!deliver_unread() || ended_)
        return;  // a new owner's bytes first, also when it came just now
      size_t count = 0;
      switch (receive(buffer, sizeof buffer, count)) {
        case Io::done:
          call_out([&] {
            if (callbacks_.on_data) callbacks_.on_data(std::string_view(buffer, count));
          });
          // Nothing is left inside the session: asking the kernel again would only say "again".
          if (!may_deliver()) return;
          if (!more_buffered(count, sizeof buffer)) return schedule_read();
          break;
        case Io::again:
        case Io::wants_read:
          return schedule_read();
        case Io::wants_write:
          return schedule_flush_when_writable();
        case Io::ended:
          return peer_ended();
        case Io::failed:
          return failed();
      }
    }
    if (may_deliver() && !read_scheduled_) post_read();
  }
  bool may_deliver() const { return fd_ >= 0 && !dead_ && started_ && !paused_; }
  // What an earlier owner read and did not use; then the end of the peer's bytes if that came
  // before this start.
  bool deliver_unread() {
    if (!may_deliver()) return false;
    if (!unread_.empty()) {
      const std::string unread = std::exchange(unread_, {});
      call_out([&] {
        if (callbacks_.on_data) callbacks_.on_data(unread);
      });
    }
    if (may_deliver() && ended_ && !end_reported_) peer_ended();
    return may_deliver();
  }
  bool more_buffered(size_t count, size_t room) const {
    return session_ ? SSL_has_pending(session_) == 1 || SSL_pending(session_) > 0 : count == room;
  }
  Io receive(char* buffer, size_t room, size_t& count) {
    if (!session_) {
      const ssize_t got = recv(fd_, buffer, room, 0);
      if (got > 0) {
        count = size_t(got);
        return Io::done;
      }
      if (got == 0) return Io::ended;
      if (errno == EAGAIN || errno == EINTR) return Io::again;
      error_ = from_errno("read from the peer", errno);
      return Io::failed;
    }
    ERR_clear_error();
    const int got = SSL_read(session_, buffer, int(room));
    if (got > 0) {
      count = size_t(got);
      return Io::done;
    }
    return translate(SSL_get_error(session_, got), "read from the peer");
  }
  Io translate(int ssl_error, std::string_view what) {
    switch (ssl_error) {
      case SSL_ERROR_WANT_READ:
        return Io::wants_read;
      case SSL_ERROR_WANT_WRITE:
        return Io::wants_write;
      case SSL_ERROR_ZERO_RETURN:
        return Io::ended;
      case SSL_ERROR_SYSCALL:
        error_ = errno != 0 ? from_errno(what, errno) : end_of_stream();
        return Io::failed;
      default:
        error_ = tls_error(session_, what);
        return Io::failed;
    }
  }

  void schedule_flush() {
    if (flush_scheduled_ || fd_ < 0) return;
    flush_scheduled_ = true;
    loop_.post([weak = weak_from_this()] {
      const auto self = weak.lock();
      if (!self) return;
      self->flush_scheduled_ = false;
      self->flush();
    });
  }
  void schedule_flush_when_writable() {
    if (waiting_writable_) return;
    waiting_writable_ = true;
    readiness_->on_writable([weak = weak_from_this()] {
      const auto self = weak.lock();
      if (!self || self->fd_ < 0) return;
      self->waiting_writable_ = false;
      self->flush();
      if (self->fd_ >= 0 && self->started_ && !self->paused_) self->schedule_read();
    });
  }
  void flush() {
    if (!readiness_ || fd_ < 0 || waiting_writable_ || flush_follows_) return;
    flush_follows_ = true;
    flush_now();
    flush_follows_ = false;
  }
  void flush_now() {
    while (!out_.empty()) {
      size_t count = 0;
      switch (send_some(out_.front(), count)) {
        case Io::done:
          break;
        case Io::again:
        case Io::wants_write:
          return schedule_flush_when_writable();
        case Io::wants_read:
          return;  // the next read goes on; the flush after it too
        case Io::ended:
        case Io::failed:
          return failed();
      }
      out_.pop(count);
      unsent_ -= count;
      if (out_.empty() && callbacks_.on_drained) {
        call_out([&] { callbacks_.on_drained(); });
        if (fd_ < 0) return;
      }
    }
    if (finish_wanted_ && !finished_) shut_down_writing();
  }
  Io send_some(std::string_view bytes, size_t& count) {
    if (!session_) {
      const ssize_t put = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (put >= 0) {
        count = size_t(put);
        return Io::done;
      }
      if (errno == EAGAIN || errno == EINTR) return Io::again;
      error_ = from_errno("write to the peer", errno);
      return Io::failed;
    }
    ERR_clear_error();
    const int put = SSL_write(session_, bytes.data(), int(std::min<size_t>(bytes.size(), 1 << 20)));
    if (put > 0) {
      count = size_t(put);
      return Io::done;
    }
    return translate(SSL_get_error(session_, put), "write to the peer");
  }
  void shut_down_writing() {
    finished_ = true;
    if (session_) {
      ERR_clear_error();
      SSL_shutdown(session_);
    }
    shutdown(fd_, SHUT_WR);
    if (ended_) over(end_of_stream());
  }
  void peer_ended() {
    ended_ = end_reported_ = true;
    call_out([&] {
      if (callbacks_.on_end) callbacks_.on_end();
    });
    if (fd_ >= 0 && finished_) over(end_of_stream());
  }
  void failed() { over(error_); }
  void over(Error why) {
    release();
    if (!started_) {  // whoever starts it hears of it then
      error_ = std::move(why);
      return;
    }
    const auto keep = shared_from_this();
    call_out([&] {
      if (auto on_close = std::exchange(callbacks_.on_close, nullptr)) on_close(std::move(why));
    });
    dead_ = true;
    if (depth_ == 0) drop_callbacks();
  }

  std::unique_ptr<run::Readiness> readiness_;
  Callbacks callbacks_, retired_;
  std::string unread_;
  std::move_only_function<void(Status)> handshake_done_;
  OutQueue out_;
  Error error_;
  std::mutex callback_mutex_;
  std::atomic<bool> dead_ = false;  // set under callback_mutex_ off the loop
  int depth_ = 0;                   // callbacks on the stack
  bool started_ = false, paused_ = false, ended_ = false, end_reported_ = false;
  bool finish_wanted_ = false, finished_ = false;
  bool read_scheduled_ = false, flush_scheduled_ = false, waiting_writable_ = false;
  bool flush_follows_ = false;  // inside a read or a flush: its end sends what is written now
};

SocketStream::SocketStream(run::Loop& loop, int fd, ssl_st* session)
    : core_(std::make_shared<Core>(loop, fd, session)) {}

SocketStream::~SocketStream() { SocketStream::close(); }

void SocketStream::handshake(std::move_only_function<void(Status)> done) {
  core_->handshake(std::move(done));
}
ssl_st* SocketStream::session() const { return core_->session_; }
int SocketStream::fd() const { return core_->fd_; }

void SocketStream::start(Callbacks callbacks) {
  if (core_->loop_.on_loop_thread()) return core_->start(std::move(callbacks));
  core_->loop_.post([core = core_, callbacks = std::move(callbacks)]() mutable {
    core->start(std::move(callbacks));
  });
}
void SocketStream::write(SharedBytes bytes) {
  core_->unsent_ += bytes.size();
  if (core_->loop_.on_loop_thread()) return core_->write(std::move(bytes));
  core_->loop_.post(
      [core = core_, bytes = std::move(bytes)]() mutable { core->write(std::move(bytes)); });
}
void SocketStream::write_text(std::string_view text) { core_->write_text(text); }
size_t SocketStream::unsent() const { return core_->unsent_; }
void SocketStream::pause(bool paused) {
  if (core_->loop_.on_loop_thread()) return core_->pause(paused);
  core_->loop_.post([core = core_, paused] { core->pause(paused); });
}
void SocketStream::finish_writing() {
  if (core_->loop_.on_loop_thread()) return core_->finish_writing();
  core_->loop_.post([core = core_] { core->finish_writing(); });
}
void SocketStream::close() {
  if (core_->loop_.on_loop_thread()) return core_->close();
  core_->silence();
  core_->loop_.post([core = core_] { core->close(); });
}
void SocketStream::hand_over(std::string unread) { core_->hand_over(std::move(unread)); }
run::Loop& SocketStream::loop() { return core_->loop_; }
std::string SocketStream::local_address() const { return local_address_text(core_->fd_); }

}  // namespace dure::wire
