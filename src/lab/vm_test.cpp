#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lab/guest_frames.h"
#include "lab/topology.h"
#include "lab/vm_root.h"

namespace dure::lab {
namespace {

using ::testing::ElementsAre;
using Kind = GuestFrame::Kind;

const std::string kToken = "0123456789abcdef";

TEST(GuestFrames, ARequestComesBack) {
  const GuestRequest request{{"A=1", "B="}, {"sh", "-c", "echo \"$A\"\n", ""}, 24, 80};
  const auto again = decode_request(encode_request(request));
  ASSERT_TRUE(again);
  EXPECT_EQ(again->environment, request.environment);
  EXPECT_EQ(again->arguments, request.arguments);
  EXPECT_EQ(again->rows, 24);
  EXPECT_EQ(again->columns, 80);
}

TEST(GuestFrames, WhatIsNoRequestIsRefused) {
  auto words = [](const char* text, size_t size) { return decode_request({text, size}); };
  EXPECT_FALSE(words("", 0));
  EXPECT_FALSE(words("0\0000\0000\000", 6)) << "no program";
  EXPECT_FALSE(words("0\0000\0001\000sh\000", 9)) << "the program is the environment";
  EXPECT_FALSE(words("0\0000\0000\000sh", 8)) << "cut off";
  EXPECT_FALSE(words("-1\0000\0000\000sh\000", 10));
  EXPECT_TRUE(words("0\0000\0000\000sh\000", 9));
}

TEST(GuestFrames, ReadsInPiecesOfAnySize) {
  const std::string bytes = "left over" + guest_opening(kToken) + guest_frame(Kind::output, "one") +
                            guest_frame(Kind::errors, "") + guest_frame(Kind::end, "3");
  for (size_t piece = 1; piece <= bytes.size(); ++piece) {
    GuestReader reader(kToken);
    std::vector<std::string> read;
    for (size_t at = 0; at < bytes.size(); at += piece) {
      reader.feed(std::string_view(bytes).substr(at, piece));
      while (const auto frame = reader.next()) read.push_back(static_cast<char>(frame->kind) + frame->bytes);
    }
    EXPECT_THAT(read, ElementsAre("oone", "e", "x3")) << piece;
  }
}

TEST(GuestFrames, AnotherConversationIsNotOurs) {
  GuestReader reader(kToken);
  reader.feed(guest_opening("fedcba9876543210") + guest_frame(Kind::output, "theirs"));
  EXPECT_FALSE(reader.next());
  EXPECT_FALSE(reader.opened());
  reader.feed(guest_opening(kToken) + guest_frame(Kind::output, "ours"));
  const auto frame = reader.next();
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame->bytes, "ours");
}

TEST(GuestFrames, AnOpeningBetweenFramesStartsOver) {
  GuestReader reader;
  reader.feed(guest_opening(kToken) + guest_frame(Kind::request, "a") + guest_opening("fedcba9876543210") +
              guest_frame(Kind::request, "b"));
  EXPECT_EQ(reader.next()->bytes, "a");
  EXPECT_FALSE(reader.restarted());
  EXPECT_EQ(reader.next()->bytes, "b");
  EXPECT_TRUE(reader.restarted());
  EXPECT_EQ(reader.token(), "fedcba9876543210");
}

TEST(GuestFrames, TooLongOrUnknownBreaksIt) {
  for (const std::string& bad : {guest_frame(static_cast<Kind>('?'), ""), std::string("o\xff\xff\xff\xff", 5)}) {
    GuestReader reader;
    reader.feed(guest_opening(kToken) + bad);
    EXPECT_FALSE(reader.next());
    EXPECT_TRUE(reader.broken());
  }
}

TEST(VmRoot, ModulesComeAfterWhatTheyNeed) {
  const std::string_view text =
      "kernel/drivers/virtio/virtio.ko:\n"
      "kernel/drivers/virtio/virtio_ring.ko: kernel/drivers/virtio/virtio.ko\n"
      "kernel/drivers/net/virtio_net.ko: kernel/net/core/net-failover.ko kernel/drivers/virtio/virtio_ring.ko "
      "kernel/drivers/virtio/virtio.ko\n"
      "kernel/net/core/net-failover.ko: kernel/drivers/virtio/virtio.ko\n";
  EXPECT_THAT(modules_in_order(text, {"virtio_net", "ext4", "virtio_ring"}),
              ElementsAre("kernel/drivers/virtio/virtio.ko", "kernel/net/core/net-failover.ko",
                          "kernel/drivers/virtio/virtio_ring.ko", "kernel/drivers/net/virtio_net.ko"));
  EXPECT_THAT(modules_in_order("a.ko: b.ko\nb.ko: a.ko\n", {"a"}), ElementsAre("b.ko", "a.ko")) << "no endless way";
}

TEST(Amounts, InMebibytes) {
  EXPECT_EQ(mebibytes("768Mi"), 768);
  EXPECT_EQ(mebibytes("2Gi"), 2048);
  EXPECT_EQ(mebibytes("1G"), 953);
  EXPECT_EQ(mebibytes("1048576"), 1);
  EXPECT_FALSE(mebibytes("much"));
  EXPECT_FALSE(mebibytes("-1Mi"));
  EXPECT_FALSE(mebibytes("9999999999Gi"));
}

}  // namespace
}  // namespace dure::lab
