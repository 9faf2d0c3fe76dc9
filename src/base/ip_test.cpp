#include "base/ip.h"

#include <gtest/gtest.h>

namespace dure {
namespace {

TEST(Ip, ParsesAndPrintsBothFamilies) {
  EXPECT_EQ(Ip::parse("10.96.0.10")->text(), "10.96.0.10");
  EXPECT_EQ(Ip::parse("10.96.0.10")->v4(), 0x0a60000au);
  EXPECT_EQ(Ip::v4(0x0a60000a), *Ip::parse("10.96.0.10"));
  EXPECT_EQ(Ip::parse("FD00::0001")->text(), "fd00::1");
  for (const char* bad : {"", "1.2.3", "1.2.3.4.5", "01.2.3.4", "256.1.1.1", "fe80::1%eth0", "x"})
    EXPECT_FALSE(Ip::parse(bad)) << bad;
  EXPECT_TRUE(Ip::parse("127.3.3.3")->is_loopback());
  EXPECT_TRUE(Ip::parse("::1")->is_loopback());
}

TEST(IpPrefix, NetworkContainsOverlaps) {
  auto prefix = *IpPrefix::parse("10.244.1.7/24");
  EXPECT_EQ(prefix.text(), "10.244.1.7/24");
  EXPECT_EQ(prefix.network().text(), "10.244.1.0/24");
  EXPECT_TRUE(prefix.contains(*Ip::parse("10.244.1.255")));
  EXPECT_FALSE(prefix.contains(*Ip::parse("10.244.2.0")));
  EXPECT_FALSE(prefix.contains(*Ip::parse("fd00::1")));
  EXPECT_TRUE(prefix.overlaps(*IpPrefix::parse("10.244.0.0/16")));
  EXPECT_FALSE(prefix.overlaps(*IpPrefix::parse("10.245.0.0/16")));
  EXPECT_TRUE(IpPrefix::parse("0.0.0.0/0")->contains(*Ip::parse("8.8.8.8")));
  for (const char* bad : {"10.0.0.0", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/08", "10.0.0.0/+8", "fd00::/129"})
    EXPECT_FALSE(IpPrefix::parse(bad)) << bad;
}

TEST(Mac, ParsesAndPrints) {
  EXPECT_EQ(Mac::parse("02:AB:00:00:00:0f")->text(), "02:ab:00:00:00:0f");
  EXPECT_FALSE(Mac::parse("02-ab-00-00-00-0f"));
  EXPECT_FALSE(Mac::parse("02:ab:00:00:00"));
}

TEST(IpPrefix, IsDividedIntoParts) {
  const IpPrefix pods = *IpPrefix::parse("10.244.0.0/16");
  EXPECT_EQ(pods.part_number(24, *Ip::parse("10.244.7.9")), 7);
  EXPECT_EQ(pods.part_number(24, *Ip::parse("10.245.0.0")), std::nullopt);
  EXPECT_EQ(pods.part_number(24, *Ip::parse("fd00::1")), std::nullopt);
  EXPECT_EQ(pods.part(24, 255)->text(), "10.244.255.0/24");
  EXPECT_FALSE(pods.part(24, 256));
  EXPECT_EQ(pods.nth(257)->text(), "10.244.1.1");
  EXPECT_FALSE(pods.nth(65536));
  const IpPrefix six = *IpPrefix::parse("fd00:10::/48");
  EXPECT_EQ(six.part(64, 3)->text(), "fd00:10:0:3::/64");
  EXPECT_EQ(six.part_number(64, *Ip::parse("fd00:10:0:3::9")), 3);
  EXPECT_EQ(six.nth(5)->text(), "fd00:10::5");
}

}  // namespace
}  // namespace dure
