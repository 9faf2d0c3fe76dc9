// A name with several addresses: which of them is taken, and what is told when none is right.
#include "wire/connector.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <future>

#include "wire/test_server.h"

namespace dure::wire {
namespace {

// Takes connections and never says a word.
class Silent {
 public:
  ~Silent() { ::close(fd_); }
  int port() const { return *local_port(fd_); }

 private:
  const int fd_ = *listen_socket("127.0.0.1:0");
};

int closed_port() { return Silent().port(); }

class ConnectorTest : public testing::Test {
 protected:
  // To a host that has these addresses.
  Result<Connected> connect_to(std::vector<int> ports, Duration timeout = 10s) {
    ConnectSpec spec{.address = "server.test:6443",
                     .tls = *make_client_context({.ca_pem = server_.authority.ca_pem()}),
                     .server_name = "localhost",
                     .timeout = timeout};
    for (const int port : ports)
      spec.addresses.push_back(resolve({"127.0.0.1", port}, true)->front());
    std::promise<Result<Connected>> promise;
    auto answer = promise.get_future();
    const Monotonic begun = loop_.loop().now();
    const auto handle =
        connect(loop_.loop(), std::move(spec), [&](Result<Connected> result) { promise.set_value(std::move(result)); });
    auto out = answer.get();
    took_ = loop_.loop().now() - begun;
    return out;
  }

  TestServer server_{[](std::shared_ptr<Exchange> exchange) { exchange->respond({}); }};
  // It answers a greeting that is no HTTP once it has waited for the rest of the request.
  TestServer plain_{[](std::shared_ptr<Exchange> exchange) { exchange->respond({}); }, {.header_timeout = 200ms}, false};
  Silent silent_;
  run::LoopThread loop_{"connector"};
  Duration took_{};
};

TEST_F(ConnectorTest, ASilentAddressCostsTheNextAHeadStart) {
  const auto connected = connect_to({silent_.port(), server_.server->port()});
  ASSERT_TRUE(connected) << connected.error().message;
  EXPECT_GE(took_, 250ms);
  EXPECT_LT(took_, 2500ms);
}

TEST_F(ConnectorTest, ARefusalIsTheNextOnesTurn) {
  const auto connected = connect_to({closed_port(), closed_port(), closed_port(), server_.server->port()}, 600ms);
  ASSERT_TRUE(connected) << connected.error().message;
}

TEST_F(ConnectorTest, AnAnswerThatIsNotTlsDoesNotEndIt) {
  EXPECT_TRUE(connect_to({plain_.server->port(), server_.server->port()}));
}

TEST_F(ConnectorTest, WhoAnsweredSaysMoreThanThoseWhoDidNot) {
  const auto connected = connect_to({closed_port(), plain_.server->port(), closed_port()});
  ASSERT_FALSE(connected);
  EXPECT_EQ(connected.error().reason, "TlsFailed") << connected.error().message;
}

TEST_F(ConnectorTest, WhenNobodyAnswersEachSaysWhy) {
  const int one = closed_port(), two = closed_port();
  const auto connected = connect_to({one, two});
  ASSERT_FALSE(connected);
  EXPECT_EQ(connected.error().reason, "ConnectionFailed");
  for (const int port : {one, two})
    EXPECT_NE(connected.error().message.find("127.0.0.1:" + std::to_string(port)), std::string::npos)
        << connected.error().message;
}

TEST_F(ConnectorTest, WhatHangsIsGivenUpWithWhatTheOthersSaid) {
  const auto connected = connect_to({silent_.port(), closed_port()}, 700ms);
  ASSERT_FALSE(connected);
  EXPECT_NE(connected.error().message.find("took too long"), std::string::npos);
  EXPECT_NE(connected.error().message.find("Connection refused"), std::string::npos) << connected.error().message;
}

}  // namespace
}  // namespace dure::wire
