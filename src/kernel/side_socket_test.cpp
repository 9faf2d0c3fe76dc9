#include "kernel/side_socket.h"

#include "kernel/links.h"
#include "kernel/port_owner.h"
#include "kernel/probe_fixture.h"

namespace dure::kernel {
namespace {

constexpr std::array<uint8_t, 4> magic = {0xd5, 0x52, 0x45, 0x01};
const std::string greeting = std::string("\xd5\x52\x45\x01", 4) + "hello";

os::Endpoint endpoint(std::string_view ip, uint16_t port) { return {*Ip::parse(ip), port}; }

// Two namespaces with a cable; in b the port has an owner of its own.
class SideSockets : public ::testing::Test {
 protected:
  void SetUp() override {
    DURE_NEEDS_NAMESPACES();
    a = std::make_unique<NetNamespace>(must(NetNamespace::create()));
    b = std::make_unique<NetNamespace>(must(NetNamespace::create()));
    auto links_a = must(open_links(a.get())), links_b = must(open_links(b.get()));
    must(links_a->create_veth({.name = "eth0", .peer_name = "eth0", .peer_namespace = b.get()}));
    for (auto [links, text] : {std::pair(links_a.get(), "10.0.0.1/24"), {links_b.get(), "10.0.0.2/24"}}) {
      const int index = must(links->get("eth0")).index;
      must(links->change(index, {.up = true}));
      must(links->put_address({index, *IpPrefix::parse(text)}));
    }
    // A cable drops what is sent before the kernel, on a thread of its own, has found both its ends up.
    for (const auto& links : {links_a.get(), links_b.get()})
      for (int i = 0; i < 500 && !must(links->get("eth0")).running; ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    side_a = must(SideSocket::open(5000, magic, a.get()));
    side_b = must(SideSocket::open(6000, magic, b.get()));
    owner = std::make_unique<ProbeServer>(*b, "owner", 6000);
  }
  std::span<const SideSocket::Received> wait_for(SideSocket& side) {
    pollfd readable{side.fd(), POLLIN, 0};
    poll(&readable, 1, 1000);
    return side.receive();
  }
  std::unique_ptr<NetNamespace> a, b;
  std::unique_ptr<SideSocket> side_a, side_b;
  std::unique_ptr<ProbeServer> owner;
};

TEST_F(SideSockets, SendsFromThePortOfAnotherAndHearsOnlyItsOwn) {
  EXPECT_EQ(side_a->send_whole(endpoint("10.0.0.2", 6000), "not ours"), SideSocket::Outcome::taken);
  EXPECT_EQ(side_a->send_whole(endpoint("10.0.0.2", 6001), greeting), SideSocket::Outcome::taken);
  EXPECT_EQ(side_a->send_whole(endpoint("10.0.0.2", 6000), greeting), SideSocket::Outcome::taken);
  const auto got = wait_for(*side_b);
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].from, endpoint("10.0.0.1", 5000));
  EXPECT_EQ(std::string_view(got[0].bytes.data(), got[0].bytes.size()), greeting);
  EXPECT_EQ(ask_udp(*a, "10.0.0.2", 6000), "owner 10.0.0.1");  // the owner is still served
}

// The kernel of the receiver checks the sum: a wrong one never reaches a socket.
TEST_F(SideSockets, ChecksumsAreRightWhateverTheLength) {
  const std::string text = "\xff\x01\xfe\x80odd and even lengths of all kinds";
  for (size_t head = 0; head < 9; ++head) {
    const std::string body = text.substr(0, head * 3 + head % 2);
    const std::string front = greeting.substr(0, 4) + text.substr(0, head);
    const std::vector<SideSocket::Sent> datagrams(3, {endpoint("10.0.0.2", 6000), front, body});
    side_a->send(datagrams);
    size_t got = 0;
    while (got < 3) {
      const auto batch = wait_for(*side_b);
      if (batch.empty()) break;
      for (const auto& one : batch) EXPECT_EQ(std::string_view(one.bytes.data(), one.bytes.size()), front + body);
      got += batch.size();
    }
    EXPECT_EQ(got, 3u);
  }
  EXPECT_NE(output_in(*b, "nstat -az UdpInCsumErrors").find("0 "), std::string::npos);
}

TEST_F(SideSockets, WholePacketsAreRefusedWhenTheyDoNotFitAndNobodyIsThereForSome) {
  EXPECT_EQ(side_a->send_whole(endpoint("10.0.0.2", 6000), greeting + std::string(1463, 'x')),
            SideSocket::Outcome::taken);
  EXPECT_EQ(wait_for(*side_b).size(), 1u);
  EXPECT_EQ(side_a->send_whole(endpoint("10.0.0.2", 6000), greeting + std::string(1464, 'x')),
            SideSocket::Outcome::too_large);
  EXPECT_EQ(side_a->send_whole(endpoint("192.0.2.1", 6000), greeting), SideSocket::Outcome::unreachable);
  const std::string large(1600, 'x');
  const SideSocket::Sent cut[] = {{endpoint("10.0.0.2", 6000), greeting, large}};
  side_a->send(cut);
  EXPECT_EQ(wait_for(*side_b).size(), 1u);  // in fragments
}

// What an owner that has opened its port anew hears is found out by asking it.
TEST_F(SideSockets, TheOwnerIsSparedWhatIsNotForIt) {
  const auto hears = [&](const std::string& text) {
    std::string answer;
    must(a->run([&] {
      const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
      const sockaddr_in to = socket_address("10.0.0.2", 6000);
      sendto(fd, text.data(), text.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof to);
      pollfd readable{fd, POLLIN, 0};
      char buffer[64];
      if (poll(&readable, 1, 300) == 1) answer.assign(buffer, static_cast<size_t>(recv(fd, buffer, sizeof buffer, 0)));
      close(fd);
    }));
    return answer == "owner 10.0.0.1";
  };
  EXPECT_TRUE(hears(greeting));
  PortOwner port(6000, magic, b.get());
  ASSERT_TRUE(port.spare());
  EXPECT_FALSE(hears(greeting));
  EXPECT_TRUE(hears("x")) << "shorter than the four bytes";
  EXPECT_TRUE(hears("\xd5\x52\x45\x02 is another's"));
  EXPECT_EQ(wait_for(*side_b).size(), 2u) << "who listens beside it hears both";
  ASSERT_TRUE(port.spare()) << "again";
  owner.reset();
  EXPECT_TRUE(port.spare().error().is("NotFound"));
  owner = std::make_unique<ProbeServer>(*b, "owner", 6000);
  EXPECT_TRUE(hears(greeting)) << "a new socket has no filter";
  ASSERT_TRUE(port.spare());
  EXPECT_FALSE(hears(greeting));
}

}  // namespace
}  // namespace dure::kernel
