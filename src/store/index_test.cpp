#include "store/index.h"

#include <map>
#include <random>
#include <string>
#include <thread>

#include <gtest/gtest.h>

namespace dure::store {
namespace {

RecordRef record(const std::string& key, Revision revision) {
  return Record::make(
      key, {.create_revision = revision, .mod_revision = revision, .value = SharedBytes(key)});
}

std::map<std::string, Revision> content(const Index& index) {
  std::map<std::string, Revision> out;
  std::string last;
  index.visit("", "", [&](const RecordRef& r) {
    EXPECT_LT(last, r->key());
    last = r->key();
    out[last] = r->mod_revision();
    return true;
  });
  return out;
}

TEST(Index, RandomChangesAgreeWithAnOrderedMap) {
  for (uint32_t seed = 1; seed <= 8; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    Index index;
    std::map<std::string, Revision> model;
    const uint32_t keys = seed % 2 ? 20'000 : 300;
    for (Revision step = 1; step < 40'000; ++step) {
      std::string key = "/k/" + std::to_string(random() % keys);
      // phases of growth and of shrinking, so that nodes split and merge
      if (random() % 10 < (step / 10'000 % 2 ? 7u : 3u)) {
        bool there = model.erase(key) > 0;
        EXPECT_EQ(static_cast<bool>(index.erase(key)), there);
      } else {
        EXPECT_EQ(static_cast<bool>(index.put(record(key, step))), model.contains(key));
        model[key] = step;
      }
      ASSERT_EQ(index.size(), model.size());
    }
    EXPECT_EQ(content(index), model);
    for (int i = 0; i < 100; ++i) {
      std::string key = "/k/" + std::to_string(random() % keys);
      EXPECT_EQ(index.rank(key),
                static_cast<size_t>(std::distance(model.begin(), model.lower_bound(key))));
      EXPECT_EQ(index.find(key) != nullptr, model.contains(key));
    }
    while (!model.empty()) {
      index.erase(model.begin()->first);
      model.erase(model.begin());
    }
    EXPECT_EQ(index.size(), 0u);
    EXPECT_EQ(index.find("/k/1"), nullptr);
  }
}

TEST(Index, KeysInOrderAndBackwards) {
  Index up, down;
  for (int i = 0; i < 5000; ++i) {
    up.put(record("k" + std::to_string(100'000 + i), i + 1));
    down.put(record("k" + std::to_string(100'000 + 4999 - i), 5000 - i));
  }
  EXPECT_EQ(content(up), content(down));
  EXPECT_EQ(up.rank("k102500"), 2500u);
}

TEST(Index, ASnapshotStaysWhatItWas) {
  Index index;
  for (int i = 0; i < 3000; ++i) index.put(record("k" + std::to_string(i), 1));
  const Index before = index;
  const auto picture = content(before);
  for (int i = 0; i < 3000; i += 2) index.erase("k" + std::to_string(i));
  for (int i = 1; i < 3000; i += 2) index.put(record("k" + std::to_string(i), 2));
  EXPECT_EQ(content(before), picture);
  EXPECT_EQ(index.size(), 1500u);
}

TEST(Index, SnapshotsAreReadOnOtherThreads) {
  Index index;
  for (int i = 0; i < 1000; ++i) index.put(record("k" + std::to_string(i), 1));
  for (int round = 0; round < 20; ++round) {
    std::jthread reader([snapshot = index] {
      size_t seen = 0;
      snapshot.visit("", "", [&](const RecordRef& r) { return seen += r->value().size(), true; });
      EXPECT_GT(seen, 0u);
    });
    for (int i = 0; i < 500; ++i) index.put(record("k" + std::to_string(i * 2), round));
    for (int i = 0; i < 10; ++i) index.erase("k" + std::to_string(round * 10 + i));
  }
}

}  // namespace
}  // namespace dure::store
