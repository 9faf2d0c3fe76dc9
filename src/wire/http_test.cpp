// Server and client against each other over loopback: TLS with HTTP/2, plain HTTP/1.1,
// prior-knowledge HTTP/2.
#include <gtest/gtest.h>

#include <condition_variable>
#include <future>
#include <thread>

#include "wire/test_server.h"

namespace dure::wire {
namespace {

enum class Way { tls_http2, plain_http1, plain_http2 };

Response text(int status, std::string body) {
  Response response{.status = status, .body = std::move(body)};
  response.headers.add("Content-Type", "text/plain");
  return response;
}

class HttpTest : public testing::TestWithParam<Way> {
 protected:
  void serve(Handler handler, ServerLimits limits = {}) {
    server_ = std::make_unique<TestServer>(std::move(handler), std::move(limits),
                                           GetParam() == Way::tls_http2);
    switch (GetParam()) {
      case Way::tls_http2:
        client_ = server_->client();
        break;
      case Way::plain_http1:
        client_ = server_->plain_client("http");
        break;
      case Way::plain_http2:
        client_ = server_->plain_client("h2c");
        break;
    }
  }
  bool http1() const { return GetParam() == Way::plain_http1; }
  std::unique_ptr<TestServer> server_;
  std::unique_ptr<HttpClient> client_;
};

TEST_P(HttpTest, AnswersWithWhatItWasAsked) {
  serve([](std::shared_ptr<Exchange> exchange) {
    const Request& request = exchange->request();
    exchange->respond(text(200, request.method + " " + request.target + " " +
                                    std::string(request.headers.get("x-test")) + " " +
                                    request.body));
  });
  Request request{.method = "POST", .target = "/a/b?c=d", .body = "hello"};
  request.headers.add("X-Test", "yes");
  const auto response = client_->call(request);
  ASSERT_TRUE(response) << response.error().message;
  EXPECT_EQ(response->status, 200);
  EXPECT_EQ(response->body, "POST /a/b?c=d yes hello");
  EXPECT_EQ(response->headers.get("content-type"), "text/plain");
  EXPECT_EQ(client_->call({.target = "/x"})->body, "GET /x  ");
}

TEST_P(HttpTest, LargeBodiesBothWays) {
  serve(
      [](std::shared_ptr<Exchange> exchange) {
        exchange->respond(text(200, exchange->request().body));
      },
      {.body_bytes_max = 20 << 20});
  std::string body;
  for (int i = 0; body.size() < (10 << 20); ++i) body += std::to_string(i) + ",";
  const auto response = client_->call({.method = "PUT", .target = "/", .body = body});
  ASSERT_TRUE(response) << response.error().message;
  EXPECT_EQ(response->body.size(), body.size());
  EXPECT_TRUE(response->body == body);
}

TEST_P(HttpTest, ManyCallsFromManyThreads) {
  serve([](std::shared_ptr<Exchange> exchange) {
    exchange->respond(text(200, exchange->request().target));
  });
  std::atomic<int> good = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100; ++i) {
        const std::string target = "/" + std::to_string(t) + "/" + std::to_string(i);
        const auto response = client_->call({.target = target});
        if (response && response->body == target) ++good;
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(good, 800);
}

TEST_P(HttpTest, AnswersFromAnotherThread) {
  auto pool = run::make_pool("handlers", 2);
  serve([&](std::shared_ptr<Exchange> exchange) {
    pool->post([exchange] { exchange->respond(text(201, "later")); });
  });
  for (int i = 0; i < 20; ++i)
    EXPECT_EQ(client_->call({.method = "POST", .target = "/"})->status, 201);
  server_->server.reset();
}

TEST_P(HttpTest, StreamsUntilTheClientLeaves) {
  std::promise<void> left;
  std::shared_ptr<Exchange> held;
  serve([&](std::shared_ptr<Exchange> exchange) {
    held = exchange;
    exchange->on_close([&] {
      held.reset();
      left.set_value();
    });
    exchange->start(200, {});
    exchange->write(SharedBytes(std::string("one ")));
  });
  std::promise<void> both;
  std::string seen;
  auto handle =
      client_->stream({.target = "/watch"},
                      {.on_start = [&](int status, const Headers&) { EXPECT_EQ(status, 200); },
                       .on_data =
                           [&](std::string_view bytes) {
                             seen += bytes;
                             if (seen == "one ") held->write(SharedBytes(std::string("two")));
                             if (seen == "one two") both.set_value();
                           },
                       .on_end = [](auto) {}});
  both.get_future().wait();
  handle.reset();
  EXPECT_EQ(left.get_future().wait_for(5s), std::future_status::ready);
}

TEST_P(HttpTest, AStreamEndsWithItsTrailers) {
  serve([](std::shared_ptr<Exchange> exchange) {
    exchange->start(200, {});
    exchange->write(SharedBytes(std::string("body")));
    Headers trailers;
    trailers.add("grpc-status", "0");
    exchange->finish_with_trailers(std::move(trailers));
  });
  const auto response = client_->call({.target = "/"});
  ASSERT_TRUE(response);
  EXPECT_EQ(response->body, "body");
  EXPECT_EQ(response->trailers.get("grpc-status"), "0");
}

TEST_P(HttpTest, ASlowReaderPausesTheWriterNotTheServer) {
  // 64 MB are offered to a client that takes its time; the server keeps what fits into its bound.
  std::atomic<size_t> most_unsent = 0;
  struct Producer : std::enable_shared_from_this<Producer> {
    std::shared_ptr<Exchange> exchange;
    int left = 64;
    std::atomic<size_t>* most;
    void go() {
      while (left > 0 && exchange->unsent() < (2 << 20)) {
        exchange->write(SharedBytes(std::string(1 << 20, 'x')));
        *most = std::max(most->load(), exchange->unsent());
        --left;
      }
      if (left == 0) exchange->finish();
    }
  };
  serve([&](std::shared_ptr<Exchange> exchange) {
    exchange->start(200, {});
    auto producer = std::make_shared<Producer>();
    producer->exchange = exchange;
    producer->most = &most_unsent;
    exchange->on_drained([producer] { producer->go(); });
    producer->go();
  });
  std::promise<void> done;
  size_t received = 0;
  auto handle = client_->stream({.target = "/"},
                                {.on_start = nullptr,
                                 .on_data =
                                     [&](std::string_view bytes) {
                                       received += bytes.size();
                                       if (received % 64 == 0)
                                         std::this_thread::sleep_for(std::chrono::microseconds(1));
                                     },
                                 .on_end = [&](auto) { done.set_value(); }});
  ASSERT_EQ(done.get_future().wait_for(60s), std::future_status::ready);
  EXPECT_EQ(received, 64u << 20);
  EXPECT_LE(most_unsent, 4u << 20);
}

TEST_P(HttpTest, TooLargeBodiesAreAnsweredWith413) {
  std::atomic<int> handled = 0;
  serve(
      [&](std::shared_ptr<Exchange> exchange) {
        ++handled;
        exchange->respond(text(200, ""));
      },
      {.body_bytes_max = 100'000, .refusal = [](int status, std::string_view why) {
         return text(status, "refused: " + std::string(why));
       }});
  const auto response =
      client_->call({.method = "POST", .target = "/", .body = std::string(3 << 20, 'x')});
  ASSERT_TRUE(response) << response.error().message;
  EXPECT_EQ(response->status, 413);
  EXPECT_EQ(response->body, "refused: the request's body is too large");
  EXPECT_EQ(
      client_->call({.method = "POST", .target = "/", .body = std::string(100'000, 'x')})->status,
      200);
  EXPECT_EQ(handled, 1);
}

TEST_P(HttpTest, TooLargeHeadersAreAnsweredWith431) {
  serve([](std::shared_ptr<Exchange> exchange) { exchange->respond(text(200, "")); },
        {.header_bytes_max = 4096});
  Request request{.target = "/"};
  request.headers.add("x-big", std::string(6000, 'x'));
  const auto response = client_->call(request);
  ASSERT_TRUE(response) << response.error().message;
  EXPECT_EQ(response->status, 431);
}

TEST_P(HttpTest, HeadHasLengthAndNoBody) {
  serve([](std::shared_ptr<Exchange> exchange) { exchange->respond(text(200, "12345")); });
  const auto response = client_->call({.method = "HEAD", .target = "/"});
  ASSERT_TRUE(response) << response.error().message;
  EXPECT_EQ(response->body, "");
  EXPECT_EQ(response->headers.get("content-length"), "5");
  EXPECT_EQ(client_->call({.target = "/"})->body, "12345");
}

TEST_P(HttpTest, AForgottenRequestIsA500) {
  serve([](std::shared_ptr<Exchange>) {});
  const auto response = client_->call({.target = "/"});
  ASSERT_TRUE(response) << response.error().message;
  EXPECT_EQ(response->status, 500);
}

TEST_P(HttpTest, AbortReachesTheClient) {
  serve([](std::shared_ptr<Exchange> exchange) {
    exchange->start(200, {});
    exchange->write(SharedBytes(std::string("part")));
    exchange->abort();
  });
  const auto response = client_->call({.method = "POST", .target = "/"});
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().reason, "ConnectionLost");
}

TEST_P(HttpTest, CallsTimeOutAndTheNextOneWorks) {
  std::vector<std::shared_ptr<Exchange>> held;
  serve([&](std::shared_ptr<Exchange> exchange) {
    if (exchange->request().target == "/hold") return held.push_back(exchange);
    exchange->respond(text(200, "ok"));
  });
  const auto response = client_->call({.target = "/hold"}, {.timeout = 50ms});
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().reason, "Timeout");
  EXPECT_EQ(client_->call({.target = "/"})->body, "ok");
  server_->server.reset();
}

TEST_P(HttpTest, ResponsesOverTheLimitAreRefused) {
  serve([](std::shared_ptr<Exchange> exchange) {
    exchange->respond(text(200, std::string(5000, 'x')));
  });
  const auto response = client_->call({.target = "/"}, {.body_bytes_max = 4999});
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().reason, "ResponseTooLarge");
}

TEST_P(HttpTest, ReconnectsAfterTheServerCameBack) {
  serve([](std::shared_ptr<Exchange> exchange) { exchange->respond(text(200, "first")); });
  EXPECT_EQ(client_->call({.target = "/"})->body, "first");
  const int port = server_->server->port();
  server_->server.reset();
  const auto down = client_->call({.target = "/"});
  EXPECT_FALSE(down);
  std::optional<TlsServerConfig> tls;
  if (GetParam() == Way::tls_http2) {
    const auto pair = server_->authority.issue("server", "IP:127.0.0.1");
    tls = TlsServerConfig{pair.certificate_pem, pair.key_pem, ""};
  }
  server_->server =
      Server::listen(
          "127.0.0.1:" + std::to_string(port), tls, {&server_->server_thread.loop()},
          [](std::shared_ptr<Exchange> exchange) { exchange->respond(text(200, "second")); })
          .value();
  const auto up = client_->call({.target = "/"});
  ASSERT_TRUE(up) << up.error().message;
  EXPECT_EQ(up->body, "second");
}

TEST_P(HttpTest, MoreWatchesThanOneConnectionCarries) {
  std::vector<std::shared_ptr<Exchange>> held;
  serve(
      [&](std::shared_ptr<Exchange> exchange) {
        if (exchange->request().target != "/watch") return exchange->respond(text(200, "ok"));
        exchange->start(200, {});
        exchange->write(SharedBytes(std::string("x")));
        held.push_back(std::move(exchange));
      },
      {.streams_max = 10});
  std::vector<std::unique_ptr<run::Timer>> handles;
  std::atomic<int> started = 0;
  std::promise<void> all;
  for (int i = 0; i < 25; ++i)
    handles.push_back(client_->stream({.target = "/watch"}, {.on_start = nullptr,
                                                             .on_data =
                                                                 [&](std::string_view) {
                                                                   if (++started == 25)
                                                                     all.set_value();
                                                                 },
                                                             .on_end = [](auto) {}}));
  ASSERT_EQ(all.get_future().wait_for(10s), std::future_status::ready);
  EXPECT_EQ(client_->call({.target = "/"})->body, "ok");
  handles.clear();
  server_->server.reset();
}

// Ways that can upgrade a connection: HTTP/2 on plain connections cannot.
class UpgradeTest : public HttpTest {};

TEST_P(UpgradeTest, UpgradesOnAConnectionOfItsOwn) {
  std::unique_ptr<Stream> server_side;
  serve([&](std::shared_ptr<Exchange> exchange) {
    if (exchange->request().headers.get("upgrade") != "echo")
      return exchange->respond(text(400, "no"));
    Headers headers;
    headers.add("connection", "Upgrade");
    headers.add("upgrade", "echo");
    server_side = exchange->upgrade(headers);
    ASSERT_TRUE(server_side);
    server_side->start(
        {.on_data =
             [&](std::string_view bytes) { server_side->write(SharedBytes(std::string(bytes))); },
         .on_end = [&] { server_side->finish_writing(); },
         .on_close = {},
         .on_drained = {}});
  });
  Request request{.target = "/exec"};
  const auto refused = client_->upgrade(request);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, 400);
  EXPECT_EQ(refused.error().message, "no");
  request.headers.add("upgrade", "echo");
  auto upgraded = client_->upgrade(request);
  ASSERT_TRUE(upgraded) << upgraded.error().message;
  EXPECT_EQ(upgraded->headers.get("upgrade"), "echo");
  std::string seen;
  std::promise<void> ended;
  upgraded->stream->start({.on_data = [&](std::string_view bytes) { seen += bytes; },
                           .on_end = [&] { ended.set_value(); },
                           .on_close = {},
                           .on_drained = {}});
  upgraded->stream->write(SharedBytes(std::string("hello")));
  upgraded->stream->write(SharedBytes(std::string(100'000, 'x')));
  upgraded->stream->finish_writing();
  ASSERT_EQ(ended.get_future().wait_for(5s), std::future_status::ready);
  EXPECT_EQ(seen, "hello" + std::string(100'000, 'x'));
  server_->server_thread.loop().post([&] { server_side.reset(); });
  server_->server.reset();
}

TEST_P(HttpTest, AServerThatGoesLeavesNoHandlerRunning) {
  std::shared_ptr<Exchange> held;
  std::promise<void> arrived;
  serve([&](std::shared_ptr<Exchange> exchange) {
    held = exchange;
    arrived.set_value();
  });
  std::promise<bool> ended;
  auto handle =
      client_->stream({.method = "POST", .target = "/"},
                      {.on_start = nullptr, .on_data = nullptr, .on_end = [&](auto result) {
                         ended.set_value(bool(result));
                       }});
  arrived.get_future().wait();
  server_->server.reset();
  EXPECT_FALSE(ended.get_future().get());
  held->respond(text(200, "nobody hears this"));
  held.reset();
}

std::string name_of_way(const testing::TestParamInfo<Way>& info) {
  return info.param == Way::tls_http2 ? "tls_http2" : info.param == Way::plain_http1 ? "plain_http1" : "plain_http2";
}
INSTANTIATE_TEST_SUITE_P(Ways, HttpTest, testing::Values(Way::tls_http2, Way::plain_http1, Way::plain_http2),
                         name_of_way);
INSTANTIATE_TEST_SUITE_P(Ways, UpgradeTest, testing::Values(Way::tls_http2, Way::plain_http1), name_of_way);

TEST(HttpServer, PlainHttpToATlsPortIsToldSo) {
  TestServer server([](std::shared_ptr<Exchange> exchange) { exchange->respond(text(200, "never")); });
  const auto response = server.plain_client("http")->call({.target = "/version"});
  ASSERT_TRUE(response) << response.error().message;
  EXPECT_EQ(response->status, 400);
  EXPECT_EQ(response->body, "Client sent an HTTP request to an HTTPS server.\n");
}

}  // namespace
}  // namespace dure::wire
