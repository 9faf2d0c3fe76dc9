// A whole server session (HTTP/1.1 or HTTP/2 by its first bytes) fed from a stream that never
// touches the network: whatever comes, it must neither crash nor leak, and every exchange must find
// its end.
#include "wire/session.h"

namespace {

using namespace dure;
using namespace dure::wire;

// A stream whose peer is the fuzzer; everything happens on the calling thread.
class FuzzStream final : public Stream {
 public:
  explicit FuzzStream(run::Loop& loop) : loop_(loop) {}
  void start(Callbacks callbacks) override {
    callbacks_ = std::make_shared<Callbacks>(std::move(callbacks));
    if (!unread_.empty())
      loop_.post([this, alive = std::weak_ptr(alive_)] {
        if (alive.lock()) deliver(std::exchange(unread_, {}));
      });
  }
  void write(SharedBytes bytes) override { written_ += bytes.size(); }
  size_t unsent() const override { return 0; }
  void pause(bool) override {}
  void finish_writing() override {}
  void close() override { callbacks_.reset(); }
  void hand_over(std::string unread) override {
    unread_ = std::move(unread);
    callbacks_.reset();
  }
  run::Loop& loop() override { return loop_; }
  void deliver(std::string bytes) {
    if (!unread_.empty()) return void(unread_ += bytes);
    const auto callbacks = callbacks_;
    if (callbacks && callbacks->on_data) callbacks->on_data(bytes);
  }
  std::weak_ptr<int> alive() const { return alive_; }

 private:
  run::Loop& loop_;
  std::shared_ptr<Callbacks> callbacks_;
  std::shared_ptr<int> alive_ = std::make_shared<int>();
  std::string unread_;
  size_t written_ = 0;
};

// One loop without a thread: posted work runs when told to.
class FuzzLoop final : public run::Loop {
 public:
  void post(run::Work work) override { work_.push_back(std::move(work)); }
  std::unique_ptr<run::Timer> after(Duration, run::Work) override {
    struct Never final : run::Timer {
      void cancel() override {}
    };
    return std::make_unique<Never>();
  }
  Monotonic now() const override { return {1'000'000'000}; }
  WallTime wall_now() const override { return {}; }
  void run() override {
    while (!work_.empty()) {
      auto work = std::exchange(work_, {});
      for (auto& one : work) one();
    }
  }
  void stop() override {}
  bool on_loop_thread() const override { return true; }
  std::unique_ptr<run::Readiness> watch(int) override { return nullptr; }

 private:
  std::vector<run::Work> work_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const size_t step = size_t(data[0]) + 1;
  const bool http2 = data[1] & 1;
  std::string bytes(reinterpret_cast<const char*>(data + 2), size - 2);
  // The preface is not worth the fuzzer's time.
  if (http2) bytes.insert(0, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  FuzzLoop loop;
  std::vector<std::shared_ptr<Exchange>> late;
  auto host = std::make_shared<const SessionHost>(
      SessionHost{[&](std::shared_ptr<Exchange> exchange) {
                    const auto& target = exchange->request().target;
                    if (target.ends_with('s')) {
                      exchange->start(200, {});
                      exchange->write(SharedBytes(std::string("stream")));
                      late.push_back(exchange);
                    } else if (target.ends_with('u')) {
                      const auto stream = exchange->upgrade({});
                    } else if (!target.ends_with('d')) {
                      exchange->respond(Response{.body = exchange->request().body});
                    }
                  },
                  {.body_bytes_max = 1000, .header_bytes_max = 2000}});
  auto stream = std::make_unique<FuzzStream>(loop);
  FuzzStream* raw = stream.get();
  const auto alive = raw->alive();
  auto session = make_guessing_session(std::move(stream), std::make_shared<Peer>(), host);
  bool over = false;
  session->over = [&] { over = true; };
  session->begin();
  for (size_t at = 0; at < bytes.size() && !over && !alive.expired(); at += step) {
    raw->deliver(bytes.substr(at, step));
    loop.run();
  }
  for (const auto& exchange : late) exchange->finish();
  loop.run();
  session.reset();
  late.clear();
  loop.run();
  return 0;
}
