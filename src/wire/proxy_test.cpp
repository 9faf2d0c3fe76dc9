#include "wire/proxy.h"

#include <gtest/gtest.h>

#include <mutex>
#include <thread>

#include "wire/socket.h"
#include "wire/test_server.h"

#include <sys/socket.h>
#include <unistd.h>

namespace dure::wire {
namespace {

TEST(Proxy, IsReadAsPeopleWriteIt) {
  EXPECT_EQ(parse_proxy("http://proxy.corp:3128")->address, "proxy.corp:3128");
  EXPECT_EQ(parse_proxy("proxy.corp:3128")->address, "proxy.corp:3128");
  EXPECT_EQ(parse_proxy("http://proxy.corp")->address, "proxy.corp:80");
  EXPECT_EQ(parse_proxy("http://proxy.corp:3128/")->address, "proxy.corp:3128");
  EXPECT_EQ(parse_proxy("http://[2001:db8::1]:3128")->address, "[2001:db8::1]:3128");
  EXPECT_EQ(parse_proxy("HTTP://10.0.0.1:8080")->address, "10.0.0.1:8080");
  EXPECT_EQ(parse_proxy("http://10.0.0.1:8080")->authorization, "");
  // RFC 7617's example, percent-encoded where an URL needs it.
  EXPECT_EQ(parse_proxy("http://Aladdin:open%20sesame@p:1")->authorization, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
  EXPECT_EQ(parse_proxy("http://a:b%40c@p:1")->address, "p:1");
}

TEST(Proxy, WhatCannotBeUsedIsToldWithoutTheSecret) {
  for (const char* url : {"https://u:secret@p:1", "socks5://u:secret@p:1", "http://u:secret@", "http://u:secret@:80",
                          "http://u:secret@a b:80"}) {
    const auto parsed = parse_proxy(url);
    ASSERT_FALSE(parsed) << url;
    EXPECT_EQ(parsed.error().reason, "BadProxy");
    EXPECT_EQ(parsed.error().message.find("secret"), std::string::npos);
  }
  EXPECT_EQ(proxy_without_secret("http://u:p@x@h:1"), "http://h:1");
}

TEST(Proxy, NoProxyTakesHostsOut) {
  const char* list = "corp, .example.org,10.0.0.0/8,192.0.2.7,host:6443,[2001:db8::1]:6443,*.lab";
  for (const char* host : {"corp", "a.corp", "CORP", "example.org", "b.example.org", "10.2.3.4", "192.0.2.7", "host",
                           "2001:db8::1", "x.lab", "localhost", "127.0.0.1", "::1"})
    EXPECT_TRUE(bypasses_proxy(list, host, 6443)) << host;
  for (const char* host : {"xcorp", "example.org.evil", "11.0.0.1", "192.0.2.70", "otherhost", "2001:db8::2"})
    EXPECT_FALSE(bypasses_proxy(list, host, 6443)) << host;
  EXPECT_FALSE(bypasses_proxy(list, "host", 443));
  EXPECT_FALSE(bypasses_proxy("", "corp", 1));
  EXPECT_TRUE(bypasses_proxy("*", "corp", 1));
}

TEST(Proxy, AnswersAreUnderstood) {
  const Proxy proxy{"p:1", ""};
  EXPECT_TRUE(check_connect_answer("HTTP/1.1 200 Connection established\r\n\r\n", proxy));
  EXPECT_TRUE(check_connect_answer("HTTP/1.0 200\r\n\r\n", proxy));
  EXPECT_NE(check_connect_answer("HTTP/1.1 407 x\r\n\r\n", proxy).error().message.find("user and password"),
            std::string::npos);
  EXPECT_FALSE(check_connect_answer("HTTP/1.1 403 Forbidden\r\n\r\n", proxy));
  EXPECT_FALSE(check_connect_answer("garbage\r\n\r\n", proxy));
  EXPECT_FALSE(check_connect_answer("HTTP/1.1 2000 x\r\n\r\n", proxy));
}

// A proxy of one connection at a time: reads the CONNECT, answers, then copies both ways to the target it was asked
// for. Blocking, on a thread of its own.
class OneProxy {
 public:
  explicit OneProxy(std::string answer) : answer_(std::move(answer)) {
    listener_ = *listen_socket("127.0.0.1:0");
    port_ = *local_port(listener_);
    thread_ = std::thread([this] { serve(); });
  }
  ~OneProxy() {
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    close(listener_);
  }
  std::string url() const { return "http://user:pass@127.0.0.1:" + std::to_string(port_); }
  std::string asked() {
    const std::lock_guard lock(mutex_);
    return asked_;
  }

 private:
  static void wait_for(int fd) {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    select(fd + 1, &set, nullptr, nullptr, nullptr);
  }
  void serve() {
    wait_for(listener_);
    const int client = accept(listener_, nullptr, nullptr);
    if (client < 0) return;
    std::string head;
    char buffer[4096];
    while (head.find("\r\n\r\n") == std::string::npos) {
      const ssize_t got = recv(client, buffer, sizeof buffer, 0);
      if (got <= 0) break;
      head.append(buffer, static_cast<size_t>(got));
    }
    {
      const std::lock_guard lock(mutex_);
      asked_ = head;
    }
    // In two pieces: a reader must wait for the empty line.
    send(client, answer_.data(), 5, MSG_NOSIGNAL);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    send(client, answer_.data() + 5, answer_.size() - 5, MSG_NOSIGNAL);
    if (answer_.find(" 200") != std::string::npos) copy(client, head.substr(8, head.find(" HTTP") - 8));
    close(client);
  }
  void copy(int client, const std::string& target) {
    const auto address = resolve(*parse_host_port(target), true);
    const int server = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(server, reinterpret_cast<const sockaddr*>(&(*address)[0].storage), (*address)[0].size) == 0) {
      std::thread back([&] { pump(server, client); });
      pump(client, server);
      back.join();
    }
    close(server);
  }
  static void pump(int from, int to) {
    char buffer[4096];
    ssize_t got;
    while ((got = recv(from, buffer, sizeof buffer, 0)) > 0) send(to, buffer, static_cast<size_t>(got), MSG_NOSIGNAL);
    shutdown(to, SHUT_WR);
  }

  const std::string answer_;
  int listener_ = -1, port_ = 0;
  std::mutex mutex_;
  std::string asked_;
  std::thread thread_;
};

TEST(Proxy, AClientGoesThroughItAndSpeaksTlsToTheServerBehind) {
  TestServer server([](std::shared_ptr<Exchange> exchange) {
    Response response;
    response.body = "hello";
    exchange->respond(std::move(response));
  });
  OneProxy proxy("HTTP/1.1 200 Connection established\r\nvia: test\r\n\r\n");
  TlsClientConfig tls;
  tls.ca_pem = server.authority.ca_pem();
  auto client =
      HttpClient::create(server.client_thread.loop(), "https://" + server.address(), tls, *parse_proxy(proxy.url()));
  ASSERT_TRUE(client);
  const auto response = (*client)->call({.target = "/"});
  ASSERT_TRUE(response) << response.error().message;
  EXPECT_EQ(response->body, "hello");
  EXPECT_EQ(proxy.asked(), "CONNECT " + server.address() + " HTTP/1.1\r\nhost: " + server.address() +
                               "\r\nproxy-authorization: Basic dXNlcjpwYXNz\r\n\r\n");
}

TEST(Proxy, ARefusalIsTheCallersError) {
  OneProxy proxy("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
  run::LoopThread loop("client");
  TlsClientConfig tls;
  tls.insecure = true;
  auto client = HttpClient::create(loop.loop(), "https://192.0.2.1:6443", tls, *parse_proxy(proxy.url()));
  ASSERT_TRUE(client);
  const auto response = (*client)->call({.target = "/"});
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().reason, "ProxyRefused");
  EXPECT_NE(response.error().message.find("user and password"), std::string::npos);
}

}  // namespace
}  // namespace dure::wire
