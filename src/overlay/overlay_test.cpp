#include "overlay/overlay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "overlay/node_fixture.h"
#include "pki/x25519.h"

namespace dure::overlay {
namespace {

using kernel::ask;
using kernel::output_in;
using kernel::ProbeServer;
using kernel::run_in;

class OverlayTest : public testing::TestWithParam<Backend> {
 protected:
  void SetUp() override {
    DURE_NEEDS_NAMESPACES();
    lan_.emplace();
    for (int i = 1; i <= 3; ++i) add_node(i);
    if (GetParam() != Backend::wireguard) return;
    auto opened = kernel::open_wg(*nodes_[0]->links, device(), {}, &nodes_[0]->ns);
    if (!opened && opened.error().is("WireguardMissing")) GTEST_SKIP() << opened.error().message;
    must((*opened)->remove(device()));
  }
  void add_node(int i) {
    OverlayOptions options;
    options.backend = GetParam();
    options.local_addresses = {*Ip::parse("10.96.0.10")};
    std::string letter(1, static_cast<char>('a' + i - 1));
    // All nodes of the test share /var/run/wireguard.
    options.wireguard = "ov" + std::to_string(getpid() % 10'000'000) + letter;
    auto key = pki::X25519Key::generate();
    ASSERT_TRUE(key);
    options.wireguard_key = {key->secret()};
    options.wireguard_public_key = {key->public_key()};
    options.wireguard_port = static_cast<uint16_t>(51820 + i);
    nodes_.push_back(std::make_unique<TestNode>(*lan_, letter, "192.168.0." + std::to_string(i),
                                                "10.244." + std::to_string(i) + ".0/24", options));
  }
  bool wireguard() const { return GetParam() == Backend::wireguard; }
  std::string device(size_t i = 0) { return wireguard() ? nodes_[i]->options.wireguard : "flannel.1"; }
  // Pods start with what the node says of its network.
  int mtu() const { return wireguard() ? 1420 : 1450; }
  std::vector<schema::Object> objects(size_t count) {
    std::vector<schema::Object> out;
    for (size_t i = 0; i < count; ++i) out.push_back(nodes_[i]->object());
    return out;
  }
  // Twice: the first sync makes the annotations, the second sees everybody's.
  void sync_all(size_t count) {
    for (int round = 0; round < 2; ++round)
      for (size_t i = 0; i < count; ++i) nodes_[i]->sync(objects(count));
  }
  std::optional<Lan> lan_;
  std::vector<std::unique_ptr<TestNode>> nodes_;
};

INSTANTIATE_TEST_SUITE_P(Backends, OverlayTest, testing::Values(Backend::vxlan, Backend::wireguard),
                         [](const auto& info) { return info.param == Backend::vxlan ? "vxlan" : "wireguard"; });

TEST_P(OverlayTest, PodsOnDifferentNodesTalkWithTheirOwnAddresses) {
  sync_all(2);
  auto one = nodes_[0]->add_pod("one"), two = nodes_[1]->add_pod("two");
  EXPECT_EQ(one->ip, "10.244.1.2");
  EXPECT_EQ(two->ip, "10.244.2.2");
  ProbeServer server(two->ns, "two", 8080), outside(lan_->ns, "lan", 9090), on_node(nodes_[1]->ns, "node", 9091);
  EXPECT_EQ(ask(one->ns, two->ip, 8080), "two 10.244.1.2");
  EXPECT_EQ(kernel::ask_udp(one->ns, two->ip, 8080), "two 10.244.1.2");
  EXPECT_EQ(ask(nodes_[0]->ns, two->ip, 8080), wireguard() ? "two 10.245.0.2" : "two 10.244.1.0")
      << "the node speaks with the device's address";
  EXPECT_EQ(ask(one->ns, "192.168.0.254", 9090), "lan 192.168.0.1") << "outside the cluster: masqueraded";
  EXPECT_EQ(ask(one->ns, "192.168.0.2", 9091), "node 192.168.0.1");
  EXPECT_EQ(must(nodes_[0]->links->get(device())).mtu, mtu());
  EXPECT_EQ(run_in(one->ns, "ping -c1 -W2 -M do -s " + std::to_string(mtu() - 28) + " 10.244.2.2"), 0)
      << "a full packet passes";
  if (!wireguard()) {
    EXPECT_EQ(nodes_[0]->annotations[std::string(public_ip_annotation)], "192.168.0.1");
  }
}

TEST_P(OverlayTest, NothingChangesWhenNothingChanged) {
  sync_all(2);
  EXPECT_EQ(nodes_[0]->sync(objects(2)), 0u);
  int index = must(nodes_[0]->links->get(device())).index;
  nodes_[0]->restart();
  EXPECT_EQ(nodes_[0]->sync(objects(2)), 0u);
  EXPECT_EQ(must(nodes_[0]->links->get(device())).index, index);
}

TEST_P(OverlayTest, PeersComeAndGoOneByOne) {
  sync_all(2);
  nodes_[2]->sync(objects(3));
  EXPECT_EQ(nodes_[0]->sync(objects(3)), 3u) << "route, neighbour and forwarding entry; or two routes and a key";
  EXPECT_EQ(nodes_[0]->sync(objects(2)), 3u);
  std::string routes = output_in(nodes_[0]->ns, "ip route show dev " + device());
  EXPECT_EQ(routes, wireguard() ? "10.244.2.0/24 proto 208 scope link src 10.245.0.2 \n"
                                  "10.245.0.3 proto 208 scope link src 10.245.0.2 \n"
                                : "10.244.2.0/24 via 10.244.2.0 proto 208 onlink \n");
}

TEST_P(OverlayTest, AForeignHandIsRepaired) {
  sync_all(2);
  run_in(nodes_[0]->ns, "ip route del 10.244.2.0/24; nft flush chain ip dure overlay-post; ip neigh flush dev " +
                            device() + " nud permanent; wg set " + device() + " listen-port 5 peer " +
                            nodes_[1]->options.wireguard_public_key.text() + " remove");
  EXPECT_GE(nodes_[0]->sync(objects(2)), 1u);
  auto one = nodes_[0]->add_pod("one"), two = nodes_[1]->add_pod("two");
  ProbeServer server(two->ns, "two", 8080), outside(lan_->ns, "lan", 9090);
  EXPECT_EQ(ask(one->ns, two->ip, 8080), "two 10.244.1.2");
  EXPECT_EQ(ask(one->ns, "192.168.0.254", 9090), "lan 192.168.0.1");
  run_in(nodes_[0]->ns, "ip link del " + device());
  EXPECT_EQ(nodes_[0]->sync(objects(2)), 3u);
  EXPECT_EQ(ask(one->ns, two->ip, 8080), "two 10.244.1.2");
}

TEST_P(OverlayTest, ANodeThatChangesItsAddressKeepsItsPods) {
  sync_all(2);
  auto one = nodes_[0]->add_pod("one"), two = nodes_[1]->add_pod("two");
  ProbeServer server(two->ns, "two", 8080);
  run_in(nodes_[0]->ns,
         "ip addr add 192.168.0.77/24 dev eth0; ip addr del 192.168.0.1/24 dev eth0; ip addr add 192.168.0.77/24 dev "
         "eth0; ip route replace default via 192.168.0.254");
  nodes_[0]->ip = "192.168.0.77";
  sync_all(2);
  EXPECT_EQ(wireguard() ? nodes_[0]->annotations[std::string(wireguard_endpoint_annotation)]
                        : nodes_[0]->annotations[std::string(public_ip_annotation)],
            wireguard() ? "192.168.0.77:51821" : "192.168.0.77");
  EXPECT_EQ(ask(one->ns, two->ip, 8080), "two 10.244.1.2");
}

TEST_P(OverlayTest, TheClustersLocalAddressAnswersPodsWithoutAnyRule) {
  sync_all(1);
  auto one = nodes_[0]->add_pod("one");
  ProbeServer dns(nodes_[0]->ns, "dns", 53, "10.96.0.10");
  EXPECT_EQ(kernel::ask_udp(one->ns, "10.96.0.10", 53), "dns 10.244.1.2");
  EXPECT_EQ(kernel::ask_udp(nodes_[0]->ns, "10.96.0.10", 53), "dns 10.96.0.10");
}

TEST_P(OverlayTest, RemoveAllLeavesNothing) {
  std::string before = output_in(nodes_[0]->ns, "ip addr show dev lo; ip route; ip -o link | wc -l");
  nodes_[0]->sync({nodes_[0]->object()});
  EXPECT_TRUE(nodes_[0]->disk->exists("/etc/cni/net.d/10-dure.conflist"));
  must(nodes_[0]->overlay->remove_all());
  must(nodes_[0]->overlay->remove_all());
  EXPECT_EQ(output_in(nodes_[0]->ns, "ip addr show dev lo; ip route; ip -o link | wc -l"), before);
  EXPECT_TRUE(must(nodes_[0]->nft->chains()).empty());
  EXPECT_FALSE(nodes_[0]->disk->exists("/etc/cni/net.d/10-dure.conflist"));
}

TEST_P(OverlayTest, WaitsForThePodCidr) {
  auto synced = must(nodes_[0]->overlay->sync({node_object("a", "", "192.168.0.1")}));
  EXPECT_FALSE(synced.ready);
  EXPECT_FALSE(nodes_[0]->disk->exists("/etc/cni/net.d/10-dure.conflist"));
}

class WireguardTest : public OverlayTest {};
INSTANTIATE_TEST_SUITE_P(Backends, WireguardTest, testing::Values(Backend::wireguard),
                         [](const auto&) { return "wireguard"; });

TEST_P(WireguardTest, NodesHaveAddressesOfTheirOwnThatPodsReachUnmasked) {
  sync_all(2);
  EXPECT_EQ(nodes_[0]->node_ip->text(), "10.245.0.2");
  auto one = nodes_[0]->add_pod("one"), two = nodes_[1]->add_pod("two");
  ProbeServer on_node(nodes_[1]->ns, "node", 9091), pod(two->ns, "two", 8080);
  EXPECT_EQ(ask(one->ns, "10.245.0.3", 9091), "node 10.244.1.2") << "pod to another node";
  EXPECT_EQ(ask(nodes_[0]->ns, "10.245.0.3", 9091), "node 10.245.0.2") << "node to node";
  EXPECT_EQ(ask(two->ns, "10.245.0.3", 9091), "node 10.244.2.2") << "pod to its own node";
  // A process of the node that was already given the LAN's address (as one that asked for a Service is).
  EXPECT_EQ(output_in(nodes_[0]->ns, "bash -c 'exec 3<>/dev/tcp/10.244.2.2/8080; cat <&3'"), "two 10.245.0.2");
  EXPECT_EQ(run_in(nodes_[0]->ns, "ping -c1 -W2 -I 192.168.0.1 10.244.2.2"), 0)
      << "what leaves with a foreign source is masqueraded: the peer would not take it";
}

// One TCP connection between two namespaces, over which bytes come back.
class EchoConnection {
 public:
  EchoConnection(const NetNamespace& client, const NetNamespace& server, const std::string& ip) {
    sockaddr_in at = kernel::socket_address(ip, 7000);
    int listener = -1;
    must(server.run([&] {
      listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      if (bind(listener, reinterpret_cast<sockaddr*>(&at), sizeof at) || listen(listener, 1)) ADD_FAILURE() << errno;
    }));
    must(client.run([&] {
      client_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      if (connect(client_, reinterpret_cast<sockaddr*>(&at), sizeof at)) ADD_FAILURE() << "connect: " << errno;
    }));
    server_ = accept(listener, nullptr, nullptr);
    close(listener);
    timeval limit{5, 0};
    for (int fd : {client_, server_}) setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  }
  ~EchoConnection() { close(client_), close(server_); }

