#include "wire/session.h"

#include <future>

#include "wire/deadline.h"

namespace dure::wire {

template <class Call>
void ExchangeBase::on_loop(Call call) {
  if (loop_.on_loop_thread()) return call(*this);
  loop_.post([self = shared_from_this(), call = std::move(call)]() mutable { call(*self); });
}

void ExchangeBase::respond(Response response) {
  on_loop([response = std::move(response)](ExchangeBase& self) mutable {
    self.do_respond(std::move(response));
  });
}
void ExchangeBase::start(int status, Headers headers) {
  on_loop([status, headers = std::move(headers)](ExchangeBase& self) mutable {
    self.do_start(status, std::move(headers));
  });
}
void ExchangeBase::write(SharedBytes bytes) {
  if (bytes.empty()) return;
  posted_ += bytes.size();
  on_loop([bytes = std::move(bytes)](ExchangeBase& self) mutable {
    self.posted_ -= bytes.size();
    self.do_write(std::move(bytes));
  });
}
void ExchangeBase::finish() {
  on_loop([](ExchangeBase& self) { self.do_finish({}); });
}
void ExchangeBase::finish_with_trailers(Headers trailers) {
  on_loop([trailers = std::move(trailers)](ExchangeBase& self) mutable {
    self.do_finish(std::move(trailers));
  });
}
void ExchangeBase::abort() {
  on_loop([](ExchangeBase& self) { self.do_abort(); });
}
void ExchangeBase::on_drained(std::move_only_function<void()> callback) {
  on_loop([callback = std::move(callback)](ExchangeBase& self) mutable {
    self.drained_ = std::move(callback);
  });
}
void ExchangeBase::on_close(std::move_only_function<void()> callback) {
  on_loop([callback = std::move(callback)](ExchangeBase& self) mutable {
    if (self.closed_) return callback();  // it happened before anybody asked
    self.closed_callback_ = std::move(callback);
  });
}
std::unique_ptr<Stream> ExchangeBase::upgrade(Headers headers) {
  if (loop_.on_loop_thread()) return do_upgrade(std::move(headers));
  std::promise<std::unique_ptr<Stream>> promise;
  auto answer = promise.get_future();
  loop_.post([&] { promise.set_value(do_upgrade(std::move(headers))); });
  return answer.get();
}

void ExchangeBase::notify_close() {
  const auto keep = shared_from_this();
  closed_ = true;
  settled_.store(true, std::memory_order_release);
  auto callback = std::exchange(closed_callback_, nullptr);
  drained_ = nullptr;
  if (callback) callback();
}
void ExchangeBase::notify_drained() {
  if (!drained_) return;
  const auto keep = shared_from_this();
  auto callback = std::exchange(drained_, nullptr);
  callback();
  if (!drained_ && !settled())
    drained_ = std::move(callback);  // unless it was replaced or the exchange ended inside
}
void ExchangeBase::forget_callbacks() {
  settled_.store(true, std::memory_order_release);
  const auto drained = std::exchange(drained_, nullptr);
  const auto closed = std::exchange(closed_callback_, nullptr);
}

Response refusal_response(const ServerLimits& limits, int status, std::string_view why) {
  if (limits.refusal) return limits.refusal(status, why);
  Response response{.status = status, .body = std::string(why) + "\n"};
  response.headers.add("content-type", "text/plain; charset=utf-8");
  return response;
}

namespace {

constexpr std::string_view http2_preface_start = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

class GuessingSession final : public Session {
 public:
  GuessingSession(std::unique_ptr<Stream> stream, std::shared_ptr<const Peer> peer,
                  std::shared_ptr<const SessionHost> host)
      : stream_(std::move(stream)),
        peer_(std::move(peer)),
        host_(std::move(host)),
        deadline_(stream_->loop(), [this] { finish(); }) {}
  void begin() override {
    deadline_.set(host_->limits.header_timeout);
    Stream::Callbacks callbacks;
    callbacks.on_data = [this](std::string_view bytes) { look(bytes); };
    callbacks.on_end = [this] { finish(); };
    callbacks.on_close = [this](Error) { finish(); };
    stream_->start(std::move(callbacks));
  }

 private:
  void look(std::string_view bytes) {
    seen_ += bytes;
    const auto start = std::string_view(seen_).substr(0, http2_preface_start.size());
    if (start.size() < http2_preface_start.size() && http2_preface_start.starts_with(start)) return;
    deadline_.clear();
    const bool is_http2 = start == http2_preface_start;
    stream_->hand_over(std::move(seen_));
    session_ = is_http2 ? make_http2_session(std::move(stream_), peer_, host_)
                        : make_http1_session(std::move(stream_), peer_, host_);
    session_->over = [this] { finish(); };
    session_->begin();
  }
  void finish() {
    deadline_.clear();
    if (over) over();
  }
  std::unique_ptr<Stream> stream_;
  std::shared_ptr<const Peer> peer_;
  std::shared_ptr<const SessionHost> host_;
  Deadline deadline_;
  std::string seen_;
  std::shared_ptr<Session> session_;
};

}  // namespace

std::shared_ptr<Session> make_guessing_session(std::unique_ptr<Stream> stream,
                                               std::shared_ptr<const Peer> peer,
                                               std::shared_ptr<const SessionHost> host) {
  return std::make_shared<GuessingSession>(std::move(stream), std::move(peer), std::move(host));
}

}  // namespace dure::wire
