// The byte streams below HTTP: half close, back-pressure, changing hands, pipes between loops.
#include <gtest/gtest.h>

#include <atomic>

#include "wire/relay_stream.h"
#include "wire/stream_pipe.h"
#include "wire/test_server.h"
#include "wire/test_streams.h"

namespace dure::wire {
namespace {

// What callbacks write to stands first in every test: it outlives the streams and the loops that call back.
Stream::Callbacks logging(Log& log) {
  Stream::Callbacks callbacks;
  callbacks.on_data = [&log](std::string_view bytes) { log.add(std::string(bytes)); };
  callbacks.on_end = [&log] { log.add("<end>"); };
  callbacks.on_close = [&log](Error) { log.add("<close>"); };
  return callbacks;
}

TEST(SocketStream, HalfClosesInBothDirections) {
  Log left, right;
  run::LoopThread one("one"), two("two");
  auto [a, b] = stream_pair(one.loop(), two.loop());
  a->start(logging(left));
  b->start(logging(right));
  a->write(SharedBytes(std::string("ping")));
  a->finish_writing();
  EXPECT_TRUE(right.wait_for("<end>"));
  EXPECT_EQ(right.joined(), "ping<end>");
  b->write(SharedBytes(std::string("pong")));
  b->finish_writing();
  EXPECT_TRUE(left.wait_for("<close>"));
  EXPECT_EQ(left.joined(), "pong<end><close>");
  EXPECT_TRUE(right.wait_for("<close>"));
}

TEST(SocketStream, DestroyingItOffTheLoopWaitsForACallback) {
  run::LoopThread one("one"), two("two");
  for (int i = 0; i < 50; ++i) {
    auto [a, b] = stream_pair(one.loop(), two.loop());
    auto alive = std::make_unique<std::atomic<int>>(1);
    a->start({.on_data = [raw = alive.get()](std::string_view) { raw->fetch_add(1); },
              .on_end = {},
              .on_close = {},
              .on_drained = {}});
    b->start({});
    for (int n = 0; n < 20; ++n) b->write(SharedBytes(std::string("x")));
    a.reset();
    alive.reset();  // a callback after this would be a use after free, which the sanitizers see
  }
}

TEST(SocketStream, APausedStreamHoldsTheWriterBack) {
  std::atomic<size_t> received = 0;
  Log log;
  run::LoopThread one("one"), two("two");
  auto [a, b] = stream_pair(one.loop(), two.loop());
  b->pause(true);
  b->start({.on_data =
                [&](std::string_view bytes) {
                  if ((received += bytes.size()) == (8 << 20)) log.add("all");
                },
            .on_end = {},
            .on_close = {},
            .on_drained = {}});
  a->start(
      {.on_data = {}, .on_end = {}, .on_close = {}, .on_drained = [&] { log.add("drained"); }});
  for (int i = 0; i < 8; ++i) a->write(SharedBytes(std::string(1 << 20, 'x')));
  EXPECT_FALSE(log.wait_for("drained", std::chrono::milliseconds(50)));
  EXPECT_EQ(received, 0u);
  EXPECT_GT(a->unsent(), 4u << 20);
  b->pause(false);
  EXPECT_TRUE(log.wait_for("drained"));
  EXPECT_TRUE(log.wait_for("all"));
  EXPECT_EQ(a->unsent(), 0u);
}

TEST(SocketStream, TellsAStarterThatItBrokeBefore) {
  Log log;
  run::LoopThread one("one"), two("two");
  auto [a, b] = stream_pair(one.loop(), two.loop());
  b.reset();
  run_on(two.loop(), [] {});
  // The readiness to write exists only after a handshake or a start; a start meets the broken pipe
  // at once.
  a->write(SharedBytes(std::string("nobody reads this")));
  a->start({.on_data = {},
            .on_end = [&] { log.add("over"); },
            .on_close = [&](Error) { log.add("over"); },
            .on_drained = {}});
  EXPECT_TRUE(log.wait_for("over"));
}

void changes_hands(std::unique_ptr<Stream> given_a, std::unique_ptr<Stream> given_b) {
  Log first, second;
  const std::unique_ptr<Stream> a = std::move(given_a), b = std::move(given_b);
  // The first owner takes one byte and gives the rest away from inside its callback.
  Stream* raw = a.get();
  a->start({.on_data =
                [&, raw](std::string_view bytes) {
                  first.add(std::string(bytes.substr(0, 1)));
                  raw->hand_over(std::string(bytes.substr(1)));
                  first.add("<gone>");
                },
            .on_end = {},
            .on_close = {},
            .on_drained = {}});
  b->start({});
  b->write(SharedBytes(std::string("abc")));
  ASSERT_TRUE(first.wait_for("<gone>"));
  b->write(SharedBytes(std::string("def")));
  b->finish_writing();
  a->start(logging(second));
  EXPECT_TRUE(second.wait_for("<end>"));
  EXPECT_EQ(second.joined(), "bcdef<end>");
  EXPECT_EQ(first.joined(), "a<gone>");
}
TEST(SocketStream, ChangesHands) {
  run::LoopThread one("one"), two("two");
  auto [a, b] = stream_pair(one.loop(), two.loop());
  changes_hands(std::move(a), std::move(b));
}

// A stream without the power to change hands.
class PlainStream : public Stream {
 public:
  explicit PlainStream(std::unique_ptr<Stream> below) : below_(std::move(below)) {}
  void start(Callbacks callbacks) override { below_->start(std::move(callbacks)); }
  void write(SharedBytes bytes) override { below_->write(std::move(bytes)); }
  size_t unsent() const override { return below_->unsent(); }
  void pause(bool paused) override { below_->pause(paused); }
  void finish_writing() override { below_->finish_writing(); }
  void close() override { below_->close(); }
  run::Loop& loop() override { return below_->loop(); }

