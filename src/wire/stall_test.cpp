// Clients that do not take what they asked for, over real sockets: pipelining without reading, shut windows,
// half-closed connections. Each is cut off in time; slow readers, idle watches and finished writers are not.
#include <gtest/gtest.h>

#include <future>
#include <thread>

#include "wire/session.h"
#include "wire/test_server.h"
#include "wire/test_streams.h"

namespace dure::wire {
namespace {

constexpr Duration period = 100ms;

struct Seen {
  std::atomic<int> handled = 0, gone = 0;
};

// A client that reads only when told to.
class Client {
 public:
  Client(TestServer& server, bool with_tls)
      : stream_(dial(server.client_thread.loop(), server.address(),
                     with_tls ? std::optional(TlsClientConfig{.ca_pem = server.authority.ca_pem()}) : std::nullopt)
                    .value()) {}
  void start(bool reading) {
    stream_->pause(!reading);
    stream_->start({.on_data =
                        [this](std::string_view bytes) {
                          received += bytes.size();
                          log.add(std::string(bytes));
                        },
                    .on_end = [this] { log.add("<end>"); },
                    .on_close = [this](Error) { log.add("<end>"); },
                    .on_drained = {}});
  }
  void send(std::string bytes) { stream_->write(SharedBytes(std::move(bytes))); }
  Stream& stream() { return *stream_; }
  std::atomic<size_t> received = 0;
  Log log;

