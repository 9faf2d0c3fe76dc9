#include "overlay/probe_packet.h"

#include <gtest/gtest.h>

#include <random>

namespace dure::overlay {
namespace {

const std::string secret(32, 's');

TEST(ProbePacket, WhatIsWrittenIsReadAndProven) {
  const ProbeKey key(secret);
  Probe ping{.type = ProbeType::ping, .from = 7, .to = 9, .punch = true, .transaction = 0x1122334455667788};
  const std::string bytes = write_probe(ping, key, 1472);
  EXPECT_EQ(bytes.size(), 1472u);
  auto read = read_probe(bytes);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->type, ProbeType::ping);
  EXPECT_EQ(read->from, 7u);
  EXPECT_EQ(read->to, 9u);
  EXPECT_TRUE(read->punch);
  EXPECT_EQ(read->transaction, ping.transaction);
  EXPECT_TRUE(proven(bytes, *read, key));
  EXPECT_EQ(write_probe(ping, key).size(), ping_bytes);

  for (const auto& seen :
       {os::Endpoint{*Ip::parse("203.0.113.9"), 51820}, os::Endpoint{*Ip::parse("2001:db8::1"), 1}}) {
    const Probe pong{.type = ProbeType::pong, .from = 9, .to = 7, .transaction = 5, .observed = seen};
    const std::string answer = write_probe(pong, key);
    EXPECT_EQ(read_probe(answer)->observed, seen);
    EXPECT_TRUE(proven(answer, *read_probe(answer), key));
  }
}

TEST(ProbePacket, EveryChangedBitOfWhatIsTaggedIsSeen) {
  const ProbeKey key(secret);
  const std::string packet(200, 'w');
  const Probe data{.type = ProbeType::data, .from = 7, .to = 9, .pass_on = true, .other = 11, .body = packet};
  const auto head = write_data_head(data, key);
  const std::string whole = std::string(head.data(), head.size()) + packet;
  ASSERT_TRUE(proven(whole, *read_probe(whole), key));
  EXPECT_EQ(read_probe(whole)->body, packet);
  for (size_t bit = 0; bit < (data_head_bytes + 32) * 8; ++bit) {
    std::string forged = whole;
    forged[bit / 8] = static_cast<char>(forged[bit / 8] ^ 1 << bit % 8);
    const auto read = read_probe(forged);
    if (read && read->type == ProbeType::data) EXPECT_FALSE(proven(forged, *read, key)) << bit;
  }
  EXPECT_FALSE(proven(whole, *read_probe(whole), ProbeKey(std::string(32, 't'))));
}

TEST(ProbePacket, WireguardAndNoiseAreNotProbes) {
  std::string noise;
  std::mt19937 dice(1);
  for (int i = 0; i < 10000; ++i) {
    noise.resize(dice() % 200);
    for (char& c : noise) c = static_cast<char>(dice());
    if (!noise.empty()) noise[0] = static_cast<char>(1 + dice() % 4);  // the types of WireGuard's messages
    EXPECT_FALSE(read_probe(noise));
  }
  EXPECT_FALSE(read_probe(""));
  EXPECT_FALSE(read_probe(std::string("\xd5\x52\x45\x01", 4) + std::string(20, '\1')));
}

}  // namespace
}  // namespace dure::overlay
