#include "dns/server.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <thread>

#include "dns/answerer.h"

namespace dure::dns {
namespace {

const Ip local = *Ip::parse("127.0.0.1");

std::shared_ptr<const ServiceRecords> cluster_service(const char* ip) {
  ServiceRecords records;
  records.cluster_ips = {*Ip::parse(ip)};
  return std::make_shared<const ServiceRecords>(records);
}

bool readable(int fd, int milliseconds = 5000) {
  pollfd wait{fd, POLLIN, 0};
  return poll(&wait, 1, milliseconds) == 1;
}

std::optional<Reply> ask_udp(const os::Endpoint& server, std::string_view name, uint16_t type = type_a) {
  auto socket = os::UdpSocket::connect(server);
  std::string bytes = *write_query(7, name, type);
  os::Datagram datagram{{}, bytes};
  (*socket)->send({&datagram, 1});
  if (!readable((*socket)->fd())) return std::nullopt;
  auto received = (*socket)->receive();
  return received.empty() ? std::nullopt : read_reply(received[0].bytes);
}

std::vector<Reply> ask_tcp(const os::Endpoint& server, const std::vector<std::string>& names) {
  auto stream = os::TcpStream::connect(server);
  pollfd wait{(*stream)->fd(), POLLOUT, 0};
  poll(&wait, 1, 5000);
  std::string out, in;
  for (const std::string& name : names) {
    std::string bytes = *write_query(7, name, type_a);
    out += std::string{static_cast<char>(bytes.size() >> 8), static_cast<char>(bytes.size())} + bytes;
  }
  (*stream)->write(out);
  std::vector<Reply> replies;
  while (replies.size() < names.size() && readable((*stream)->fd()) && (*stream)->read(in)) {
    while (in.size() >= 2) {
      size_t size = static_cast<size_t>(static_cast<uint8_t>(in[0])) << 8 | static_cast<uint8_t>(in[1]);
      if (in.size() < size + 2) break;
      if (auto reply = read_reply(std::string_view(in).substr(2, size))) replies.push_back(*reply);
      in.erase(0, size + 2);
    }
  }
  return replies;
}

class ServerTest : public testing::Test {
 protected:
  void SetUp() override {
    // Upstream is a second server with a zone of its own.
    upstream_zone_.put("x", "www", cluster_service("192.0.2.1"));
    ServiceRecords many;
    many.headless = true;
    for (uint32_t i = 1; i < 200; ++i) many.endpoints.push_back({"h" + std::to_string(i), Ip::v4(0x0a090000 + i), {}});
    upstream_zone_.put("x", "many", std::make_shared<const ServiceRecords>(many));
    upstream_ = std::move(*Server::start(upstream_zone_, disk_, {.listen = {{local, 0}}, .upstream = {}}));
    zone_.put("default", "web", cluster_service("10.96.0.80"));
    ServiceRecords alias;
    alias.external_name = "www.x.svc.example.com";
    zone_.put("default", "alias", std::make_shared<const ServiceRecords>(alias));
    start({.listen = {{local, 0}}, .upstream = {upstream_->addresses()[0]}});
  }
  void start(ServerOptions options) {
    auto started = Server::start(zone_, disk_, std::move(options));
    ASSERT_TRUE(started) << started.error().message;
    server_ = std::move(*started);
  }
  os::Endpoint at() { return server_->addresses()[0]; }
  os::MemoryDisk disk_;
  Zone upstream_zone_{ZoneOptions{.domain = "example.com"}}, zone_{ZoneOptions{}};
  std::unique_ptr<Server> upstream_, server_;
};

TEST_F(ServerTest, AnswersTheClustersNamesOverUdpAndTcp) {
  auto reply = ask_udp(at(), "web.default.svc.cluster.local");
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->answers.at(0).ip.text(), "10.96.0.80");
  auto replies = ask_tcp(at(), {"web.default.svc.cluster.local", "nope.default.svc.cluster.local"});
  ASSERT_EQ(replies.size(), 2u);
  EXPECT_EQ(replies[0].answers.at(0).ip.text(), "10.96.0.80");
  EXPECT_EQ(replies[1].code, code_no_name);
}

TEST_F(ServerTest, ForwardsTheRest) {
  auto reply = ask_udp(at(), "www.x.svc.example.com");
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->id, 7);
  EXPECT_EQ(reply->answers.at(0).ip.text(), "192.0.2.1");
  auto replies = ask_tcp(at(), {"www.x.svc.example.com"});
  ASSERT_EQ(replies.size(), 1u);
  EXPECT_EQ(replies[0].answers.at(0).ip.text(), "192.0.2.1");
  EXPECT_EQ(ask_udp(at(), "nope.x.svc.example.com")->code, code_no_name);
  auto alias = ask_udp(at(), "alias.default.svc.cluster.local");
  ASSERT_TRUE(alias);
  ASSERT_EQ(alias->answers.size(), 2u);
  EXPECT_EQ(alias->answers[1].ip.text(), "192.0.2.1");
}

TEST_F(ServerTest, LongAnswersOfUpstreamComeOverTcp) {
  EXPECT_TRUE(ask_udp(at(), "many.x.svc.example.com")->truncated);
  auto replies = ask_tcp(at(), {"many.x.svc.example.com"});
  ASSERT_EQ(replies.size(), 1u);
  EXPECT_EQ(replies[0].answers.size(), 199u);
}

