#include "store/store.h"

#include <gtest/gtest.h>

namespace dure::store {
namespace {

struct Seen : WatchSink {
  std::string text;
  void on_events(Revision revision, std::span<const Event> events) override {
    for (const Event& event : events) {
      text += std::to_string(revision) + (event.kind == Event::Kind::put ? " + " : " - ") + event.entry.key + "\n";
    }
  }
};

Transaction put(std::string key, std::string value) {
  return {{{.key = std::move(key), .value = SharedBytes(std::move(value))}}};
}

TEST(MemoryStore, CommitReadWatch) {
  auto store = make_memory_store();
  EXPECT_EQ(store->revision(), 1);
  Seen early, late;
  auto first = store->watch("/a/", 0, early);
  ASSERT_TRUE(first);
  EXPECT_EQ(*commit_and_wait(*store, put("/a/1", "x")), 2);
  EXPECT_EQ(*commit_and_wait(*store, put("/b/1", "x")), 3);
  EXPECT_EQ(*commit_and_wait(*store, put("/a/2", "x")), 4);
  auto second = store->watch("/a/", 2, late);
  EXPECT_EQ(*commit_and_wait(*store, {{{.key = "/a/1"}}}), 5);
  EXPECT_EQ(early.text, "2 + /a/1\n4 + /a/2\n5 - /a/1\n");
  EXPECT_EQ(late.text, "4 + /a/2\n5 - /a/1\n");
}

TEST(PrefixEnd, IsTheFirstKeyAfterThePrefix) {
  EXPECT_EQ(prefix_end("/a/"), "/a0");
  EXPECT_EQ(prefix_end("a\xff"), "b");
  EXPECT_EQ(prefix_end("\xff"), "");
  EXPECT_EQ(prefix_end(""), "");
}

}  // namespace
}  // namespace dure::store
