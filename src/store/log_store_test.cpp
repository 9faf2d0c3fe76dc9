#include "store/log_store.h"

#include <gtest/gtest.h>

#include "run/virtual_executor.h"
#include "store/crc32c.h"

namespace dure::store {
namespace {

TEST(Crc32c, KnownSumsAndBothWays) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);  // the check value of the catalogue of CRC algorithms
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);  // RFC 3720 B.4
  std::string text;
  for (int i = 0; i < 300; ++i) {
    EXPECT_EQ(crc32c(text, 7), crc32c_portable(text, 7));
    text.push_back(static_cast<char>(i * 37));
  }
}

TEST(LogStore, KeepsWhatWasCommitted) {
  os::MemoryDisk disk;
  {
    auto store = LogStore::open("/s", {.segment_bytes = 64 << 10}, disk);
    ASSERT_TRUE(store) << store.error().message;
    for (int i = 0; i < 1000; ++i) {
      auto done = commit_and_wait(**store, {{{.key = "/k/" + std::to_string(i % 100), .value = SharedBytes(std::string(100, 'x'))}}});
      ASSERT_EQ(*done, i + 2);
    }
  }
  auto store = LogStore::open("/s", {.segment_bytes = 64 << 10}, disk);
  ASSERT_TRUE(store) << store.error().message;
  EXPECT_EQ((*store)->revision(), 1001);
  EXPECT_EQ((*store)->range({.start = "/k/", .end = "/k0"})->entries.size(), 100u);
}

}  // namespace
}  // namespace dure::store