TEST_F(ServerTest, WhoTakesNoAnswersIsNotReadFrom) {
  ServiceRecords many;
  many.headless = true;
  for (uint32_t i = 1; i < 2000; ++i) many.endpoints.push_back({"h" + std::to_string(i), Ip::v4(0x0a090000 + i), {}});
  zone_.put("default", "many", std::make_shared<const ServiceRecords>(many));
  auto stream = std::move(*os::TcpStream::connect(at()));
  pollfd wait{stream->fd(), POLLOUT, 0};
  poll(&wait, 1, 5000);
  const std::string query = *write_query(7, "many.default.svc.cluster.local", type_a);
  const std::string framed_query = std::string{static_cast<char>(query.size() >> 8), static_cast<char>(query.size())} + query;
  constexpr size_t asked = 600;  // 32 KB of answer each
  std::string out, in;
  for (size_t i = 0; i < asked; ++i) out += framed_query;
  ASSERT_TRUE(stream->write(out));
  ASSERT_TRUE(out.empty());
  uint64_t seen = 0;
  do {
    seen = server_->counters().queries;
    std::this_thread::sleep_for(300ms);
  } while (server_->counters().queries != seen);
  EXPECT_GT(seen, 0u);
  EXPECT_LT(seen, asked) << "sockets hold some MB, the server no more than its bound";
  size_t answers = 0;
  while (answers < asked && readable(stream->fd()) && stream->read(in))
    for (size_t size; in.size() >= 2; ++answers) {
      size = static_cast<size_t>(static_cast<uint8_t>(in[0])) << 8 | static_cast<uint8_t>(in[1]);
      if (in.size() < size + 2) break;
      in.erase(0, size + 2);
    }
  EXPECT_EQ(answers, asked);
}

TEST_F(ServerTest, SaysThatNobodyAnswers) {
  auto silent = std::move(*os::UdpSocket::bind({local, 0}));
  start({.listen = {{local, 0}}, .upstream = {*silent->local()}, .upstream_timeout = 10ms});
  EXPECT_EQ(ask_udp(at(), "www.x.svc.example.com")->code, code_failure);
  start({.listen = {{local, 0}}, .resolv_conf = "/none"});
  EXPECT_EQ(ask_udp(at(), "www.x.svc.example.com")->code, code_failure);
}

TEST_F(ServerTest, AsksTheNextResolverWhenOneIsSilent) {
  auto silent = std::move(*os::UdpSocket::bind({local, 0}));
  start({.listen = {{local, 0}}, .upstream = {*silent->local(), upstream_->addresses()[0]}, .upstream_timeout = 10ms});
  auto reply = ask_udp(at(), "www.x.svc.example.com");
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->answers.at(0).ip.text(), "192.0.2.1");
}

TEST_F(ServerTest, AForgedReplyIsNotTaken) {
  // An upstream that answers another question first.
  auto forger = std::move(*os::UdpSocket::bind({local, 0}));
  start({.listen = {{local, 0}}, .upstream = {*forger->local()}});
  std::thread forging([&] {
    ASSERT_TRUE(readable(forger->fd()));
    auto received = forger->receive();
    Query asked, other;
    ASSERT_EQ(read_query(received[0].bytes, asked), Verdict::good);
    std::string wrong = *write_query(asked.id, "other.name", type_a);
    ASSERT_EQ(read_query(wrong, other), Verdict::good);
    for (auto& [query, ip] : {std::pair{&other, "6.6.6.6"}, std::pair{&asked, "192.0.2.9"}}) {
      std::string bytes = write_answer(*query, {.answers = {{.type = type_a, .ip = *Ip::parse(ip)}}}, 512);
      os::Datagram datagram{received[0].peer, bytes};
      forger->send({&datagram, 1});
    }
  });
  auto reply = ask_udp(at(), "www.x.svc.example.com");
  forging.join();
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->answers.at(0).ip.text(), "192.0.2.9");
}

// A client may say that it takes more over UDP than we do.
TEST_F(ServerTest, AnAnswerThatIsTooLongForOurSocketIsMarkedAsTruncated) {
  auto upstream = std::move(*os::UdpSocket::bind({local, 0}));
  start({.listen = {{local, 0}}, .upstream = {*upstream->local()}});
  std::thread answering([&] {
    ASSERT_TRUE(readable(upstream->fd()));
    auto received = upstream->receive();
    Query asked;
    ASSERT_EQ(read_query(received[0].bytes, asked), Verdict::good);
    Answer answer;
    for (uint32_t i = 0; i < 400; ++i) answer.answers.push_back({.type = type_a, .ip = Ip::v4(0xc0000200 + i)});
    std::string bytes = write_answer(asked, answer, 65535);
    ASSERT_GT(bytes.size(), os::UdpSocket::datagram_bytes_max);
    os::Datagram datagram{received[0].peer, bytes};
    upstream->send({&datagram, 1});
  });
  auto reply = ask_udp(at(), "www.x.svc.example.com");
  answering.join();
  ASSERT_TRUE(reply);
  EXPECT_TRUE(reply->truncated);
  EXPECT_EQ(reply->code, code_ok);
  EXPECT_TRUE(reply->answers.empty());
}

TEST_F(ServerTest, ATakenAddressIsAnError) {
  auto second = Server::start(zone_, disk_, {.listen = {at()}});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().reason, "AddressInUse");
}

}  // namespace
}  // namespace dure::dns
