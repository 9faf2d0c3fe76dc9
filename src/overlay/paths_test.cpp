// Paths between namespaces: real raw sockets, real loopback ports, a tunnel that is a function call.
#include "overlay/paths.h"

#include <future>
#include <mutex>
#include <thread>

#include "base/metric.h"
#include "kernel/links.h"
#include "kernel/probe_fixture.h"
#include "kernel/side_socket.h"
#include "overlay/probe_packet.h"
#include "schema/json.h"

namespace dure::overlay {
namespace {

using kernel::must;
using kernel::NetNamespace;
using kernel::run_in;
using std::chrono::steady_clock;

constexpr uint16_t port = 51820;

std::string key_of(char name) { return std::string(32, name); }

// Both sides get the same.
std::string secret_of(std::string_view a, std::string_view b) {
  return a < b ? std::string(a) + std::string(b) : std::string(b) + std::string(a);
}

// The program that has the port open: WireGuard's part, without WireGuard.
class Owner {
 public:
  explicit Owner(const NetNamespace& ns) {
    must(ns.run([&] { socket_ = must(os::UdpSocket::bind({Ip::v4(0), port})); }));
  }
  void send(const os::Endpoint& to, std::string_view text) {
    const os::Datagram datagram{to, text};
    socket_->send({&datagram, 1});
  }
  // The next datagram that WireGuard would not drop; empty after a second.
  std::string hear(os::Endpoint* from = nullptr) {
    const auto end = steady_clock::now() + 1s;
    while (steady_clock::now() < end) {
      if (waiting_.empty()) {
        pollfd readable{socket_->fd(), POLLIN, 0};
        poll(&readable, 1, 100);
        for (const os::Datagram& one : socket_->receive())
          if (!is_probe(one.bytes)) waiting_.emplace_back(one.peer, std::string(one.bytes));
        continue;
      }
      auto [peer, text] = waiting_.front();
      waiting_.erase(waiting_.begin());
      if (from) *from = peer;
      return text;
    }
    return {};
  }

 private:
  std::unique_ptr<os::UdpSocket> socket_;
  std::vector<std::pair<os::Endpoint, std::string>> waiting_;
};

struct TestNode {
  char name = 'a';
  std::string ip;
  std::unique_ptr<NetNamespace> ns;
  std::unique_ptr<kernel::Links> links;
  std::unique_ptr<Owner> owner;
  std::mutex mutex;
  Ladder::Report report;
  std::unique_ptr<Paths> paths;
};

class PathsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    DURE_NEEDS_NAMESPACES();
    lan_ = std::make_unique<NetNamespace>(must(NetNamespace::create()));
    auto links = must(kernel::open_links(lan_.get()));
    must(links->create_bridge({.name = "lan", .mac = Mac::parse("02:00:00:00:ff:01")}));
    must(links->change(must(links->get("lan")).index, {.up = true}));
    for (int i = 0; i < 3; ++i) {
      auto& node = *nodes_.emplace_back(std::make_unique<TestNode>());
      node.name = static_cast<char>('a' + i);
      node.ip = "10.0.0." + std::to_string(i + 1);
      node.ns = std::make_unique<NetNamespace>(must(NetNamespace::create()));
      node.links = must(kernel::open_links(node.ns.get()));
      must(links->create_veth(
          {.name = std::string("to-") + node.name, .peer_name = "eth0", .peer_namespace = node.ns.get()}));
      must(links->change(must(links->get(std::string("to-") + node.name)).index,
                         {.up = true, .master = must(links->get("lan")).index}));
      must(node.links->change(must(node.links->get("lo")).index, {.up = true}));
      const int eth0 = must(node.links->get("eth0")).index;
      must(node.links->change(eth0, {.up = true}));
      must(node.links->put_address({eth0, *IpPrefix::parse(node.ip + "/24")}));
      node.owner = std::make_unique<Owner>(*node.ns);
    }
    for (auto& node : nodes_) start(*node);
    tell();
  }
  void TearDown() override {
    tunnel_up_ = false;
    for (auto& node : nodes_) node->paths.reset();
  }

