// ClientCall: one request of an HttpClient on its way, whatever connection carries it. The connection tells it what
// arrives; it guards the caller's callbacks against a caller that leaves.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>

#include "wire/http.h"

namespace dure::wire {

class ClientCall : public std::enable_shared_from_this<ClientCall> {
 public:
  ClientCall(run::Loop& loop, Request request, HttpClient::Streaming callbacks)
      : request(std::move(request)), loop_(loop), callbacks_(std::move(callbacks)) {}

  // The connection's side; loop thread.
  void on_start(int status, const Headers& headers);
  void on_data(std::string_view bytes);
  void on_trailers(const Headers& trailers);
  void on_end(Result<void> result);
  void on_upgrade(std::unique_ptr<Stream> stream, const Headers& headers);
  bool dead() const { return dead_; }
  // Asking twice does no harm and nothing was answered yet.
  bool may_repeat() const;

  // No callback after this; off the loop it waits for one that runs.
  void silence();

  Request request;
  // Set for a call that wants the connection itself.
  std::move_only_function<void(std::unique_ptr<Stream>, const Headers&)> upgraded;
  // How the carrier forgets this call; loop thread.
  std::function<void()> abandon;
  int attempts = 0;

 private:
  template <class Call>
  void call_out(Call call);

  run::Loop& loop_;
  HttpClient::Streaming callbacks_;
  std::mutex mutex_;
  std::atomic<bool> dead_ = false;
  int depth_ = 0;
  bool started_ = false;
};

// A connection of a client; loop thread.
class ClientConnection {
 public:
  // What a connection tells its client. All are followed by nothing that touches the connection.
  struct Events {
    std::function<void()> on_idle;  // it may take another call
    std::function<void()> on_over;  // destroy it soon (never inside this call)
    std::function<void(std::shared_ptr<ClientCall>)>
        on_give_back;  // the server did nothing with this call: try elsewhere
  };
  virtual ~ClientConnection() = default;
  virtual void begin(Events events) = 0;
  virtual bool can_take() const = 0;
  virtual void submit(std::shared_ptr<ClientCall> call) = 0;
  virtual void close(const Error& why) = 0;
};

std::shared_ptr<ClientConnection> make_http1_client_connection(std::unique_ptr<Stream> stream, std::string host);
std::shared_ptr<ClientConnection> make_http2_client_connection(std::unique_ptr<Stream> stream, std::string scheme,
                                                               std::string authority);

Error connection_lost(std::string_view why);

}  // namespace dure::wire