  bool answers() { return passes(client_, server_) && passes(server_, client_); }

 private:
  static bool passes(int from, int to) {
    char byte = 0;
    return send(from, "x", 1, MSG_NOSIGNAL) == 1 && recv(to, &byte, 1, 0) == 1 && byte == 'x';
  }
  int client_ = -1, server_ = -1;
};

TEST_P(WireguardTest, EstablishedConnectionsOutliveARestartAndAnAddressChange) {
  sync_all(2);
  auto one = nodes_[0]->add_pod("one"), two = nodes_[1]->add_pod("two");
  EchoConnection connection(one->ns, two->ns, two->ip);
  auto echo = [&] { return connection.answers(); };
  EXPECT_TRUE(echo());
  nodes_[0]->restart();
  nodes_[0]->sync(objects(2));
  EXPECT_TRUE(echo()) << "after a restart";
  run_in(nodes_[0]->ns,
         "ip addr add 192.168.0.77/24 dev eth0; ip addr del 192.168.0.1/24 dev eth0; "
         "ip addr add 192.168.0.77/24 dev eth0; ip route replace default via 192.168.0.254");
  nodes_[0]->sync(objects(2));
  EXPECT_TRUE(echo()) << "after the address changed, before anybody else heard of it";
  EXPECT_EQ(nodes_[0]->node_ip->text(), "10.245.0.2");
}

TEST_P(WireguardTest, AWayThatIsToldIsTakenAtOnceAndItsMtuHolds) {
  class Ways final : public Endpoints {
   public:
    std::optional<Path> path_to(std::string_view node) override {
      return node == "b" ? std::optional(way) : std::nullopt;
    }
    Path way{{*Ip::parse("192.168.0.99"), 9}};  // nobody is there
  } ways;
  nodes_[0]->endpoints = &ways;
  nodes_[0]->restart();
  // The other side stays silent for now: its call would tell where it is.
  run_in(nodes_[1]->ns,
         "nft add table ip hush; nft add chain ip hush o '{ type filter hook output priority 0; }'; "
         "nft add rule ip hush o udp dport 51821 drop");
  sync_all(2);
  auto one = nodes_[0]->add_pod("one"), two = nodes_[1]->add_pod("two");
  ProbeServer server(two->ns, "two", 8080);
  EXPECT_NE(run_in(one->ns, "ping -c1 -W1 10.244.2.2"), 0) << "the wrong way";
  run_in(nodes_[1]->ns, "nft delete table ip hush");
  must(nodes_[0]->overlay->move_endpoint("b", {{*Ip::parse("192.168.0.2"), 51822}, 1300}));
  must(nodes_[0]->overlay->move_endpoint("nobody", {{*Ip::parse("192.168.0.2"), 51822}, 1300}));
  EXPECT_EQ(run_in(one->ns, "ping -c1 -W2 10.244.2.2"), 0) << "without waiting for the next handshake";
  EXPECT_NE(run_in(one->ns, "ping -c1 -W2 -M do -s 1380 10.244.2.2"), 0) << "larger than the path's MTU";
  EXPECT_EQ(run_in(one->ns, "ping -c1 -W2 -M do -s 1272 10.244.2.2"), 0);
  ways.way = {{*Ip::parse("192.168.0.2"), 51822}, 1300};
  EXPECT_EQ(nodes_[0]->sync(objects(2)), 0u) << "the next sync asks and hears the same";
}

TEST_P(WireguardTest, APeerThatClaimsAnothersKeyIsLeftOutAndNamed) {
  sync_all(2);
  nodes_[2]->annotations = nodes_[1]->annotations;
  EXPECT_EQ(nodes_[0]->sync(objects(3)), 0u);
  ASSERT_EQ(nodes_[0]->refused.size(), 1u);
  EXPECT_EQ(nodes_[0]->refused[0].node, "c");
  auto one = nodes_[0]->add_pod("one"), two = nodes_[1]->add_pod("two");
  ProbeServer server(two->ns, "two", 8080);
  EXPECT_EQ(ask(one->ns, two->ip, 8080), "two 10.244.1.2");
}

TEST_P(WireguardTest, AMachineWithoutAWayOutStillServesItsOwnPods) {
  run_in(nodes_[0]->ns, "ip route del default");
  sync_all(1);
  auto one = nodes_[0]->add_pod("one"), two = nodes_[0]->add_pod("two");
  ProbeServer server(two->ns, "two", 8080);
  EXPECT_EQ(ask(one->ns, two->ip, 8080), "two 10.244.1.2");
  EXPECT_FALSE(nodes_[0]->annotations.contains(std::string(wireguard_endpoint_annotation)));
}

TEST_P(WireguardTest, ANarrowUnderlayNarrowsThePods) {
  run_in(nodes_[0]->ns, "ip link set eth0 mtu 1400");
  sync_all(1);
  EXPECT_EQ(must(nodes_[0]->links->get(device())).mtu, 1320);
  EXPECT_EQ(must(nodes_[0]->links->get("cni0")).mtu, 1320);
}

}  // namespace
}  // namespace dure::overlay
