#include "bootstrap/networks.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "kernel/links.h"
#include "kernel/namespace_fixture.h"
#include "os/disk.h"

namespace dure::bootstrap {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Networks, NameServersOfAResolvConf) {
  const auto servers = name_servers(
      "# nameserver 1.1.1.1\nsearch lan\nnameserver 192.168.0.1\n nameserver\t10.8.0.1 \n"
      "nameserver fe80::1%eth0\nnameservers 9.9.9.9\nnameserver\n");
  ASSERT_EQ(servers.size(), 2u);
  EXPECT_EQ(servers[0].text(), "192.168.0.1");
  EXPECT_EQ(servers[1].text(), "10.8.0.1");
}

std::vector<std::string> texts(const std::vector<MachineNetwork>& networks) {
  std::vector<std::string> out;
  for (const MachineNetwork& one : networks) out.push_back(one.range.text() + " " + one.what);
  std::ranges::sort(out);
  return out;
}

TEST(Networks, AddressesRoutesOfAllTablesAndNameServersButNotOurs) {
  DURE_NEEDS_NAMESPACES();
  const auto ns = kernel::must(kernel::NetNamespace::create());
  kernel::run_in(
      ns,
      "ip link set lo up; ip link add eth0 type bridge; ip link set eth0 up; ip addr add 192.168.0.10/24 dev eth0;"
      "ip route add default via 192.168.0.1; ip link add docker0 type bridge; ip addr add 172.17.0.1/16 dev docker0;"
      "ip link set docker0 up; ip route add 10.8.0.0/24 dev eth0 table 52; ip link add cni0 type bridge;"
      "ip addr add 10.244.1.1/24 dev cni0; ip link set cni0 up; ip route add 10.244.2.0/24 via 192.168.0.11 proto 208");
  const auto links = kernel::must(kernel::open_links(&ns));
  os::MemoryDisk disk;
  ASSERT_TRUE(disk.make_directories("/etc"));
  ASSERT_TRUE(os::write_file_atomic(disk, "/etc/resolv.conf", "nameserver 127.0.0.53\nnameserver 10.1.1.53\n"));
  const auto networks = read_networks(*links, disk, {"cni0"});
  ASSERT_TRUE(networks) << networks.error().message;
  EXPECT_THAT(texts(*networks),
              ElementsAre("10.1.1.53/32 name server in /etc/resolv.conf", "10.8.0.0/24 route by eth0",
                          "172.17.0.0/16 docker0", "172.17.0.1/32 address of docker0", "192.168.0.0/24 eth0",
                          "192.168.0.1/32 gateway by eth0", "192.168.0.10/32 address of eth0"));
  EXPECT_THAT(pick_ranges(*networks, {}).findings, IsEmpty());
}

}  // namespace
}  // namespace dure::bootstrap
