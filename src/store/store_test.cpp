#include "store/store.h"

#include "run/virtual_executor.h"
#include "store/conformance.h"
#include "store/log_store.h"

namespace dure::store {
namespace {

std::shared_ptr<Store> memory(HistoryLimits limits) { return make_memory_store(limits); }

// On a disk in memory; files small enough that every longer test rotates and checkpoints.
std::shared_ptr<Store> log_in_memory(HistoryLimits limits) {
  auto disk = std::make_shared<os::MemoryDisk>();
  auto store = LogStore::open(
      "/store", {.history = limits, .segment_bytes = 4 << 20, .checkpoint_log_bytes = 1 << 20},
      *disk);
  EXPECT_TRUE(store) << store.error().message;
  return {store->release(), [disk](Store* pointer) { delete pointer; }};
}

INSTANTIATE_TEST_SUITE_P(Memory, StoreConformance, testing::Values(Subject{"memory", memory}),
                         subject_name);
INSTANTIATE_TEST_SUITE_P(Log, StoreConformance, testing::Values(Subject{"log", log_in_memory}),
                         subject_name);

TEST(PrefixEnd, IsTheFirstKeyAfterThePrefix) {
  EXPECT_EQ(prefix_end("/a/"), "/a0");
  EXPECT_EQ(prefix_end("a\xff"), "b");
  EXPECT_EQ(prefix_end("\xff"), "");
  EXPECT_EQ(prefix_end(""), "");
}

}  // namespace
}  // namespace dure::store
