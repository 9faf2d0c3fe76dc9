// Two connected SocketStreams over a socket pair, and a way to run code on a loop and wait; for this room's tests.
#pragma once

#include <fcntl.h>
#include <sys/socket.h>

#include <condition_variable>
#include <future>
#include <mutex>

#include "wire/socket_stream.h"

namespace dure::wire {

inline std::pair<std::unique_ptr<Stream>, std::unique_ptr<Stream>> stream_pair(run::Loop& a, run::Loop& b) {
  int fds[2];
  DURE_ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
  return {std::make_unique<SocketStream>(a, fds[0], nullptr), std::make_unique<SocketStream>(b, fds[1], nullptr)};
}

template <class Call>
auto run_on(run::Loop& loop, Call call) {
  std::promise<decltype(call())> promise;
  loop.post([&] {
    if constexpr (std::is_void_v<decltype(call())>) {
      call();
      promise.set_value();
    } else {
      promise.set_value(call());
    }
  });
  return promise.get_future().get();
}

// Texts that callbacks add and a test waits for.
class Log {
 public:
  void add(std::string text) {
    std::lock_guard lock(mutex_);
    texts_.push_back(std::move(text));
    changed_.notify_all();
  }
  bool wait_for(std::string_view text, std::chrono::milliseconds limit = std::chrono::seconds(10)) {
    return wait(
        [&] {
          for (const auto& seen : texts_)
            if (seen == text) return true;
          return false;
        },
        limit);
  }
  bool wait_for_joined(std::string_view text, std::chrono::milliseconds limit = std::chrono::seconds(10)) {
    return wait([&] { return joined_locked() == text; }, limit);
  }
  bool wait_for_any(std::chrono::milliseconds limit = std::chrono::seconds(10)) {
    return wait([&] { return !texts_.empty(); }, limit);
  }
  std::string joined() {
    std::lock_guard lock(mutex_);
    return joined_locked();
  }
  std::vector<std::string> all() {
    std::lock_guard lock(mutex_);
    return texts_;
  }

 private:
  template <class Done>
  bool wait(Done done, std::chrono::milliseconds limit) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, limit, done);
  }
  std::string joined_locked() const {
    std::string out;
    for (const auto& text : texts_) out += text;
    return out;
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> texts_;
};

}  // namespace dure::wire
