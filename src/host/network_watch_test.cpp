#include "host/network_watch.h"

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <thread>

#include "host/node_paths.h"
#include "kernel/namespace_fixture.h"

namespace dure::host {
namespace {

using kernel::must;

bool eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 500; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(10ms);
  }
  return false;
}

TEST(NetworkWatch, OneWatchTellsAllOfOneBurst) {
  DURE_NEEDS_NAMESPACES();
  auto ns = must(kernel::NetNamespace::create());
  auto executor = run::make_pool("watch", 2);
  auto watch = must(NetworkWatch::start(must(kernel::open_links(&ns)), *executor));
  std::atomic<int> first = 0, second = 0;
  std::mutex mutex;
  std::string way;
  auto one = watch->subscribe([&](const NetworkPicture& network) {
    const std::lock_guard lock(mutex);
    way = network.way_out;
    ++first;
  });
  auto two = watch->subscribe([&](const NetworkPicture&) { ++second; });
  EXPECT_EQ(first, 1);  // how it is now
  EXPECT_EQ(way, "");
  ASSERT_EQ(kernel::run_in(ns,
                           "ip link add br0 type bridge && ip link set br0 up && ip addr add 192.0.2.7/24 dev br0 && "
                           "ip route add default via 192.0.2.1"),
            0);
  EXPECT_TRUE(eventually([&] {
    const std::lock_guard lock(mutex);
    return way == "br0 192.0.2.7";
  })) << way;
  EXPECT_TRUE(eventually([&] { return second >= 2; }));
  EXPECT_LE(first, 4) << "a burst is few looks";
  // Who left is not told any more; who stayed is.
  one.reset();
  const int told = first;
  const int heard = second;
  ASSERT_EQ(kernel::run_in(ns, "ip addr add 192.0.2.8/24 dev br0"), 0);
  EXPECT_TRUE(eventually([&] { return second > heard; }));
  EXPECT_EQ(first, told);
  // The watch may go first.
  watch.reset();
  two.reset();
}

kernel::Link link(int index, std::string name, std::string kind = "", bool running = true) {
  kernel::Link out;
  out.index = index;
  out.name = std::move(name);
  out.kind = std::move(kind);
  out.up = true;
  out.running = running;
  out.loopback = out.name == "lo";
  return out;
}

kernel::LinkAddress at(int index, const char* text) { return {index, IpPrefix::parse(text).value()}; }

TEST(OwnNetworks, OnlyWhatOthersCanReach) {
  const std::vector<kernel::Link> links = {link(1, "lo"),
                                           link(2, "eth0"),
                                           link(3, "wlan0"),
                                           link(4, "eth1", "", false),
                                           link(5, "cni0", "bridge"),
                                           link(6, "br-3f2a", "bridge"),
                                           link(7, "dure-wg", "tun"),
                                           link(8, "tailscale0", "tun"),
                                           link(9, "br0", "bridge"),
                                           link(10, "veth1a", "veth")};
  const std::vector<IpPrefix> cluster = {IpPrefix::parse("10.244.0.0/16").value(),
                                         IpPrefix::parse("10.245.0.0/16").value()};
  kernel::LinkAddress host_only = at(2, "192.168.7.7/32");
  host_only.host_scope = true;
  const std::vector<kernel::LinkAddress> addresses = {
      at(1, "127.0.0.1/8"),     at(3, "192.168.0.11/24"), at(2, "192.168.0.10/24"), at(2, "169.254.3.4/16"),
      at(2, "fd00::1/64"),      at(4, "192.168.9.1/24"),  at(5, "10.244.0.1/24"),   at(6, "172.18.0.1/16"),
      at(7, "10.245.0.1/32"),   at(8, "100.64.0.1/32"),   at(9, "10.0.0.5/8"),      at(10, "172.20.0.1/24"),
      at(2, "10.244.200.5/24"), at(99, "192.168.1.1/24"), host_only};
  const std::vector<IpPrefix> own = own_networks(links, addresses, cluster);
  std::vector<std::string> texts;
  for (const IpPrefix& one : own) texts.push_back(one.text());
  EXPECT_EQ(texts, (std::vector<std::string>{"10.0.0.5/8", "192.168.0.10/24", "192.168.0.11/24"}));
}

TEST(OwnNetworks, AtMostSixteen) {
  std::vector<kernel::LinkAddress> addresses;
  for (int i = 1; i <= 40; ++i) addresses.push_back(at(2, ("192.168." + std::to_string(i) + ".1/24").c_str()));
  EXPECT_EQ(own_networks({link(2, "eth0")}, addresses, {}).size(), 16u);
}

}  // namespace
}  // namespace dure::host
