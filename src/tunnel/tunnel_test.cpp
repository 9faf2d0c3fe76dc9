#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include "base/log.h"
#include "os/sockets.h"
#include "run/loop.h"
#include "tunnel/agent.h"
#include "tunnel/hub.h"

namespace dure::tunnel {
namespace {

// What agents are called back with; any thread.
struct Heard {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<NodeView> table;
  std::vector<std::pair<std::string, std::string>> packets;

  bool wait(const std::function<bool()>& condition, std::chrono::milliseconds limit = std::chrono::seconds(5)) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, limit, condition);
  }
  bool sees(std::string_view node, const std::function<bool(const NodeView&)>& condition) {
    return wait([&] {
      for (const NodeView& view : table)
        if (view.node == node && condition(view)) return true;
      return false;
    });
  }
};

// A server with a hub, and agents that answer every request with its path. The name of a node is what its client says
// in a header: who one is by certificate is the API's business (plane).
class TunnelTest : public testing::Test {
 protected:
  void SetUp() override { listen("127.0.0.1:0"); }

  void TearDown() override {
    agents_.clear();
    hub_->close();
    server_.reset();
  }

  void listen(const std::string& address) {
    auto server = wire::Server::listen(address, std::nullopt, {&loop_.loop(), &second_loop_.loop()},
                                       [this](std::shared_ptr<wire::Exchange> exchange) {
                                         const std::string named(exchange->request().headers.get("x-node"));
                                         hub_->accept(exchange, named.empty() ? next_node_ : named);
                                       });
    ASSERT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
  }

  // The hub takes it for `next_node_`.
  AgentTunnel& start_agent(const std::string& node = "n1", const std::string& calls_itself = {},
                           const std::function<void(AgentTunnelOptions&)>& adjust = {}) {
    next_node_ = node;
    AgentTunnelOptions options;
    options.node = calls_itself.empty() ? node : calls_itself;
    options.servers = {"http://127.0.0.1:" + std::to_string(server_->port())};
    if (adjust) adjust(options);
    Heard& heard = heard_[node];
    options.on_table = [&heard](std::vector<NodeView> table) {
      const std::lock_guard lock(heard.mutex);
      heard.table = std::move(table);
      heard.changed.notify_all();
    };
    options.on_change = [this](bool) { ++changes_; };
    options.on_packet = [&heard](std::string_view from, std::string bytes) {
      const std::lock_guard lock(heard.mutex);
      heard.packets.emplace_back(from, std::move(bytes));
      heard.changed.notify_all();
    };
    auto started =
        AgentTunnel::start(agent_loop_.loop(), std::move(options), [](std::shared_ptr<wire::Exchange> exchange) {
          wire::Response response;
          response.body = "you asked for " + exchange->request().target;
          exchange->respond(std::move(response));
        });
    EXPECT_TRUE(started);
    agents_[node] = std::move(*started);
    EXPECT_TRUE(eventually([&] { return hub_->connected(node); }));
    return *agents_[node];
  }