 private:
  std::unique_ptr<Stream> stream_;
};

bool soon(const std::function<bool()>& done, Duration limit = 10s) {
  const auto until = std::chrono::steady_clock::now() + limit;
  while (!done()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

ServerLimits strict() {
  ServerLimits limits;
  limits.stall_timeout = period;
  return limits;
}

// For those who must not be cut off, however busy the machine is.
ServerLimits patient(Duration period = 30s) {
  ServerLimits limits;
  limits.stall_timeout = period;
  return limits;
}

// What the pieces of an endless or long answer are written by: as much as the exchange takes.
struct Producer : std::enable_shared_from_this<Producer> {
  Producer(std::shared_ptr<Exchange> exchange, int pieces) : exchange(std::move(exchange)), left(pieces) {}
  void begin(Seen& seen) {
    exchange->on_close([self = shared_from_this(), &seen] {
      self->exchange.reset();
      ++seen.gone;
    });
    exchange->on_drained([self = shared_from_this()] { self->go(); });
    exchange->start(200, {});
    go();
  }
  void go() {
    while (exchange && left > 0 && exchange->unsent() < (256 << 10)) {
      --left;
      exchange->write(SharedBytes(std::string(64 << 10, 'x')));
    }
    if (exchange && left == 0) std::exchange(exchange, nullptr)->finish();
  }
  std::shared_ptr<Exchange> exchange;
  int left;
};

class Stall : public testing::TestWithParam<bool> {
 protected:
  void serve(Handler handler, ServerLimits limits = strict()) {
    server_ = std::make_unique<TestServer>(std::move(handler), std::move(limits), GetParam());
    client_ = std::make_unique<Client>(*server_, GetParam());
  }
  Handler long_answers(int pieces) {
    return [this, pieces](std::shared_ptr<Exchange> exchange) {
      ++seen_.handled;
      std::make_shared<Producer>(std::move(exchange), pieces)->begin(seen_);
    };
  }
  void TearDown() override {
    if (server_) server_->server.reset();
    client_.reset();
  }
  Seen seen_;
  std::unique_ptr<TestServer> server_;
  std::unique_ptr<Client> client_;
};

const std::string get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

TEST_P(Stall, PipeliningWithoutReadingStopsTheServerAndThenTheConnection) {
  serve([&](std::shared_ptr<Exchange> exchange) {
    ++seen_.handled;
    exchange->respond(Response{.body = std::string(64 << 10, 'x')});
  });
  client_->start(false);
  std::string requests;
  constexpr int many = 2000;
  for (int i = 0; i < many; ++i) requests += get;
  client_->send(requests);
  ASSERT_TRUE(soon([&] { return seen_.handled > 0; }));
  std::this_thread::sleep_for(5 * period);
  client_->stream().pause(false);
  EXPECT_TRUE(client_->log.wait_for("<end>"));
  EXPECT_LT(seen_.handled, many / 4);
}

TEST_P(Stall, OneWhoPipelinesAndReadsGetsAllAnswers) {
  serve(
      [&](std::shared_ptr<Exchange> exchange) {
        ++seen_.handled;
        exchange->respond(Response{.body = std::string(64 << 10, 'x')});
      },
      patient());
  client_->start(true);
  std::string requests;
  for (int i = 0; i < 300; ++i) requests += get;
  client_->send(requests);
  EXPECT_TRUE(soon([&] { return client_->received > 300u * (64 << 10); }));
  EXPECT_EQ(seen_.handled, 300);
}

TEST_P(Stall, AnAnswerThatIsNeverTakenEnds) {
  serve(long_answers(1'000'000));
  client_->start(false);
  client_->send(get);
  EXPECT_TRUE(soon([&] { return seen_.gone == 1; }));
}

TEST_P(Stall, ASlowReaderIsServedToTheEnd) {
  constexpr int pieces = 128;  // 8 MB: more than the buffers of both kernels' ends
  serve(long_answers(pieces), patient(1s));
  client_->start(false);
  client_->send(get);
  while (client_->received < size_t(pieces) << 16 && seen_.gone == 0) {
    client_->stream().pause(false);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    client_->stream().pause(true);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_EQ(seen_.gone, 0);
  EXPECT_GE(client_->received, size_t(pieces) << 16);
}

TEST_P(Stall, AnIdleWatchIsLeftAlone) {
  std::shared_ptr<Exchange> held;
  serve([&](std::shared_ptr<Exchange> exchange) {
    exchange->on_close([&] { ++seen_.gone; });
    exchange->start(200, {});
    exchange->write(SharedBytes(std::string("first")));
    held = std::move(exchange);
    ++seen_.handled;
  });
  client_->start(true);
  client_->send(get);
  ASSERT_TRUE(soon([&] { return seen_.handled == 1; }));
  std::this_thread::sleep_for(5 * period);
  EXPECT_EQ(seen_.gone, 0);
  held->write(SharedBytes(std::string("second")));
  EXPECT_TRUE(soon([&] { return client_->log.joined().ends_with("6\r\nsecond\r\n"); }));
  server_->server.reset();
  held.reset();
}

TEST_P(Stall, AHalfClosedClientGetsAllAnswersItAskedFor) {
  auto pool = run::make_pool("pool", 2);
  serve(
      [&](std::shared_ptr<Exchange> exchange) {
        pool->post([&, exchange] {
          std::this_thread::sleep_for(std::chrono::milliseconds(20));
          ++seen_.handled;
          exchange->respond(Response{.body = "ok"});
        });
      },
      patient());
  client_->start(true);
  client_->send(get + get + get);
  client_->stream().finish_writing();
  EXPECT_TRUE(client_->log.wait_for("<end>"));
  EXPECT_EQ(seen_.handled, 3);
}

TEST_P(Stall, AHalfClosedClientGetsALongAnswerWhole) {
  serve(long_answers(128), patient());
  client_->start(true);
  client_->send(get);
  client_->stream().finish_writing();
  EXPECT_TRUE(client_->log.wait_for("<end>"));
  EXPECT_TRUE(client_->log.joined().find("\r\n0\r\n\r\n") != std::string::npos);
  EXPECT_EQ(seen_.gone, 0);
}

TEST_P(Stall, AHalfClosedClientGetsOneLargeAnswerWholeAndThenTheEnd) {
  serve([&](std::shared_ptr<Exchange> exchange) { exchange->respond(Response{.body = std::string(8 << 20, 'x')}); },
        patient());
  client_->start(true);
  client_->send(get);
  client_->stream().finish_writing();
  EXPECT_TRUE(client_->log.wait_for("<end>"));
  EXPECT_GT(client_->received, 8u << 20);
}

TEST_P(Stall, AHalfClosedClientEndsItsIdleWatch) {
  serve([&](std::shared_ptr<Exchange> exchange) {
    exchange->on_close([&, exchange] { ++seen_.gone; });
    exchange->start(200, {});
    exchange->write(SharedBytes(std::string("first")));
  });
  client_->start(true);
  client_->send(get);
  client_->stream().finish_writing();
  EXPECT_TRUE(soon([&] { return seen_.gone == 1; }));
}

TEST_P(Stall, AConnectionThatEndsInsideARequestIsToldSo) {
  serve([&](std::shared_ptr<Exchange> exchange) { exchange->respond(Response{}); });
  client_->start(true);
  client_->send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf");
  client_->stream().finish_writing();
  EXPECT_TRUE(client_->log.wait_for("<end>"));
  EXPECT_TRUE(client_->log.joined().starts_with("HTTP/1.1 400 ")) << client_->log.joined();
}

// HTTP/2 by the byte. RFC 9113 section 6, RFC 7541 appendix A.
std::string frame(uint8_t type, uint8_t flags, uint32_t stream, std::string payload) {
  std::string out;
  for (const int shift : {16, 8, 0}) out += char(payload.size() >> shift);
  out += char(type);
  out += char(flags);
  for (const int shift : {24, 16, 8, 0}) out += char(stream >> shift);
  return out + payload;
}
std::string number(uint32_t value) {
  std::string out;
  for (const int shift : {24, 16, 8, 0}) out += char(value >> shift);
  return out;
}
std::string preface(uint32_t window) {
  return "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, std::string("\0\4", 2) + number(window)) +
         frame(8, 0, 0, number((1u << 30)));
}
std::string get2(uint32_t stream) { return frame(1, 5, stream, "\x82\x87\x84\x41\x01x"); }

TEST_P(Stall, AStreamWhoseWindowStaysShutIsResetAndItsConnectionGoesOn) {
  serve([&](std::shared_ptr<Exchange> exchange) {
    if (seen_.handled++ > 0) return exchange->respond(Response{.status = 204});
    std::make_shared<Producer>(std::move(exchange), 1000)->begin(seen_);
  });
  client_->start(true);
  client_->send(preface(0) + get2(1));
  EXPECT_TRUE(soon([&] { return seen_.gone == 1; }));
  EXPECT_TRUE(soon([&] { return client_->log.joined().find(frame(3, 0, 1, number(8))) != std::string::npos; }));
  client_->send(get2(3));
  EXPECT_TRUE(soon([&] { return seen_.handled == 2; }));
}

TEST_P(Stall, AnHttp2ClientThatNeverReadsIsCutOff) {
  serve(long_answers(1'000'000));
  client_->start(false);
  client_->send(preface((1u << 31) - 1) + get2(1) + get2(3));
  EXPECT_TRUE(soon([&] { return seen_.gone == 2; }));
  client_->stream().pause(false);
  EXPECT_TRUE(client_->log.wait_for("<end>"));
}

TEST_P(Stall, AnIdleHttp2WatchIsLeftAlone) {
  std::shared_ptr<Exchange> held;
  serve([&](std::shared_ptr<Exchange> exchange) {
    exchange->on_close([&] { ++seen_.gone; });
    exchange->start(200, {});
    exchange->write(SharedBytes(std::string("first")));
    held = std::move(exchange);
    ++seen_.handled;
  });
  client_->start(true);
  client_->send(preface(1 << 20) + get2(1));
  ASSERT_TRUE(soon([&] { return seen_.handled == 1; }));
  std::this_thread::sleep_for(5 * period);
  EXPECT_EQ(seen_.gone, 0);
  held->write(SharedBytes(std::string("second")));
  EXPECT_TRUE(soon([&] { return client_->log.joined().ends_with("second"); }));
  server_->server.reset();
  held.reset();
}

TEST_P(Stall, TooManyAnswersThatNobodyReadsMeans429) {
  std::atomic<int> refused = 0;
  ServerLimits limits;
  limits.waiting_bytes_max = 100'000;
  limits.refusal = [&](int status, std::string_view why) {
    refused = status;
    return Response{.status = status, .body = std::string(why)};
  };
  serve(
      [&](std::shared_ptr<Exchange> exchange) {
        ++seen_.handled;
        exchange->respond(Response{.body = std::string(64 << 10, 'x')});
      },
      std::move(limits));
  client_->start(true);
  client_->send(preface(0) + get2(1) + get2(3) + get2(5));
  EXPECT_TRUE(soon([&] { return refused == 429; }));
  EXPECT_EQ(seen_.handled, 2);
}

INSTANTIATE_TEST_SUITE_P(Ways, Stall, testing::Bool(), [](const auto& info) { return info.param ? "tls" : "plain"; });

}  // namespace
}  // namespace dure::wire
