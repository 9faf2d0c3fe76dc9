#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "run/loop.h"
#include "tunnel/agent.h"
#include "tunnel/hub.h"

namespace dure::tunnel {
namespace {

// A server with a hub, and an agent that answers every request with its path.
class TunnelTest : public testing::Test {
 protected:
  void SetUp() override { listen("127.0.0.1:0"); }

  void TearDown() override {
    agent_.reset();
    hub_.close();
    server_.reset();
  }

  void listen(const std::string& address) {
    auto server = wire::Server::listen(address, std::nullopt, {&loop_.loop()},
                                       [this](std::shared_ptr<wire::Exchange> exchange) { hub_.accept(exchange, "n1"); });
    ASSERT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
  }

  void start_agent() {
    AgentTunnelOptions options;
    options.server_url = "http://127.0.0.1:" + std::to_string(server_->port());
    agent_ = AgentTunnel::start(agent_loop_.loop(), *pool_, options, [](std::shared_ptr<wire::Exchange> exchange) {
      wire::Response response;
      response.body = "you asked for " + exchange->request().target;
      exchange->respond(std::move(response));
    });
  }

  bool eventually(const std::function<bool()>& condition) {
    for (int i = 0; i < 500; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }

  // One HTTP/1.1 request over a dialled stream; the whole answer once the agent closed.
  Result<std::string> get(const std::string& path) {
    DURE_TRY(auto stream, hub_.dial("n1"));
    std::mutex mutex;
    std::condition_variable changed;
    std::string text;
    bool over = false;
    wire::Stream::Callbacks callbacks;
    auto finish = [&] {
      const std::lock_guard lock(mutex);
      over = true;
      changed.notify_all();
    };
    callbacks.on_data = [&](std::string_view bytes) {
      const std::lock_guard lock(mutex);
      text += bytes;
    };
    callbacks.on_end = finish;
    callbacks.on_close = [finish](Error) { finish(); };
    stream->start(std::move(callbacks));
    stream->write(SharedBytes("GET " + path + " HTTP/1.1\r\nhost: n1\r\nconnection: close\r\n\r\n"));
    {
      std::unique_lock lock(mutex);
      changed.wait_for(lock, std::chrono::seconds(5), [&] { return over; });
    }
    // Destroying it ends the callbacks before the locals go; wait for the loop to have seen it.
    stream.reset();
    std::mutex done_mutex;
    std::condition_variable done;
    bool seen = false;
    loop_.loop().post([&] {
      const std::lock_guard lock(done_mutex);
      seen = true;
      done.notify_all();
    });
    std::unique_lock lock(done_mutex);
    done.wait(lock, [&] { return seen; });
    return text;
  }

  run::LoopThread loop_{"server"}, agent_loop_{"agent"};
  std::unique_ptr<run::Executor> pool_ = run::make_pool("pool", 2);
  Hub hub_;
  std::unique_ptr<wire::Server> server_;
  std::unique_ptr<AgentTunnel> agent_;
};

TEST_F(TunnelTest, TheServerReachesTheNodeThroughTheNodesOwnConnection) {
  EXPECT_EQ(hub_.dial("n1").error().reason, "NodeNotConnected");
  start_agent();
  ASSERT_TRUE(eventually([&] { return hub_.connected("n1"); }));
  for (int i = 0; i < 20; ++i) {
    const auto answer = get("/pods/" + std::to_string(i));
    ASSERT_TRUE(answer);
    EXPECT_NE(answer->find("you asked for /pods/" + std::to_string(i)), std::string::npos) << *answer;
  }
}

TEST_F(TunnelTest, TheAgentComesBackAfterTheServerDid) {
  start_agent();
  ASSERT_TRUE(eventually([&] { return hub_.connected("n1"); }));
  const int port = server_->port();
  hub_.close();
  server_.reset();
  ASSERT_TRUE(eventually([&] { return !agent_->connected(); }));
  listen("127.0.0.1:" + std::to_string(port));
  ASSERT_TRUE(eventually([&] { return hub_.connected("n1"); }));
  EXPECT_TRUE(get("/healthz"));
}

TEST_F(TunnelTest, WhoDoesNotUpgradeIsTold) {
  auto http = wire::HttpClient::create(agent_loop_.loop(), "http://127.0.0.1:" + std::to_string(server_->port()));
  ASSERT_TRUE(http);
  wire::Request request;
  request.target = std::string(tunnel_path);
  const auto response = (*http)->call(std::move(request));
  ASSERT_TRUE(response) << response.error().message;
  EXPECT_EQ(response->status, 426);
}

}  // namespace
}  // namespace dure::tunnel