  bool eventually(const std::function<bool()>& condition) {
    for (int i = 0; i < 500; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }

  // One HTTP/1.1 request over a stream; the whole answer once the other side closed.
  Result<std::string> get_over(Result<std::unique_ptr<wire::Stream>> opened, const std::string& path) {
    DURE_TRY(auto stream, std::move(opened));
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
    stream.reset();  // no callback after this
    return text;
  }
  Result<std::string> get(const std::string& path, const std::string& node = "n1") {
    return get_over(hub_->dial(node), path);
  }

  run::LoopThread loop_{"server"}, second_loop_{"server2"}, agent_loop_{"agent"};
  std::unique_ptr<Hub> hub_ = std::make_unique<Hub>(std::vector<std::string>{"192.0.2.1:6443"});
  std::unique_ptr<wire::Server> server_;
  std::string next_node_;
  std::map<std::string, Heard> heard_;
  std::atomic<int> changes_ = 0;
  std::map<std::string, std::unique_ptr<AgentTunnel>> agents_;
};

TEST_F(TunnelTest, TheServerReachesTheNodeThroughTheNodesOwnConnection) {
  EXPECT_EQ(hub_->dial("n1").error().reason, "NodeNotConnected");
  start_agent();
  for (int i = 0; i < 20; ++i) {
    const auto answer = get("/pods/" + std::to_string(i));
    ASSERT_TRUE(answer);
    EXPECT_NE(answer->find("you asked for /pods/" + std::to_string(i)), std::string::npos) << *answer;
  }
}

TEST_F(TunnelTest, TheAgentComesBackAfterTheServerDid) {
  AgentTunnel& agent = start_agent();
  agent.publish({.wireguard_key = "k", .wireguard_port = 51820});
  ASSERT_TRUE(heard_["n1"].sees("n1", [](const NodeView& view) { return view.report.wireguard_port == 51820; }));
  const int port = server_->port();
  hub_->close();
  server_.reset();
  hub_ = std::make_unique<Hub>();
  ASSERT_TRUE(eventually([&] { return !agent.connected(); }));
  EXPECT_EQ(agent.open_stream().error().reason, "TunnelDown");
  EXPECT_EQ(agent.send_packet("n1", "x").error().reason, "TunnelDown");
  listen("127.0.0.1:" + std::to_string(port));
  ASSERT_TRUE(eventually([&] { return hub_->connected("n1"); }));
  EXPECT_TRUE(get("/healthz"));
  // The new server hears the report again.
  start_agent("n2");
  EXPECT_TRUE(heard_["n2"].sees("n1", [](const NodeView& view) { return view.report.wireguard_port == 51820; }));
}

TEST_F(TunnelTest, AWayThatHangsDoesNotHoldUpTheOthers) {
  const auto silent = os::TcpListener::bind({Ip::v4(0x7f000001), 0});  // takes connections and never says a word
  ASSERT_TRUE(silent);
  start_agent("n1", {}, [&](AgentTunnelOptions& options) {
    options.servers.push_back("http://127.0.0.1:" + std::to_string((*silent)->local()->port));
  });
  const std::string address = "127.0.0.1:" + std::to_string(server_->port());
  hub_->close();
  server_.reset();
  hub_ = std::make_unique<Hub>();
  std::this_thread::sleep_for(std::chrono::milliseconds(700));
  listen(address);
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_TRUE(eventually([&] { return hub_->connected("n1"); }));
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::milliseconds(1000));
}

TEST_F(TunnelTest, NodesHearWhereTheOthersAre) {
  AgentTunnel& one = start_agent("n1");
  AgentTunnel& two = start_agent("n2");
  NodeReport report{.wireguard_key = "key-of-n1", .wireguard_port = 51820};
  report.candidates = {{Candidate::Kind::lan, *Ip::parse("10.0.0.5"), 51820}};
  one.publish(report);
  ASSERT_TRUE(heard_["n2"].sees("n1", [&](const NodeView& view) {
    return view.connected && view.report == report && view.observed_tcp == *Ip::parse("127.0.0.1") && !view.via_proxy;
  }));
  report.candidates[0].ip = *Ip::parse("10.0.0.6");
  one.publish(report);
  ASSERT_TRUE(heard_["n2"].sees("n1", [&](const NodeView& view) { return view.report == report; }));
  EXPECT_TRUE(two.connected());
  agents_.erase("n1");
  ASSERT_TRUE(heard_["n2"].sees("n1", [&](const NodeView& view) { return !view.connected && view.report == report; }));
}

TEST_F(TunnelTest, PacketsGoFromNodeToNode) {
  AgentTunnel& one = start_agent("n1");
  AgentTunnel& two = start_agent("n2");
  ASSERT_TRUE(heard_["n1"].sees("n2", [](const NodeView& view) { return view.connected; }));
  EXPECT_EQ(one.send_packet("n3", "x").error().reason, "UnknownNode");
  EXPECT_EQ(one.send_packet("n2", std::string(MuxCore::frame_bytes_max + 1, 'x')).error().reason, "BadRequest");
  // As many as fit the queue even if nobody reads: none is lost.
  for (int i = 0; i < 200; ++i)
    ASSERT_TRUE(one.send_packet("n2", "packet " + std::to_string(i) + std::string(1000, '.')));
  Heard& at_two = heard_["n2"];
  ASSERT_TRUE(at_two.wait([&] { return at_two.packets.size() == 200; })) << at_two.packets.size();
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(at_two.packets[i].first, "n1");
    EXPECT_EQ(at_two.packets[i].second, "packet " + std::to_string(i) + std::string(1000, '.'));
  }
  ASSERT_TRUE(heard_["n2"].sees("n1", [](const NodeView& view) { return view.connected; }));
  ASSERT_TRUE(two.send_packet("n1", "back"));
  Heard& at_one = heard_["n1"];
  EXPECT_TRUE(at_one.wait([&] { return at_one.packets.size() == 1 && at_one.packets[0].first == "n2"; }));
}

