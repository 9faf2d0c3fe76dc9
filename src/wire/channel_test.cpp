// WebSocket, SPDY and the bridge between them, each over socket pairs or a real server.
#include <gtest/gtest.h>

#include "base/text.h"
#include "wire/remote_command.h"
#include "wire/spdy.h"
#include "wire/spdy_frames.h"
#include "wire/test_server.h"
#include "wire/test_streams.h"
#include "wire/websocket_frames.h"

namespace dure::wire {
namespace {

TEST(WebSocketFrames, AcceptKeyIsTheStandardsExample) {
  EXPECT_EQ(websocket_accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

struct Recorder : WebSocketSink {
  std::vector<std::string> seen;
  void on_message(bool is_text, std::string_view message) override {
    seen.push_back((is_text ? "text:" : "binary:") + std::string(message));
  }
  void on_ping(std::string_view payload) override {
    seen.push_back("ping:" + std::string(payload));
  }
  void on_pong(std::string_view payload) override {
    seen.push_back("pong:" + std::string(payload));
  }
  void on_close(int code, std::string_view reason) override {
    seen.push_back("close:" + std::to_string(code) + std::string(reason));
  }
};

TEST(WebSocketFrames, ReadsFragmentsWithControlFramesBetween) {
  const std::string mask = "\x01\x02\x03\x04";
  std::string bytes = websocket_frame(WebSocketOp::text, "Hel", mask);
  bytes[0] = 0x01;  // not the last fragment
  bytes += websocket_frame(WebSocketOp::ping, "p", mask);
  bytes += websocket_frame(WebSocketOp::continuation, "lo", mask);
  bytes += websocket_frame(WebSocketOp::binary, std::string(70000, 'x'), mask);
  bytes += websocket_frame(WebSocketOp::close, websocket_close_payload(1000, "bye"), mask);
  for (const size_t step : {size_t(1), size_t(7), bytes.size()}) {
    WebSocketReader reader(true, 1 << 20);
    Recorder recorder;
    for (size_t at = 0; at < bytes.size(); at += step)
      ASSERT_TRUE(reader.feed(std::string_view(bytes).substr(at, step), recorder));
    ASSERT_EQ(recorder.seen.size(), 4u);
    EXPECT_EQ(recorder.seen[0], "ping:p");
    EXPECT_EQ(recorder.seen[1], "text:Hello");
    EXPECT_EQ(recorder.seen[2].size(), 70007u);
    EXPECT_EQ(recorder.seen[3], "close:1000bye");
  }
}

int reader_error(std::string_view bytes, bool server = false) {
  WebSocketReader reader(server, 100);
  Recorder recorder;
  const auto fed = reader.feed(bytes, recorder);
  return fed ? 0 : fed.error().code;
}

TEST(WebSocketFrames, RefusesWhatTheStandardForbids) {
  EXPECT_EQ(reader_error("\x81\x01x"), 0);
  EXPECT_EQ(reader_error("\x81\x01x", true), 1002);  // not masked
  EXPECT_EQ(reader_error(std::string("\x81\x81"
                                     "1234x")),
            1002);                                                 // masked by a server
  EXPECT_EQ(reader_error("\xc1\x01x"), 1002);                      // reserved bit
  EXPECT_EQ(reader_error("\x83\x01x"), 1002);                      // unknown opcode
  EXPECT_EQ(reader_error("\x80\x01x"), 1002);                      // continuation of nothing
  EXPECT_EQ(reader_error(std::string_view("\x09\x00", 2)), 1002);  // fragmented ping
  EXPECT_EQ(reader_error(std::string_view("\x82\x7e\x00\x05", 4)),
            1002);  // length in a longer form than needed
  EXPECT_EQ(reader_error(std::string_view("\x82\x65", 2)), 1009);  // 101 bytes of 100
  EXPECT_EQ(reader_error("\x81\x01\xff"), 1007);
  EXPECT_EQ(reader_error("\x88\x01x"), 1002);
}

TEST(WebSocket, TalksThroughARealServer) {
  std::unique_ptr<WebSocket> server_side;
  std::string chosen;
  TestServer server([&](std::shared_ptr<Exchange> exchange) {
    auto accepted = accept_websocket(*exchange, {"v5.channel.k8s.io", "v4.channel.k8s.io"});
    if (!accepted)
      return exchange->respond(
          Response{.status = accepted.error().code, .body = accepted.error().message});
    chosen = accepted->protocol;
    server_side = std::move(accepted->socket);
    server_side->start(
        {.on_message = [&](bool is_text,
                           std::string_view message) { server_side->send(is_text, message); },
         .on_close = [](int, std::string_view) {},
         .on_drained = {}});
  });
  auto client = server.client();
  const auto refused = connect_websocket(*client, {.target = "/exec"}, {"v9.channel.k8s.io"});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, 403);
  auto connected =
      connect_websocket(*client, {.target = "/exec"}, {"v4.channel.k8s.io", "v5.channel.k8s.io"});
  ASSERT_TRUE(connected) << connected.error().message;
  EXPECT_EQ(connected->protocol, "v5.channel.k8s.io");
  Log log;
  run_on(server.client_thread.loop(), [&] {
    connected->socket->start(
        {.on_message =
             [&](bool, std::string_view message) {
               log.add(message.size() < 100 ? std::string(message) : "big");
             },
         .on_close = [&](int code, std::string_view) { log.add("closed " + std::to_string(code)); },
         .on_drained = {}});
    connected->socket->send(true, "hello");
    connected->socket->send(false, std::string(300'000, 'x'));
    connected->socket->ping("are you there");
  });
  EXPECT_TRUE(log.wait_for("hello"));
  EXPECT_TRUE(log.wait_for("big"));
  run_on(server.client_thread.loop(), [&] { connected->socket->close(1000, "done"); });
  EXPECT_TRUE(log.wait_for("closed 1000"));
  run_on(server.client_thread.loop(), [&] { connected->socket.reset(); });
  run_on(server.server_thread.loop(), [&] { server_side.reset(); });
}

TEST(SpdyFrames, HeaderBlocksKeepTheirCompressionState) {
  struct Sink : SpdySink {
    std::vector<std::string> seen;
    static std::string text(const Headers& headers) {
      std::string out;
      for (const auto& [name, value] : headers.items) out += name + "=" + value + ";";
      return out;
    }
    void on_syn_stream(uint32_t id, bool fin, Headers headers) override {
      seen.push_back("syn " + std::to_string(id) + " " + text(headers) + (fin ? "fin" : ""));
    }
    void on_syn_reply(uint32_t id, bool, Headers headers) override {
      seen.push_back("reply " + std::to_string(id) + " " + text(headers));
    }
    void on_headers(uint32_t id, bool, Headers headers) override {
      seen.push_back("headers " + std::to_string(id) + " " + text(headers));
    }
    void on_data(uint32_t id, std::string_view bytes) override { data[id] += bytes; }
    void on_fin(uint32_t id) override { seen.push_back("fin " + std::to_string(id)); }
    void on_reset(uint32_t id, uint32_t status) override {
      seen.push_back("reset " + std::to_string(id) + " " + std::to_string(status));
    }
    void on_ping(uint32_t id) override { seen.push_back("ping " + std::to_string(id)); }
    void on_goaway(uint32_t id) override { seen.push_back("goaway " + std::to_string(id)); }
    std::map<uint32_t, std::string> data;
  };
  SpdyWriter writer;
  Headers headers;
  headers.add("streamType", "error");
  headers.add("x", "1");
  headers.add("x", "2");
  std::string bytes = writer.syn_stream(1, headers) + writer.syn_stream(3, headers, true) +
                      writer.syn_reply(1, {}) + writer.data_head(1, 5, false) + "hello" +
                      writer.data_head(1, 0, true) + writer.rst_stream(3, SpdyStatus::cancel) +
                      writer.ping(7) + writer.goaway(3);
  for (const size_t step : {size_t(1), size_t(5), bytes.size()}) {
    SpdyReader reader;
    Sink sink;
    for (size_t at = 0; at < bytes.size(); at += step)
      ASSERT_TRUE(reader.feed(std::string_view(bytes).substr(at, step), sink));
    EXPECT_EQ(sink.seen, (std::vector<std::string>{"syn 1 streamtype=error;x=1;x=2;",
                                                   "syn 3 streamtype=error;x=1;x=2;fin", "reply 1 ",
                                                   "fin 1", "reset 3 5", "ping 7", "goaway 3"}));
    EXPECT_EQ(sink.data[1], "hello");
  }
}

TEST(Spdy, StreamsBothWaysWithHalfCloseAndReset) {
  run::LoopThread one("client"), two("server");
  auto [a, b] = stream_pair(one.loop(), two.loop());
  Log log, server_log;
  std::vector<std::unique_ptr<SpdyStream>> accepted;
  std::unique_ptr<Spdy> server, client;
  std::unique_ptr<SpdyStream> first, second;
  run_on(two.loop(), [&] {
    server =
        Spdy::create(std::move(b), Spdy::Role::server,
                     {.on_stream =
                          [&](std::unique_ptr<SpdyStream> stream) {
                            SpdyStream* raw = stream.get();
                            accepted.push_back(std::move(stream));
                            server_log.add(std::string(raw->headers().get("streamtype")));
                            raw->start({.on_data =
                                            [raw](std::string_view bytes) {
                                              raw->write(SharedBytes("echo:" + std::string(bytes)));
                                            },
                                        .on_end = [raw] { raw->finish_writing(); },
                                        .on_close = [&](Error why) { server_log.add(why.reason); },
                                        .on_drained = {}});
                          },
                      .on_close = [&](Error) { server_log.add("<connection over>"); }});
  });
  run_on(one.loop(), [&] {
    client = Spdy::create(std::move(a), Spdy::Role::client, {});
    Headers headers;
    headers.add("streamtype", "stdin");
    first = client->open(headers);
    first->start({.on_data = [&](std::string_view bytes) { log.add(std::string(bytes)); },
                  .on_end = [&] { log.add("<end>"); },
                  .on_close = [&](Error) { log.add("<close>"); },
                  .on_drained = {}});
    first->write(SharedBytes(std::string("hello")));
  });
  EXPECT_TRUE(server_log.wait_for("stdin"));
  EXPECT_TRUE(log.wait_for("echo:hello"));
  run_on(one.loop(), [&] { first->finish_writing(); });
  EXPECT_TRUE(log.wait_for("<close>"));
  EXPECT_EQ(log.joined(), "echo:hello<end><close>");
  run_on(one.loop(), [&] {
    second = client->open({});
    second->start({});
    second->reset();
  });
  EXPECT_TRUE(server_log.wait_for("StreamReset"));
  run_on(one.loop(), [&] {
    first.reset();
    second.reset();
    client.reset();
  });
  EXPECT_TRUE(server_log.wait_for("<connection over>"));
  run_on(two.loop(), [&] {
    accepted.clear();
    server.reset();
  });
}

// A runtime's streaming server as containerd's is: takes the streams, echoes stdin to stdout, and
// ends with a status.
struct FakeRuntime {
  explicit FakeRuntime(run::Loop& loop, std::unique_ptr<Stream> stream, bool waits_for_stdin)
      : loop(loop) {
    run_on(loop, [&] {
      spdy = Spdy::create(std::move(stream), Spdy::Role::server,
                          {.on_stream =
                               [this, waits_for_stdin](std::unique_ptr<SpdyStream> stream) {
                                 const std::string type(stream->headers().get("streamtype"));
                                 SpdyStream* raw = stream.get();
                                 streams[type] = std::move(stream);
                                 order += type + " ";
                                 raw->start({.on_data =
                                                 [this, type](std::string_view bytes) {
                                                   if (type == "resize")
                                                     return log.add("resize " + std::string(bytes));
                                                   streams["stdout"]->write(
                                                       SharedBytes("out:" + std::string(bytes)));
                                                 },
                                             .on_end =
                                                 [this, type] {
                                                   if (type == "stdin")
                                                     end_with(R"({"status":"Success"})");
                                                 },
                                             .on_close = [](Error) {},
                                             .on_drained = {}});
                                 if (!waits_for_stdin && type == "stdout")
                                   raw->write(SharedBytes(std::string("ready")));
                               },
                           .on_close = [this](Error) { log.add("<over>"); }});
    });
  }
  ~FakeRuntime() {
    run_on(loop, [&] {
      streams.clear();
      spdy.reset();
    });
  }
  void end_with(std::string status) {
    streams["error"]->write(SharedBytes(std::move(status)));
    for (auto& [type, stream] : streams) stream->finish_writing();
  }
  run::Loop& loop;
  std::unique_ptr<Spdy> spdy;
  std::map<std::string, std::unique_ptr<SpdyStream>> streams;
  std::string order;
  Log log;
};

struct BridgeRig {
  explicit BridgeRig(RemoteCommand command, bool waits_for_stdin = true) {
    auto [client_end, server_end] = stream_pair(client_thread.loop(), bridge_thread.loop());
    auto [bridge_end, runtime_end] = stream_pair(tunnel_thread.loop(), runtime_thread.loop());
    runtime = std::make_unique<FakeRuntime>(runtime_thread.loop(), std::move(runtime_end),
                                            waits_for_stdin);
    auto socket = WebSocket::create(std::move(server_end), WebSocket::Role::server);
    bridge_websocket_to_spdy(std::move(socket), std::move(bridge_end), std::move(command),
                             [this] { done.add("done"); });
    run_on(client_thread.loop(), [&, stream = std::move(client_end)]() mutable {
      client = WebSocket::create(std::move(stream), WebSocket::Role::client);
      client->start(
          {.on_message =
               [this](bool, std::string_view message) {
                 log.add(std::to_string(int(message[0])) + ":" + std::string(message.substr(1)));
               },
           .on_close = [this](
                           int code,
                           std::string_view) { log.add("<closed " + std::to_string(code) + ">"); },
           .on_drained = {}});
    });
  }
  ~BridgeRig() {
    run_on(client_thread.loop(), [&] { client.reset(); });
    EXPECT_TRUE(done.wait_for("done"));
  }
  void send(std::string message) {
    run_on(client_thread.loop(), [&] { client->send(false, message); });
  }
  run::LoopThread client_thread{"client"}, bridge_thread{"bridge"}, tunnel_thread{"tunnel"},
      runtime_thread{"runtime"};
  std::unique_ptr<FakeRuntime> runtime;
  std::unique_ptr<WebSocket> client;
  Log log, done;
};

TEST(RemoteCommand, CarriesStdinStdoutAndTheStatus) {
  BridgeRig rig({.stdin_wanted = true,
                 .stdout_wanted = true,
                 .stderr_wanted = true,
                 .protocol = "v5.channel.k8s.io"});
  EXPECT_TRUE(rig.log.wait_for("1:"));  // the empty first message
  rig.send(std::string(1, '\0') + "hello");
  EXPECT_TRUE(rig.log.wait_for("1:out:hello"));
  rig.send(std::string{char(255), 0});  // stdin is done
  EXPECT_TRUE(rig.log.wait_for(R"(3:{"status":"Success"})"));
  EXPECT_TRUE(rig.log.wait_for("<closed 1000>"));
  EXPECT_EQ(rig.runtime->order, "error stdin stdout stderr ");
}

TEST(RemoteCommand, ATerminalResizesAndHasNoStderr) {
  BridgeRig rig({.stdin_wanted = true,
                 .stdout_wanted = true,
                 .stderr_wanted = true,
                 .tty = true,
                 .protocol = "v5.channel.k8s.io"});
  rig.send(std::string(1, '\4') + R"({"Width":80,"Height":24})");
  EXPECT_TRUE(rig.runtime->log.wait_for(R"(resize {"Width":80,"Height":24})"));
  EXPECT_EQ(rig.runtime->order, "error stdin stdout resize ");
}

TEST(RemoteCommand, ARuntimeThatVanishesIsAFailure) {
  BridgeRig rig({.stdout_wanted = true, .protocol = "v5.channel.k8s.io"}, false);
  EXPECT_TRUE(rig.log.wait_for("1:ready"));
  run_on(rig.runtime->loop, [&] {
    rig.runtime->streams.clear();
    rig.runtime->spdy.reset();
  });
  EXPECT_TRUE(rig.log.wait_for("<closed 1000>"));
}

TEST(RemoteCommand, AClientThatLeavesEndsTheCommand) {
  BridgeRig rig({.stdin_wanted = true, .stdout_wanted = true, .protocol = "v5.channel.k8s.io"});
  EXPECT_TRUE(rig.log.wait_for("1:"));
  run_on(rig.client_thread.loop(), [&] { rig.client.reset(); });
  EXPECT_TRUE(rig.runtime->log.wait_for("<over>"));
}

TEST(WebSocketStream, CarriesSpdyThroughATunnel) {
  run::LoopThread one("client"), two("server");
  auto [a, b] = stream_pair(one.loop(), two.loop());
  Log log;
  std::unique_ptr<Spdy> client, server;
  std::unique_ptr<SpdyStream> stream, accepted;
  run_on(two.loop(), [&] {
    auto tunnel = websocket_as_stream(WebSocket::create(std::move(b), WebSocket::Role::server));
    server =
        Spdy::create(std::move(tunnel), Spdy::Role::server,
                     {.on_stream =
                          [&](std::unique_ptr<SpdyStream> s) {
                            accepted = std::move(s);
                            accepted->start({.on_data =
                                                 [&](std::string_view bytes) {
                                                   accepted->write(SharedBytes(std::string(bytes)));
                                                 },
                                             .on_end = {},
                                             .on_close = {},
                                             .on_drained = {}});
                          },
                      .on_close = {}});
  });
  run_on(one.loop(), [&] {
    client =
        Spdy::create(websocket_as_stream(WebSocket::create(std::move(a), WebSocket::Role::client)),
                     Spdy::Role::client, {});
    stream = client->open({});
    stream->start({.on_data = [&](std::string_view bytes) { log.add(std::string(bytes)); },
                   .on_end = {},
                   .on_close = {},
                   .on_drained = {}});
    stream->write(SharedBytes(std::string(200'000, 'x')));
  });
  EXPECT_TRUE(log.wait_for_joined(std::string(200'000, 'x')));
  run_on(one.loop(), [&] {
    stream.reset();
    client.reset();
  });
  run_on(two.loop(), [&] {
    accepted.reset();
    server.reset();
  });
}

}  // namespace
}  // namespace dure::wire