  void start(TestNode& node) {
    Paths::World world;
    world.agree = [&node](std::string_view key) -> Result<std::string> { return secret_of(key_of(node.name), key); };
    world.send_tunnel = [this, &node](std::string_view to, std::string_view bytes) {
      if (tunnel_up_)
        nodes_[static_cast<size_t>(to[0] - 'a')]->paths->tunnel_packet(std::string(1, node.name), std::string(bytes));
    };
    world.publish = [&node](const Ladder::Report& report) {
      std::lock_guard lock(node.mutex);
      node.report = report;
    };
    world.moved = [](const std::string&) {};
    node.paths = must(Paths::start(
        {.node = std::string(1, node.name), .public_key = key_of(node.name), .port = port, .ns = node.ns.get()},
        std::move(world)));
    OwnFacts own;
    own.addresses = {*IpPrefix::parse(node.ip + "/24")};
    own.connected = true;
    node.paths->set_own(own);
  }

  // The rendezvous.
  void tell() {
    std::vector<Paths::Row> table;
    for (auto& node : nodes_) {
      std::lock_guard lock(node->mutex);
      Paths::Row row{.public_key = key_of(node->name)};
      row.facts.node = std::string(1, node->name);
      row.facts.connected = true;
      row.facts.lan = {{*Ip::parse(node->ip), port}};
      row.facts.observed = node->report.observed;
      for (const std::string& one : node->report.direct) row.facts.direct.push_back(node_id_of(key_of(one[0])));
      table.push_back(std::move(row));
    }
    for (auto& node : nodes_) node->paths->set_table(table);
  }

  std::vector<PathReport> report_of(TestNode& node) {
    std::promise<std::vector<PathReport>> promise;
    node.paths->report([&](std::vector<PathReport> paths) { promise.set_value(std::move(paths)); });
    return promise.get_future().get();
  }
  Rung rung(size_t from, size_t to) {
    for (const PathReport& path : report_of(*nodes_[from]))
      if (path.node[0] == nodes_[to]->name) return path.rung;
    return Rung::none;
  }
  bool reaches(size_t from, size_t to, Rung wanted, Duration limit) {
    const auto end = steady_clock::now() + limit;
    while (rung(from, to) != wanted || rung(to, from) != wanted) {
      if (steady_clock::now() > end) return false;
      std::this_thread::sleep_for(50ms);
      tell();
    }
    return true;
  }
  // What one WireGuard sends to the other arrives, and comes from where the answer goes.
  void exchange(size_t from, size_t to, const std::string& text) {
    Owner &here = *nodes_[from]->owner, &there = *nodes_[to]->owner;
    here.send(nodes_[from]->paths->path_to(std::string(1, nodes_[to]->name)).value_or(Path{}).endpoint, text);
    os::Endpoint source;
    ASSERT_EQ(there.hear(&source), text);
    there.send(source, "re: " + text);
    EXPECT_EQ(here.hear(), "re: " + text);
  }
  void part(size_t one, size_t other) {
    for (const auto& [here, there] : {std::pair(one, other), {other, one}})
      run_in(*nodes_[here]->ns, "ip route add blackhole " + nodes_[there]->ip + "/32");
    for (const size_t i : {one, other}) nodes_[i]->paths->network_changed();
  }

  std::unique_ptr<NetNamespace> lan_;
  std::vector<std::unique_ptr<TestNode>> nodes_;
  std::atomic<bool> tunnel_up_ = true;
};

TEST_F(PathsTest, NodesOfOneLanMeetThere) {
  ASSERT_TRUE(reaches(0, 1, Rung::lan, 3s));
  EXPECT_EQ(nodes_[0]->paths->path_to("b")->endpoint, (os::Endpoint{*Ip::parse("10.0.0.2"), port}));
  exchange(0, 1, "straight");
  std::this_thread::sleep_for(1500ms);
  const auto path = report_of(*nodes_[0]).at(0);
  EXPECT_EQ(path.mtu, 1500);
  EXPECT_GT(path.latency, Duration::zero());
  EXPECT_EQ(nodes_[0]->paths->path_to("b")->mtu, 1440);
}

TEST_F(PathsTest, ARelayThenTheTunnelThenTheLanAgain) {
  ASSERT_TRUE(reaches(0, 1, Rung::lan, 3s));
  ASSERT_TRUE(reaches(0, 2, Rung::lan, 3s));
  part(0, 1);
  ASSERT_TRUE(reaches(0, 1, Rung::relay_udp, 5s));
  exchange(0, 1, "by c");
  exchange(1, 0, std::string(1400, 'x'));
  part(0, 2);
  ASSERT_TRUE(reaches(0, 1, Rung::relay_tls, 5s));
  exchange(0, 1, "by the server");
  for (auto& node : nodes_) run_in(*node->ns, "ip route flush type blackhole");
  for (auto& node : nodes_) node->paths->network_changed();
  ASSERT_TRUE(reaches(0, 1, Rung::lan, 5s));
  exchange(0, 1, "straight again");
}

