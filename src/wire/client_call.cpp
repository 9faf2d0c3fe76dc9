#include "wire/client_call.h"

namespace dure::wire {

template <class Call>
void ClientCall::call_out(Call call) {
  if (dead_) return;
  const auto keep = shared_from_this();
  std::unique_lock lock(mutex_, std::defer_lock);
  if (depth_ == 0) lock.lock();
  if (dead_) return;
  ++depth_;
  call();
  --depth_;
}

void ClientCall::on_start(int status, const Headers& headers) {
  started_ = true;
  call_out([&] {
    if (callbacks_.on_start) callbacks_.on_start(status, headers);
  });
}
void ClientCall::on_data(std::string_view bytes) {
  call_out([&] {
    if (callbacks_.on_data) callbacks_.on_data(bytes);
  });
}
void ClientCall::on_trailers(const Headers& trailers) {
  call_out([&] {
    if (callbacks_.on_trailers) callbacks_.on_trailers(trailers);
  });
}
void ClientCall::on_end(Result<void> result) {
  abandon = nullptr;
  call_out([&] {
    if (callbacks_.on_end) callbacks_.on_end(std::move(result));
    dead_ = true;
  });
}
void ClientCall::on_upgrade(std::unique_ptr<Stream> stream, const Headers& headers) {
  abandon = nullptr;
  call_out([&] {
    upgraded(std::move(stream), headers);
    dead_ = true;
  });
}
bool ClientCall::may_repeat() const {
  const auto& method = request.method;
  return !started_ && attempts < 3 && !upgraded &&
         (method == "GET" || method == "HEAD" || method == "PUT" || method == "DELETE");
}

void ClientCall::silence() {
  if (loop_.on_loop_thread()) {
    dead_ = true;
    if (abandon) std::exchange(abandon, nullptr)();
    return;
  }
  {
    std::lock_guard lock(mutex_);
    if (dead_.exchange(true)) return;
  }
  loop_.post([self = shared_from_this()] {
    if (self->abandon) std::exchange(self->abandon, nullptr)();
  });
}

Error connection_lost(std::string_view why) {
  return Error{.code = 503,
               .reason = "ConnectionLost",
               .message = "the connection was lost: " + std::string(why)};
}

}  // namespace dure::wire