 private:
  std::unique_ptr<Stream> below_;
};

TEST(RelayStream, GivesAnyStreamThePowerToChangeHands) {
  run::LoopThread one("one"), two("two");
  auto [a, b] = stream_pair(one.loop(), two.loop());
  auto relay = run_on(one.loop(), [&, below = std::move(a)]() mutable {
    return make_transferable(std::make_unique<PlainStream>(std::move(below)));
  });
  changes_hands(std::move(relay), std::move(b));
}

// A stream that is still doing something when its owner lets go of it, as one whose callback is running.
class LingeringStream final : public PlainStream {
 public:
  LingeringStream(std::unique_ptr<Stream> below, Stream::Callbacks& kept)
      : PlainStream(std::move(below)), kept_(kept) {}
  void start(Callbacks callbacks) override { kept_ = std::move(callbacks); }

 private:
  Callbacks& kept_;
};

TEST(RelayStream, IsSilentOnceItsOwnerLetGo) {
  Log log;
  Stream::Callbacks kept;
  run::LoopThread one("one"), two("two");
  for (const bool destroy : {true, false}) {
    auto [a, b] = stream_pair(one.loop(), two.loop());
    std::unique_ptr<Stream> relay;
    run_on(one.loop(), [&] {
      relay = make_transferable(std::make_unique<LingeringStream>(std::move(a), kept));
      relay->start(logging(log));
      kept.on_data("first");
      relay->hand_over("unread");
      relay->start(logging(log));  // the rest is said later
      if (destroy)
        relay.reset();
      else
        relay->close();
      kept.on_data("late");
    });
    run_on(one.loop(), [&] {
      kept.on_close(unavailable("late"));
      relay.reset();
    });
    EXPECT_EQ(log.joined(), destroy ? "first" : "firstfirst");
  }
  kept = {};
}

TEST(Pipe, CopiesBothWaysBetweenLoops) {
  Log left, right, done;
  std::atomic<size_t> received = 0;
  run::LoopThread one("one"), two("two"), three("three");
  auto [a, pipe_a] = stream_pair(one.loop(), two.loop());
  auto [pipe_b, b] = stream_pair(three.loop(), one.loop());
  a->start(logging(left));
  b->start({.on_data =
                [&](std::string_view bytes) {
                  received += bytes.size();
                  right.add("");
                },
            .on_end = [&] { right.add("<end>"); },
            .on_close = [&](Error) { right.add("<close>"); },
            .on_drained = {}});
  pipe_streams(std::move(pipe_a), std::move(pipe_b), [&] { done.add("done"); });
  for (int i = 0; i < 32; ++i) a->write(SharedBytes(std::string(1 << 20, 'x')));
  a->finish_writing();
  ASSERT_TRUE(right.wait_for("<end>"));
  EXPECT_EQ(received, 32u << 20);
  b->write(SharedBytes(std::string("answer after the end")));
  b->finish_writing();
  ASSERT_TRUE(left.wait_for("<close>"));
  EXPECT_EQ(left.joined(), "answer after the end<end><close>");
  EXPECT_TRUE(done.wait_for("done"));
}

TEST(Pipe, DeliversTheLastWordsOfASideThatBroke) {
  Log right, done;
  run::LoopThread one("one"), two("two");
  auto [a, pipe_a] = stream_pair(one.loop(), two.loop());
  auto [pipe_b, b] = stream_pair(two.loop(), one.loop());
  a->start({});
  b->start(logging(right));
  pipe_streams(std::move(pipe_a), std::move(pipe_b), [&] { done.add("done"); });
  a->write(SharedBytes(std::string("last words")));
  a->finish_writing();
  EXPECT_TRUE(right.wait_for("<end>"));
  b->finish_writing();
  EXPECT_TRUE(done.wait_for("done"));
  EXPECT_TRUE(right.joined().starts_with("last words"));
}

// The leak check of the address sanitizer watches the rest of it.
TEST(Pipe, EndsWithItsLoop) {
  Log left, right;
  run::LoopThread other("other");
  std::unique_ptr<Stream> a, b;
  {
    run::LoopThread one("one");
    std::unique_ptr<Stream> pipe_a, pipe_b;
    std::tie(a, pipe_a) = stream_pair(other.loop(), one.loop());
    std::tie(pipe_b, b) = stream_pair(one.loop(), other.loop());
    a->start(logging(left));
    b->start(logging(right));
    pipe_streams(std::move(pipe_a), std::move(pipe_b));
    a->write(SharedBytes(std::string("hello")));
    ASSERT_TRUE(right.wait_for("hello"));
  }
  EXPECT_TRUE(left.wait_for("<end>"));
  EXPECT_TRUE(right.wait_for("<end>"));
}

TEST(ServeStream, ServesHttpOnAnyStreamAndUpgrades) {
  Log log;
  run::LoopThread one("one"), two("two");
  std::unique_ptr<Stream> upgraded;
  const Handler handler = [&](std::shared_ptr<Exchange> exchange) {
    if (exchange->request().headers.get("upgrade").empty()) {
      Response response{.body = exchange->request().target + " for " +
                                exchange->request().peer->address};
      return exchange->respond(std::move(response));
    }
    Headers headers;
    headers.add("upgrade", "echo");
    headers.add("connection", "Upgrade");
    upgraded = exchange->upgrade(std::move(headers));
    upgraded->start(
        {.on_data =
             [&](std::string_view bytes) { upgraded->write(SharedBytes(std::string(bytes))); },
         .on_end = {},
         .on_close = {},
         .on_drained = {}});
  };
  auto peer = std::make_shared<Peer>();
  peer->address = "tunnel";
  const auto client = HttpClient::over_streams(one.loop(), "node-1", [&](auto done) {
    auto [a, b] = stream_pair(one.loop(), two.loop());
    serve_stream(std::make_unique<PlainStream>(std::move(b)), peer, handler);
    done(std::unique_ptr<Stream>(std::make_unique<PlainStream>(std::move(a))));
  });
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(client->call({.target = "/pods"})->body, "/pods for tunnel");
  Request request{.target = "/exec"};
  request.headers.add("upgrade", "echo");
  auto answer = client->upgrade(std::move(request));
  ASSERT_TRUE(answer) << answer.error().message;
  answer->stream->start(logging(log));
  answer->stream->write(SharedBytes(std::string("hello")));
  EXPECT_TRUE(log.wait_for("hello"));
  run_on(two.loop(), [&] { upgraded.reset(); });
  EXPECT_TRUE(log.wait_for("<end>"));
}

// A node behind a tunnel that some dials find down. It holds its answer to "/slow" back.
struct TunnelledNode {
  explicit TunnelledNode(std::function<bool(int dial)> is_down)
      : client(HttpClient::over_streams(loop.loop(), "node-1", [this, is_down](auto done) {
          if (is_down(++dials)) return done(fail(unavailable("the tunnel is down")));
          auto [a, b] = stream_pair(loop.loop(), loop.loop());
          serve_stream(std::make_unique<PlainStream>(std::move(b)), std::make_shared<Peer>(),
                       [this](std::shared_ptr<Exchange> exchange) {
                         if (exchange->request().target != "/slow")
                           return exchange->respond(Response{.body = "quick"});
                         slow = std::move(exchange);
                         log.add("slow");
                       });
          done(std::unique_ptr<Stream>(std::make_unique<PlainStream>(std::move(a))));
        })) {}
  ~TunnelledNode() {
    run_on(loop.loop(), [&] { slow.reset(); });
  }
  Log log;
  int dials = 0;
  std::shared_ptr<Exchange> slow;
  run::LoopThread loop{"one"};
  std::unique_ptr<HttpClient> client;
};

// A tunnel that is down says so at once. The call that came meanwhile waits for the connection that is alive; the loop
// must not ask in a circle.
TEST(Tunnel, ADiallerThatFailsAtOnceDoesNotHoldTheLoopUp) {
  TunnelledNode node([](int dial) { return dial > 1; });
  std::thread slow([&] { EXPECT_EQ(node.client->call({.target = "/slow"})->body, "done"); });
  ASSERT_TRUE(node.log.wait_for("slow"));
  std::thread quick([&] { EXPECT_EQ(node.client->call({.target = "/quick"})->body, "quick"); });
  run::Loop& loop = node.loop.loop();
  while (run_on(loop, [&] { return node.dials; }) < 2) std::this_thread::yield();
  run_on(loop, [&] { std::exchange(node.slow, nullptr)->respond(Response{.body = "done"}); });
  slow.join();
  quick.join();
}

// A connection that is busy for hours, as one that follows a log, keeps nobody waiting for its end.
TEST(Tunnel, ACallWhoseConnectionFailedIsTriedAgain) {
  TunnelledNode node([](int dial) { return dial == 2; });
  const auto slow = node.client->stream({.target = "/slow"}, {});
  ASSERT_TRUE(node.log.wait_for("slow"));
  const auto quick = node.client->call({.target = "/quick"}, {.timeout = 10s});
  ASSERT_TRUE(quick) << quick.error().message;
  EXPECT_EQ(quick->body, "quick");
}

TEST(Tunnel, ARequestIsOneRequest) {
  run::LoopThread one("one");
  const auto client = HttpClient::over_streams(one.loop(), "node-1", [](auto done) {
    ADD_FAILURE() << "dialled";
    done(fail(unavailable("nobody there")));
  });
  const auto target = client->call({.target = "/logs/ HTTP/1.1\r\n\r\nPOST /exec"});
  ASSERT_FALSE(target);
  EXPECT_EQ(target.error().code, 400);
  const auto method = client->upgrade({.method = "GET /other", .target = "/"});
  ASSERT_FALSE(method);
  EXPECT_EQ(method.error().code, 400);
}

TEST(Tls, SilentDialAndServerName) {
  TestServer server([](std::shared_ptr<Exchange> exchange) {
    exchange->respond(Response{.body = exchange->request().peer->address});
  });
  // The certificate is for localhost and 127.0.0.1 only.
  auto client = server.client({.server_name = "other.example"});
  const auto refused = client->call({.target = "/"});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, "TlsVerifyFailed") << refused.error().message;
  client = server.client({.server_name = "localhost"});
  EXPECT_TRUE(client->call({.target = "/"}));
  const TestAuthority stranger("stranger");
  client = server.client({.ca_pem = stranger.ca_pem()});
  EXPECT_EQ(client->call({.target = "/"}).error().reason, "TlsVerifyFailed");
  client = server.client({.insecure = true});
  EXPECT_TRUE(client->call({.target = "/"}));
  EXPECT_FALSE(HttpClient::create(server.client_thread.loop(), "https://localhost:1"));
  const auto stream = dial(server.client_thread.loop(), server.address(),
                           TlsClientConfig{.ca_pem = server.authority.ca_pem()});
  EXPECT_TRUE(stream);
  EXPECT_EQ(dial(server.client_thread.loop(), "127.0.0.1:1", std::nullopt).error().reason,
            "ConnectionFailed");
  EXPECT_FALSE(dial(server.client_thread.loop(), "name-without-port", std::nullopt));
}

TEST(Tls, ClientCertificatesAreVerifiedButNotRequired) {
  TestServer server([](std::shared_ptr<Exchange> exchange) {
    const Peer& peer = *exchange->request().peer;
    exchange->respond(Response{.body = peer.certificate_der.empty() ? "none"
                                       : peer.certificate_verified  ? "verified"
                                                                    : "not verified"});
  });
  EXPECT_EQ(server.client()->call({.target = "/"})->body, "none");
  const auto good = server.authority.issue("user", nullptr);
  EXPECT_EQ(server.client({.certificate_pem = good.certificate_pem, .key_pem = good.key_pem})
                ->call({.target = "/"})
                ->body,
            "verified");
  const TestAuthority stranger("stranger");
  const auto bad = stranger.issue("user", nullptr);
  EXPECT_EQ(server.client({.certificate_pem = bad.certificate_pem, .key_pem = bad.key_pem})
                ->call({.target = "/"})
                ->body,
            "not verified");
}

TEST(Tls, ReloadedCertificatesServeNewConnections) {
  TestServer server(
      [](std::shared_ptr<Exchange> exchange) { exchange->respond(Response{.body = "ok"}); });
  const TestAuthority next("next authority");
  const auto pair = next.issue("server", "IP:127.0.0.1");
  auto old_client = server.client();
  EXPECT_TRUE(old_client->call({.target = "/"}));
  ASSERT_TRUE(server.server->reload({pair.certificate_pem, pair.key_pem, ""}));
  EXPECT_TRUE(old_client->call({.target = "/"}));  // its connection lives on
  EXPECT_FALSE(server.client()->call({.target = "/"}));
  EXPECT_TRUE(server.client({.ca_pem = next.ca_pem()})->call({.target = "/"}));
  EXPECT_EQ(server.server->reload({"garbage", "garbage", ""}).error().reason, "TlsConfigInvalid");
}

}  // namespace
}  // namespace dure::wire