TEST_F(PathsTest, ForgedAndRepeatedPacketsGetNoAnswer) {
  ASSERT_TRUE(reaches(0, 1, Rung::lan, 3s));
  NetNamespace stranger = must(NetNamespace::create());
  auto links = must(kernel::open_links(lan_.get())), inside = must(kernel::open_links(&stranger));
  must(links->create_veth({.name = "to-x", .peer_name = "eth0", .peer_namespace = &stranger}));
  must(links->change(must(links->get("to-x")).index, {.up = true, .master = must(links->get("lan")).index}));
  const int eth0 = must(inside->get("eth0")).index;
  must(inside->change(eth0, {.up = true}));
  must(inside->put_address({eth0, *IpPrefix::parse("10.0.0.66/24")}));
  auto side = must(kernel::SideSocket::open(port, probe_magic, &stranger));
  const os::Endpoint b{*Ip::parse("10.0.0.2"), port};
  const auto answered = [&] {  // by a pong; b may well ping an address that it has heard from
    const auto end = steady_clock::now() + 400ms;
    while (steady_clock::now() < end) {
      pollfd readable{side->fd(), POLLIN, 0};
      poll(&readable, 1, 50);
      for (const auto& one : side->receive())
        if (const auto probe = read_probe({one.bytes.data(), one.bytes.size()});
            probe && probe->type == ProbeType::pong)
          return true;
    }
    return false;
  };
  const ProbeKey right(secret_of(key_of('a'), key_of('b'))), wrong(std::string(32, 'z'));
  Probe ping{
      .type = ProbeType::ping, .from = node_id_of(key_of('a')), .to = node_id_of(key_of('b')), .transaction = 4711};
  side->send_whole(b, write_probe(ping, wrong));
  EXPECT_FALSE(answered());
  ping.from = node_id_of(key_of('q'));  // nobody
  side->send_whole(b, write_probe(ping, right));
  EXPECT_FALSE(answered());
  ping.from = node_id_of(key_of('a'));  // as a itself would send it, from a new address
  side->send_whole(b, write_probe(ping, right));
  EXPECT_TRUE(answered());
  side->send_whole(b, write_probe(ping, right));
  EXPECT_FALSE(answered());
  // Nobody's relay: a packet for c, with a tag of the wrong key.
  const Probe data{.type = ProbeType::data,
                   .from = ping.from,
                   .to = ping.to,
                   .pass_on = true,
                   .other = node_id_of(key_of('c')),
                   .body = "forged"};
  const auto head = write_data_head(data, wrong);
  side->send_whole(b, std::string(head.data(), head.size()) + "forged");
  EXPECT_EQ(nodes_[2]->owner->hear(), "");
  EXPECT_NE(metrics_text().find("dure_path_dropped_total{why=\"BadTag\"} 2"), std::string::npos);
  EXPECT_TRUE(reaches(0, 1, Rung::lan, 1s));
}

TEST(PathsJson, SaysWhatIsChosenAndWhyNotTheOthers) {
  PathReport path{
      .node = "b", .connected = true, .rung = Rung::relay_tls, .via = "server", .latency = 12ms, .loss = 0.25};
  path.rungs = {{.rung = Rung::punched, .why = Why::symmetric_nat, .via = "192.0.2.1:5", .tried = 3s}};
  const auto parsed = schema::decode_json(SharedBytes(paths_json("a", {path})));
  ASSERT_TRUE(parsed);
  const schema::Node* b = parsed->root()->find("paths")->first();
  EXPECT_EQ(b->find("rung")->string(), "relay-tls");
  EXPECT_EQ(b->find("latencyMs")->number(), 12);
  EXPECT_EQ(b->find("rungs")->first()->find("why")->string(), "SymmetricNat");
  EXPECT_EQ(b->find("rungs")->first()->find("triedSecondsAgo")->number(), 3);
}

}  // namespace
}  // namespace dure::overlay
