#include "kernel/wg.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/text.h"
#include "kernel/links.h"
#include "kernel/namespace_fixture.h"
#include "kernel/wg_encode.h"
#include "os/proc.h"

namespace dure::kernel {
namespace {

WgKey key(uint8_t seed) {  // clamped, as every private key is
  WgKey out;
  for (size_t i = 0; i < out.bytes.size(); ++i) out.bytes[i] = static_cast<uint8_t>(seed * 7 + i);
  out.bytes[0] &= 248;
  out.bytes[31] = static_cast<uint8_t>((out.bytes[31] & 127) | 64);
  return out;
}

// wg(8) does the arithmetic that this room has no library for.
std::optional<WgKey> public_of(const WgKey& secret) {
  auto out = os::run_command({.argv = {"wg", "pubkey"}}, secret.text() + "\n");
  return out ? WgKey::parse(trim(out->out)) : std::nullopt;
}

IpPrefix prefix(const char* text) { return *IpPrefix::parse(text); }
os::Endpoint endpoint(const char* ip, uint16_t port) { return {*Ip::parse(ip), port}; }

// ---- What is sent to the kernel, byte by byte, from the numbers of linux/wireguard.h and linux/netlink.h.

std::string hex(std::string_view bytes) {
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 4) out += (i ? " " : "") + hex_encode(bytes.substr(i, 4));
  return out;
}
std::string hex_of_key(const WgKey& key) {
  return hex({reinterpret_cast<const char*>(key.bytes.data()), key.bytes.size()});
}

TEST(WgNetlink, DeviceIsConfigured) {
  netlink::Writer out;
  wg_encode_configure(out, 0x21, "dure-wg", key(1), 51820);
  EXPECT_EQ(hex(out.bytes()),
            "4c000000 21000500 00000000 00000000 "  // 76 bytes, family, REQUEST | ACK
            "01010000 "                             // SET_DEVICE, version 1
            "0c000200 64757265 2d776700 "           // IFNAME "dure-wg"
            "24000300 " +
                hex_of_key(key(1)) +    // PRIVATE_KEY
                " 06000600 6cca0000");  // LISTEN_PORT 51820
}

TEST(WgNetlink, PeerIsPut) {
  netlink::Writer out;
  wg_encode_peer(out, 0x21, "w",
                 {.key = key(2),
                  .endpoint = endpoint("192.168.0.2", 51821),
                  .allowed_ips = {prefix("10.244.1.0/24"), prefix("10.245.0.2/32")},
                  .keepalive_seconds = 25},
                 WgPeerChange::put);
  EXPECT_EQ(hex(out.bytes()),
            "a8000000 21000500 00000000 00000000 01010000 06000200 77000000 "
            "8c000880 "  // PEERS, nested
            "88000080 "  // one
            "24000100 " +
                hex_of_key(key(2)) +                             // PUBLIC_KEY
                " 08000300 02000000 "                            // FLAGS: REPLACE_ALLOWEDIPS
                "14000400 0200ca6d c0a80002 00000000 00000000 "  // ENDPOINT: sockaddr_in
                "06000500 19000000 "                             // PERSISTENT_KEEPALIVE_INTERVAL
                "3c000980 "                                      // ALLOWEDIPS
                "1c000080 06000100 02000000 08000200 0af40100 05000300 18000000 "
                "1c000080 06000100 02000000 08000200 0af50002 05000300 20000000");
}

TEST(WgNetlink, PeerIsMovedAndRemoved) {
  netlink::Writer moved, removed;
  WgPeer peer{.key = key(2), .endpoint = endpoint("192.168.0.2", 51821), .allowed_ips = {prefix("10.0.0.0/8")}};
  wg_encode_peer(moved, 0x21, "w", peer, WgPeerChange::endpoint_only);
  EXPECT_EQ(hex(moved.bytes().substr(72, 8)), "08000300 04000000") << "FLAGS: UPDATE_ONLY";
  EXPECT_EQ(moved.size(), 16u + 4 + 8 + 4 + 4 + 36 + 8 + 20) << "no keepalive, no addresses";
  wg_encode_peer(removed, 0x21, "w", peer, WgPeerChange::remove);
  EXPECT_EQ(hex(removed.bytes().substr(72)), "08000300 01000000") << "FLAGS: REMOVE_ME, and nothing after it";
}

TEST(WgNetlink, AnswersAreJoinedAndCutOnesHurtNobody) {
  // Two messages: the peer's addresses go on in the second, which repeats only its key.
  auto attributes = [](const WgPeer& peer) {
    netlink::Writer out;
    wg_encode_peer(out, 0x21, "w", peer, WgPeerChange::put);
    return std::string(out.bytes().substr(20));
  };
  WgPeer peer{.key = key(2), .endpoint = endpoint("fd00::1", 7), .allowed_ips = {prefix("10.244.1.0/24")}};
  std::string first = attributes(peer), second = attributes({.key = key(2), .allowed_ips = {prefix("fd01::/64")}});
  WgDevice device;
  wg_decode(first, device);
  wg_decode(second, device);
  ASSERT_EQ(device.peers.size(), 1u);
  EXPECT_EQ(device.peers[0].endpoint, peer.endpoint);
  EXPECT_THAT(device.peers[0].allowed_ips, testing::ElementsAre(prefix("10.244.1.0/24"), prefix("fd01::/64")));
  for (size_t length = 0; length < first.size(); ++length) {
    WgDevice cut;
    wg_decode(std::string_view(first).substr(0, length), cut);
    EXPECT_LE(cut.peers.size(), 1u);
  }
}

TEST(WgUapi, SaysWhatTheCrossPlatformPageAsksFor) {
  std::string hex_key = hex_encode({reinterpret_cast<const char*>(key(2).bytes.data()), 32});
  EXPECT_EQ(uapi_peer({.key = key(2),
                       .endpoint = endpoint("fd00::1", 51821),
                       .allowed_ips = {prefix("10.244.1.7/24")},
                       .keepalive_seconds = 25},
                      WgPeerChange::put),
            "set=1\npublic_key=" + hex_key +
                "\nendpoint=[fd00::1]:51821\npersistent_keepalive_interval=25\nreplace_allowed_ips=true\n"
                "allowed_ip=10.244.1.0/24\n\n");
  EXPECT_EQ(uapi_peer({.key = key(2), .endpoint = endpoint("1.2.3.4", 5)}, WgPeerChange::endpoint_only),
            "set=1\npublic_key=" + hex_key + "\nupdate_only=true\nendpoint=1.2.3.4:5\n\n");
  EXPECT_EQ(uapi_peer({.key = key(2)}, WgPeerChange::remove), "set=1\npublic_key=" + hex_key + "\nremove=true\n\n");
}

TEST(WgUapi, AnswersAreRead) {
  std::string one = hex_encode({reinterpret_cast<const char*>(key(1).bytes.data()), 32});
  std::string two = hex_encode({reinterpret_cast<const char*>(key(2).bytes.data()), 32});
  auto device = uapi_decode("private_key=" + one + "\nlisten_port=51820\npublic_key=" + two +
                            "\npreshared_key=00\nprotocol_version=1\nendpoint=1.2.3.4:5\nlast_handshake_time_sec=7\n"
                            "last_handshake_time_nsec=5\ntx_bytes=10\nrx_bytes=20\nallowed_ip=10.0.0.0/8\n"
                            "allowed_ip=nonsense\npublic_key=short\nallowed_ip=11.0.0.0/8\nerrno=0\n\n");
  ASSERT_TRUE(device);
  EXPECT_EQ(device->private_key, key(1));
  EXPECT_EQ(device->port, 51820);
  ASSERT_EQ(device->peers.size(), 1u) << "a peer whose key cannot be read is no peer, nor are its addresses another's";
  const WgPeerState& peer = device->peers[0];
  EXPECT_EQ(peer.endpoint, endpoint("1.2.3.4", 5));
  EXPECT_EQ(peer.last_handshake, (WallTime{7'000'000'005}));
  EXPECT_EQ(peer.sent_bytes, 10u);
  EXPECT_EQ(peer.received_bytes, 20u);
  EXPECT_THAT(peer.allowed_ips, testing::ElementsAre(prefix("10.0.0.0/8")));
  EXPECT_FALSE(uapi_decode("errno=-22\n\n"));
  EXPECT_EQ(uapi_errno("private_key=x\nerrno=0"), std::nullopt) << "not whole yet";
  EXPECT_EQ(uapi_errno("errno=99999999999\n"), EPROTO);
}

TEST(WgKeyText, IsBase64OfThirtyTwoBytes) {
  EXPECT_EQ(WgKey::parse(key(3).text()), key(3));
  EXPECT_FALSE(WgKey::parse(""));
  EXPECT_FALSE(WgKey::parse("c2hvcnQ="));
}

// ---- One suite for both kinds: two machines on one wire.

class Machine {
 public:
  Machine(std::string device, WgKind kind) : name(std::move(device)), ns(must(NetNamespace::create())) {
    links = must(open_links(&ns));
    open(kind);
  }
  ~Machine() { (void)wg->remove(name); }
  void open(WgKind kind) { wg = kind == WgKind::kernel ? kernel_wg(*links, &ns) : wireguard_go(*links, {}, &ns); }

  std::string name;
  NetNamespace ns;
  std::unique_ptr<Links> links;
  std::unique_ptr<Wg> wg;
};

class WgTest : public testing::TestWithParam<WgKind> {
 protected:
  void SetUp() override {
    DURE_NEEDS_NAMESPACES();
    here_.emplace(name("a"), GetParam());
    there_.emplace(name("b"), GetParam());
    Status made = here().create(here_->name);
    if (!made && (made.error().is("Unsupported") || made.error().is("WireguardMissing"))) {
      std::string why = made.error().message;
      here_.reset();
      there_.reset();
      GTEST_SKIP() << why;
    }
    must(std::move(made));
    must(there().create(there_->name));
  }
  // All tests of the machine share /var/run/wireguard: names are this process's own.
  static std::string name(const char* end) { return "wgt" + std::to_string(getpid() % 10'000'000) + end; }
  Wg& here() { return *here_->wg; }
  Wg& there() { return *there_->wg; }
  WgDevice read() { return must(here().read(here_->name)); }

  // A wire between the two, addresses 192.168.0.1 and .2, and each the other's peer as 10.245.0.1 and .2.
  void join_up() {
    must(here_->links->create_veth({.name = "eth0", .peer_name = "eth0", .peer_namespace = &there_->ns}));
    WgKey secrets[] = {key(1), key(2)};
    Machine* machines[] = {&*here_, &*there_};
    for (int i = 0; i < 2; ++i) {
      Machine& m = *machines[i];
      std::string own = std::to_string(i + 1), other = std::to_string(2 - i);
      must(m.links->put_address({must(m.links->get("eth0")).index, prefix(("192.168.0." + own + "/24").c_str())}));
      must(m.links->change(must(m.links->get("eth0")).index, {.up = true}));
      must(m.wg->configure(m.name, secrets[i], static_cast<uint16_t>(51820 + i)));
      auto peer = public_of(secrets[1 - i]);
      ASSERT_TRUE(peer) << "wg(8) is needed (Debian package wireguard-tools)";
      must(m.wg->put_peer(m.name,
                          {.key = *peer,
                           .endpoint = endpoint(("192.168.0." + other).c_str(), static_cast<uint16_t>(51820 + (1 - i))),
                           .allowed_ips = {prefix(("10.245.0." + other + "/32").c_str())}}));
      Link link = must(m.links->get(m.name));
      must(m.links->put_address({link.index, prefix(("10.245.0." + own + "/24").c_str())}));
      must(m.links->change(link.index, {.up = true}));
    }
  }

  std::optional<Machine> here_, there_;
};

TEST_P(WgTest, ADeviceStartsEmptyAndIsFoundAgain) {
  WgDevice device = read();
  EXPECT_EQ(device.private_key, WgKey{});
  EXPECT_TRUE(device.peers.empty());
  must(here().configure(here_->name, key(1), 51999));
  int index = must(here_->links->get(here_->name)).index;
  here_->open(GetParam());  // a restart
  must(here().create(here_->name));
  EXPECT_EQ(must(here_->links->get(here_->name)).index, index);
  EXPECT_EQ(read().private_key, key(1));
  EXPECT_EQ(read().port, 51999);
  auto chosen = open_wg(*here_->links, here_->name, {}, &here_->ns);
  ASSERT_TRUE(chosen) << chosen.error().message;
  EXPECT_EQ((*chosen)->kind(), GetParam());
}

TEST_P(WgTest, PeersArePutReplacedMovedAndRemoved) {
  must(here().configure(here_->name, key(1), 0));
  WgPeer two{.key = key(2),
             .endpoint = endpoint("192.168.0.2", 51820),
             .allowed_ips = {prefix("10.244.1.0/24"), prefix("10.245.0.2/32")},
             .keepalive_seconds = 25};
  WgPeer three{.key = key(3), .allowed_ips = {prefix("10.244.2.0/24")}};
  must(here().put_peer(here_->name, three));
  must(here().put_peer(here_->name, two));
  auto peers = read().peers;
  ASSERT_EQ(peers.size(), 2u);
  EXPECT_EQ(static_cast<WgPeer>(peers[0]), two);
  EXPECT_EQ(static_cast<WgPeer>(peers[1]), three);
  EXPECT_FALSE(peers[0].last_handshake);

  WgPeer changed = two;
  changed.endpoint.reset();  // stays
  changed.allowed_ips = {prefix("10.244.9.0/24")};
  changed.keepalive_seconds = 0;
  must(here().put_peer(here_->name, changed));
  changed.endpoint = two.endpoint;
  EXPECT_EQ(static_cast<WgPeer>(read().peers[0]), changed);

  must(here().set_endpoint(here_->name, key(2), endpoint("192.168.0.77", 4000)));
  EXPECT_EQ(read().peers[0].endpoint, endpoint("192.168.0.77", 4000));
  EXPECT_EQ(read().peers[0].allowed_ips, changed.allowed_ips);
  (void)here().set_endpoint(here_->name, key(9), endpoint("192.168.0.77", 4000));
  EXPECT_EQ(read().peers.size(), 2u) << "moving a peer does not make one";

  three.allowed_ips.push_back(prefix("10.244.9.0/24"));
  must(here().put_peer(here_->name, three));
  EXPECT_TRUE(read().peers[0].allowed_ips.empty()) << "an address belongs to one peer";

  must(here().remove_peer(here_->name, key(2)));
  must(here().remove_peer(here_->name, key(2)));
  ASSERT_EQ(read().peers.size(), 1u);
  EXPECT_EQ(read().peers[0].key, key(3));
}

TEST_P(WgTest, PacketsPassAndAreCounted) {
  join_up();
  EXPECT_EQ(run_in(here_->ns, "ping -c 3 -i 0.2 -W 3 10.245.0.2"), 0);
  WgDevice device = read();
  ASSERT_EQ(device.peers.size(), 1u);
  EXPECT_TRUE(device.peers[0].last_handshake);
  EXPECT_GT(device.peers[0].received_bytes, 200u);
  EXPECT_GT(device.peers[0].sent_bytes, 200u);
}

TEST_P(WgTest, AChangedOwnAddressIsMendedBySettingTheEndpointAgain) {
  join_up();
  ASSERT_EQ(run_in(here_->ns, "ping -c 1 -W 3 10.245.0.2"), 0);
  ASSERT_EQ(run_in(here_->ns,
                   "ip addr add 192.168.0.99/24 dev eth0; ip addr del 192.168.0.1/24 dev eth0; "
                   "ip addr show dev eth0 | grep -q 192.168.0.99 || ip addr add 192.168.0.99/24 dev eth0"),
            0);
  must(here().set_endpoint(here_->name, read().peers[0].key, endpoint("192.168.0.2", 51821)));
  EXPECT_EQ(run_in(here_->ns, "ping -c 1 -W 2 10.245.0.2"), 0);
  EXPECT_EQ(must(there().read(there_->name)).peers[0].endpoint, endpoint("192.168.0.99", 51820))
      << "the other side saw";
}

TEST_P(WgTest, WhatIsNotThereIsNotFound) {
  auto missing = here().read("wg-nowhere");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().reason, "NotFound");
  EXPECT_FALSE(here().configure("wg-nowhere", key(1), 1));
  must(here().remove("wg-nowhere"));
}

TEST_P(WgTest, RemovalLeavesNeitherDeviceNorProcess) {
  must(here().remove(here_->name));
  must(here().remove(here_->name));
  EXPECT_FALSE(here_->links->get(here_->name));
  EXPECT_FALSE(std::filesystem::exists("/var/run/wireguard/" + here_->name + ".sock"));
  EXPECT_NE(run_in(here_->ns, "pgrep -f 'wireguard-go " + here_->name + "$'"), 0);
  // The way of `dure reset`: only the device is taken away.
  must(there_->links->remove(there_->name));
  int left = 0;
  for (int i = 0; i < 100 && (left = run_in(there_->ns, "pgrep -f 'wireguard-go " + there_->name + "$'")) == 0; ++i)
    usleep(20'000);
  EXPECT_NE(left, 0);
  must(here().create(here_->name));
  EXPECT_TRUE(read().peers.empty());
}

INSTANTIATE_TEST_SUITE_P(Kinds, WgTest, testing::Values(WgKind::kernel, WgKind::wireguard_go),
                         [](const auto& info) { return info.param == WgKind::kernel ? "Kernel" : "WireguardGo"; });

TEST(OpenWg, TheFixIsNamedWhenThereIsNothing) {
  DURE_NEEDS_NAMESPACES();
  NetNamespace ns = must(NetNamespace::create());
  auto links = must(open_links(&ns));
  if (kernel_wg(*links, &ns)->create("wg-probe")) GTEST_SKIP() << "this kernel has WireGuard, nothing is missing";
  auto opened = open_wg(*links, "wgt-none", {.program = "no-such-wireguard"}, &ns);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().reason, "WireguardMissing");
  EXPECT_EQ(opened.error().remedy, "apt-get install wireguard-go");
}

TEST(OpenWg, ADeviceOfAnotherKindIsNotTakenOver) {
  DURE_NEEDS_NAMESPACES();
  NetNamespace ns = must(NetNamespace::create());
  auto links = must(open_links(&ns));
  must(links->create_bridge({.name = "wgt-bridge"}));
  auto opened = open_wg(*links, "wgt-bridge", {}, &ns);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().reason, "AlreadyExists");
}

}  // namespace
}  // namespace dure::kernel