TEST_F(TunnelTest, AReportInAnotherNodesNameEndsTheTunnelAndIsLogged) {
  std::mutex mutex;
  std::string logged;
  set_log_sink([&](LogLevel, std::string_view line) {
    const std::lock_guard lock(mutex);
    logged += std::string(line) + "\n";
  });
  start_agent("n1");
  AgentTunnel& liar = start_agent("n2", "n1");
  liar.publish({.wireguard_key = "forged", .wireguard_port = 1});
  EXPECT_TRUE(eventually([&] {
    const std::lock_guard lock(mutex);
    return logged.find("NotYourName") != std::string::npos && logged.find("n2") != std::string::npos;
  }));
  set_log_sink(nullptr);
  const std::lock_guard lock(heard_["n1"].mutex);
  for (const NodeView& view : heard_["n1"].table) EXPECT_NE(view.report.wireguard_key, "forged");
}

// The far end of a stream is not told that the node has another address now.
TEST_F(TunnelTest, AStreamOutlivesItsConnection) {
  AgentTunnel& agent = start_agent();
  auto stream = hub_->dial("n1");
  ASSERT_TRUE(stream);
  std::mutex mutex;
  std::string text;
  std::atomic<bool> closed = false;
  (*stream)->start({.on_data =
                        [&](std::string_view bytes) {
                          const std::lock_guard lock(mutex);
                          text += bytes;
                        },
                    .on_end = {},
                    .on_close = [&](Error) { closed = true; },
                    .on_drained = {}});
  const auto heard = [&](const std::string& what) {
    return eventually([&] {
      const std::lock_guard lock(mutex);
      return text.find(what) != std::string::npos;
    });
  };
  (*stream)->write(SharedBytes("GET /before HTTP/1.1\r\nhost: n1\r\n\r\n"));
  EXPECT_TRUE(heard("you asked for /before"));
  for (int i = 0; i < 5; ++i) {
    const int before = changes_;
    agent.network_changed({});  // the address that it sends from is gone
    (*stream)->write(SharedBytes("GET /after" + std::to_string(i) + " HTTP/1.1\r\nhost: n1\r\n\r\n"));
    EXPECT_TRUE(heard("you asked for /after" + std::to_string(i)));
    EXPECT_TRUE(eventually([&] { return changes_ >= before + 2 && agent.connected(); }));
  }
  EXPECT_FALSE(closed);
  EXPECT_TRUE(hub_->connected("n1"));
  ASSERT_TRUE(get_over(hub_->dial("n1"), "/new"));
}

// A server that starts anew knows no sessions: streams of the old one end, and the node is back.
TEST_F(TunnelTest, ANewServerBeginsANewSession) {
  AgentTunnel& agent = start_agent();
  auto stream = agent.open_stream();
  ASSERT_TRUE(stream);
  std::atomic<bool> closed = false;
  (*stream)->start({.on_data = {}, .on_end = {}, .on_close = [&](Error) { closed = true; }, .on_drained = {}});
  const std::string address = "127.0.0.1:" + std::to_string(server_->port());
  hub_->close();
  server_.reset();
  hub_ = std::make_unique<Hub>();
  listen(address);
  EXPECT_TRUE(eventually([&] { return closed.load(); }));
  EXPECT_TRUE(eventually([&] { return hub_->connected("n1") && agent.connected(); }));
  stream->reset();
}

TEST_F(TunnelTest, NoCallbackRunsOnceTheTunnelIsDestroyed) {
  std::atomic<bool> inside = false;
  std::atomic<int> tables = 0;
  start_agent("n1", {}, [&](AgentTunnelOptions& options) {
    options.on_servers = [&](const std::vector<std::string>&) {
      inside = true;
      ++tables;
      std::this_thread::sleep_for(std::chrono::milliseconds(300));
      inside = false;
    };
  });
  ASSERT_TRUE(eventually([&] { return inside || tables > 0; }));
  agents_.clear();
  EXPECT_FALSE(inside);
}

TEST_F(TunnelTest, WithoutAnApiTheStreamsOfNodesAreRefused) {
  AgentTunnel& agent = start_agent();
  ASSERT_TRUE(eventually([&] { return agent.connected(); }));
  const auto answer = get_over(agent.open_stream(), "/version");
  ASSERT_TRUE(answer);
  EXPECT_EQ(*answer, "");
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
