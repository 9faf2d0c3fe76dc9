// What the HTTP/1.1 and the HTTP/2 side of a server share: the session that owns a connection and the Exchange that a
// handler holds.
//
// A session lives on its connection's loop and is touched by no other thread. An Exchange may be used and dropped
// anywhere: it knows its session weakly and sends everything to the loop.
#pragma once

#include <atomic>
#include <functional>
#include <memory>

#include "wire/http.h"

namespace dure::wire {

struct SessionHost {
  Handler handler;
  ServerLimits limits;
};

class Session {
 public:
  virtual ~Session() = default;
  virtual void begin() = 0;
  // Set by the owner: the session is over and may be destroyed after the call returns to the loop.
  std::function<void()> over;
};

class ExchangeBase : public Exchange, public std::enable_shared_from_this<ExchangeBase> {
 public:
  ExchangeBase(run::Loop& loop, Request request) : loop_(loop), request_(std::move(request)) {}
  const Request& request() const override { return request_; }
  void respond(Response response) override;
  void start(int status, Headers headers) override;
  void write(SharedBytes bytes) override;
  void finish() override;
  void finish_with_trailers(Headers trailers) override;
  void abort() override;
  size_t unsent() const override {
    return posted_.load(std::memory_order_relaxed) + unsent_.load(std::memory_order_relaxed);
  }
  void on_drained(std::move_only_function<void()> callback) override;
  void on_close(std::move_only_function<void()> callback) override;
  std::unique_ptr<Stream> upgrade(Headers headers) override;
  run::Loop& loop() override { return loop_; }

  // The session's side; loop thread.
  void notify_close();
  void notify_drained();
  void forget_callbacks();
  bool settled() const { return settled_.load(std::memory_order_acquire); }  // answered, or nobody is there to answer
  std::atomic<size_t> unsent_ = 0;                                           // of what the session has taken

 protected:
  virtual void do_respond(Response response) = 0;
  virtual void do_start(int status, Headers headers) = 0;
  virtual void do_write(SharedBytes bytes) = 0;
  virtual void do_finish(Headers trailers) = 0;
  virtual void do_abort() = 0;
  virtual std::unique_ptr<Stream> do_upgrade(Headers headers) = 0;

  run::Loop& loop_;

 private:
  template <class Call>
  void on_loop(Call call);

  Request request_;
  std::atomic<size_t> posted_ = 0;                             // on its way to the loop
  std::move_only_function<void()> drained_, closed_callback_;  // loop thread
  bool closed_ = false;
  std::atomic<bool> settled_ = false;
};

// Plain text unless the limits say otherwise.
Response refusal_response(const ServerLimits& limits, int status, std::string_view why);

std::shared_ptr<Session> make_http1_session(std::unique_ptr<Stream> stream, std::shared_ptr<const Peer> peer,
                                            std::shared_ptr<const SessionHost> host);
std::shared_ptr<Session> make_http2_session(std::unique_ptr<Stream> stream, std::shared_ptr<const Peer> peer,
                                            std::shared_ptr<const SessionHost> host);
// Not TLS with ALPN: the first bytes tell whether the client speaks HTTP/2 with prior knowledge.
std::shared_ptr<Session> make_guessing_session(std::unique_ptr<Stream> stream, std::shared_ptr<const Peer> peer,
                                               std::shared_ptr<const SessionHost> host);

}  // namespace dure::wire
