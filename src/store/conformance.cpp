#include "store/conformance.h"

#include <algorithm>
#include <atomic>
#include <future>
#include <map>
#include <mutex>
#include <random>
#include <thread>

#include <gmock/gmock.h>

namespace dure::store {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Write put(std::string key, std::string value, std::optional<Revision> expected = {}) {
  return {.key = std::move(key), .value = SharedBytes(std::move(value)), .expect_mod_revision = expected};
}
Write remove(std::string key, std::optional<Revision> expected = {}) {
  return {.key = std::move(key), .value = {}, .expect_mod_revision = expected};
}

// One line per call: "5: +/a/1=x -/a/2".
struct Transcript : WatchSink {
  std::mutex mutex;
  std::vector<std::string> lines;
  void on_events(Revision revision, std::span<const Event> events) override {
    std::string line = std::to_string(revision) + ":";
    for (const Event& event : events) {
      EXPECT_EQ(event.entry.mod_revision, revision);
      const bool put = event.kind == Event::Kind::put;
      line += (put ? " +" : " -") + event.entry.key;
      if (put) line += "=" + std::string(event.entry.value.view());
      if (event.previous) line += " was " + std::string(event.previous->value.view());
    }
    std::lock_guard lock(mutex);
    lines.push_back(std::move(line));
  }
};

// "key=value" of each entry.
std::vector<std::string> texts(const Result<Page>& page) {
  std::vector<std::string> out;
  if (!page) return {page.error().message};
  for (const Entry& entry : page->entries) out.push_back(entry.key + "=" + std::string(entry.value.view()));
  return out;
}

// After this every callback of earlier commits has run, and every sink has been told.
void settle(Store& store) { EXPECT_TRUE(commit_and_wait(store, {})); }

}  // namespace

TEST_P(StoreConformance, BeginsEmptyAtRevisionOne) {
  auto store = make();
  EXPECT_EQ(store->revision(), 1);
  EXPECT_EQ(store->compacted(), 0);
  EXPECT_FALSE(store->get("/a"));
  auto page = store->range({.start = "", .end = ""});
  ASSERT_TRUE(page);
  EXPECT_EQ(page->revision, 1);
  EXPECT_THAT(page->entries, IsEmpty());
}

TEST_P(StoreConformance, PutGetRemove) {
  auto store = make();
  EXPECT_EQ(*commit_and_wait(*store, {{put("/a", "1")}}), 2);
  EXPECT_EQ(*commit_and_wait(*store, {{put("/a", "2")}}), 3);
  auto entry = store->get("/a");
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->key, "/a");
  EXPECT_EQ(entry->create_revision, 2);
  EXPECT_EQ(entry->mod_revision, 3);
  EXPECT_EQ(entry->value.view(), "2");
  EXPECT_EQ(*commit_and_wait(*store, {{remove("/a")}}), 4);
  EXPECT_FALSE(store->get("/a"));
  EXPECT_EQ(*commit_and_wait(*store, {{put("/a", "3")}}), 5);
  EXPECT_EQ(store->get("/a")->create_revision, 5);  // a new object
  EXPECT_EQ(store->revision(), 5);
}

TEST_P(StoreConformance, BytesAreOnlyBytes) {
  auto store = make();
  const std::string key("/k\0\xff\n", 5), value("\0\0\xfe", 3);
  ASSERT_TRUE(commit_and_wait(*store, {{put(key, value), put("/empty", "")}}));
  EXPECT_EQ(store->get(key)->value.view(), value);
  ASSERT_TRUE(store->get("/empty"));
  EXPECT_EQ(store->get("/empty")->value.view(), "");
  const std::string large(1'000'000, 'x');
  ASSERT_TRUE(commit_and_wait(*store, {{put("/large", large)}}));
  EXPECT_EQ(store->get("/large")->value.view(), large);
}

TEST_P(StoreConformance, ComparisonsDecide) {
  auto store = make();
  EXPECT_EQ(*commit_and_wait(*store, {{put("/a", "1", 0)}}), 2);
  auto again = commit_and_wait(*store, {{put("/a", "x", 0)}});
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, 409);
  EXPECT_EQ(again.error().reason, "Conflict");
  EXPECT_EQ(again.error().details_name, "/a");
  EXPECT_TRUE(commit_and_wait(*store, {{put("/a", "2", 2)}}));
  EXPECT_FALSE(commit_and_wait(*store, {{put("/a", "x", 2)}}));
  EXPECT_FALSE(commit_and_wait(*store, {{remove("/a", 2)}}));
  EXPECT_FALSE(commit_and_wait(*store, {{put("/b", "x", 3)}}));  // absent is revision 0
  EXPECT_TRUE(commit_and_wait(*store, {{remove("/b", 0)}}));
  EXPECT_EQ(store->revision(), 3);
  EXPECT_TRUE(commit_and_wait(*store, {{remove("/a", 3)}}));
  EXPECT_FALSE(store->get("/a"));
}

TEST_P(StoreConformance, ATransactionIsOneRevisionOrNothing) {
  auto store = make();
  Transcript seen;
  auto watch = store->watch("/", 1, seen);
  EXPECT_EQ(*commit_and_wait(*store, {{put("/a", "1"), put("/b", "1"), remove("/c")}}), 2);
  EXPECT_EQ(store->get("/a")->mod_revision, 2);
  EXPECT_EQ(store->get("/b")->mod_revision, 2);
  EXPECT_FALSE(commit_and_wait(*store, {{put("/a", "2"), put("/new", "2"), remove("/b", 77)}}));
  EXPECT_EQ(store->get("/a")->value.view(), "1");
  EXPECT_FALSE(store->get("/new"));
  EXPECT_EQ(*commit_and_wait(*store, {{put("/a", "3"), remove("/b")}}), 3);
  EXPECT_THAT(seen.lines, ElementsAre("2: +/a=1 +/b=1", "3: +/a=3 was 1 -/b was 1"));
}

TEST_P(StoreConformance, WhatChangesNothingTakesNoRevision) {
  auto store = make();
  ASSERT_TRUE(commit_and_wait(*store, {{put("/a", "1")}}));
  EXPECT_EQ(*commit_and_wait(*store, {}), 2);
  EXPECT_EQ(*commit_and_wait(*store, {{remove("/absent")}}), 2);
  EXPECT_EQ(store->revision(), 2);
}

TEST_P(StoreConformance, RefusesSenselessKeys) {
  auto store = make();
  EXPECT_EQ(commit_and_wait(*store, {{put("/a", "1"), put("/a", "2")}}).error().code, 400);
  EXPECT_EQ(commit_and_wait(*store, {{put("", "1")}}).error().code, 400);
  EXPECT_EQ(store->revision(), 1);
}

TEST_P(StoreConformance, RangesHaveBoundsLimitsAndOrder) {
  auto store = make();
  for (const char* key : {"/b/2", "/a/1", "/b/1", "/c", "/b/3"})
    ASSERT_TRUE(commit_and_wait(*store, {{put(key, "v")}}));
  const auto list = [&](RangeRequest request) { return texts(store->range(request)); };
  EXPECT_THAT(list({.start = "/b/", .end = prefix_end("/b/")}), ElementsAre("/b/1=v", "/b/2=v", "/b/3=v"));
  EXPECT_THAT(list({.start = "/b/2", .end = "/b/3"}),
              ElementsAre("/b/2=v"));  // the end does not belong to it
  EXPECT_THAT(list({.start = "/b/3", .end = ""}), ElementsAre("/b/3=v", "/c=v"));
  EXPECT_THAT(list({.start = "/x", .end = "/a"}), IsEmpty());
  auto page = store->range({.start = "/b/", .end = prefix_end("/b/"), .limit = 2});
  EXPECT_THAT(texts(page), ElementsAre("/b/1=v", "/b/2=v"));
  EXPECT_EQ(page->remaining, 1u);
  EXPECT_EQ(page->revision, 6);
  EXPECT_EQ(store->range({.start = "/b/", .end = prefix_end("/b/"), .limit = 3})->remaining, 0u);
}

TEST_P(StoreConformance, ReadsThePast) {
  auto store = make();
  ASSERT_TRUE(commit_and_wait(*store, {{put("/a", "1"), put("/b", "1")}}));  // 2
  ASSERT_TRUE(commit_and_wait(*store, {{put("/a", "2")}}));                  // 3
  ASSERT_TRUE(commit_and_wait(*store, {{remove("/b"), put("/c", "1")}}));    // 4
  const auto at = [&](Revision revision) {
    return texts(store->range({.start = "/", .end = "0", .at_revision = revision}));
  };
  EXPECT_THAT(at(1), IsEmpty());
  EXPECT_THAT(at(2), ElementsAre("/a=1", "/b=1"));
  EXPECT_THAT(at(3), ElementsAre("/a=2", "/b=1"));
  EXPECT_THAT(at(4), ElementsAre("/a=2", "/c=1"));
  EXPECT_EQ(store->range({.start = "/", .end = "0", .at_revision = 2})->revision, 2);
  EXPECT_EQ(store->range({.start = "/", .end = "0", .at_revision = 5}).error().code, 504);
}

TEST_P(StoreConformance, WatchBeginsInThePastThePresentAndTheFuture) {
  auto store = make();
  Transcript all, some, now, later;
  auto from_start = store->watch("/a/", 0, all);
  for (int i = 1; i <= 3; ++i)
    ASSERT_TRUE(commit_and_wait(*store, {{put("/a/" + std::to_string(i), "v"), put("/b", "v")}}));
  auto from_past = store->watch("/a/", 2, some);
  auto from_now = store->watch("/a/", 4, now);
  auto from_future = store->watch("/a/", 5, later);
  ASSERT_TRUE(commit_and_wait(*store, {{remove("/a/1")}}));
  ASSERT_TRUE(commit_and_wait(*store, {{put("/a/2", "w")}}));
  ASSERT_TRUE(commit_and_wait(*store, {{put("/other", "w")}}));
  EXPECT_THAT(all.lines, ElementsAre("2: +/a/1=v", "3: +/a/2=v", "4: +/a/3=v", "5: -/a/1 was v", "6: +/a/2=w was v"));
  EXPECT_THAT(some.lines, ElementsAre("3: +/a/2=v", "4: +/a/3=v", "5: -/a/1 was v", "6: +/a/2=w was v"));
  EXPECT_THAT(now.lines, ElementsAre("5: -/a/1 was v", "6: +/a/2=w was v"));
  EXPECT_THAT(later.lines, ElementsAre("6: +/a/2=w was v"));
}

TEST_P(StoreConformance, AnEndedWatchIsSilent) {
  auto store = make();
  Transcript seen;
  auto watch = store->watch("", 0, seen);
  ASSERT_TRUE(commit_and_wait(*store, {{put("/a", "1")}}));
  watch->reset();
  ASSERT_TRUE(commit_and_wait(*store, {{put("/a", "2")}}));
  EXPECT_THAT(seen.lines, ElementsAre("2: +/a=1"));
}

TEST_P(StoreConformance, AWatchMayOutliveTheStore) {
  auto store = make();
  Transcript seen;
  auto watch = store->watch("", 0, seen);
  store.reset();
  watch->reset();
}

TEST_P(StoreConformance, HistoryHasABound) {
  auto store = make({.events_max = 10, .bytes_max = 1 << 20});
  Transcript alive;
  auto watch = store->watch("", 0, alive);
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(commit_and_wait(*store, {{put("/a", std::to_string(i)), put("/b", "x")}}));
  EXPECT_EQ(alive.lines.size(), 30u);  // whoever keeps up misses nothing
  const Revision compacted = store->compacted();
  EXPECT_EQ(compacted, 26);  // five transactions of two events are left
  Transcript seen;
  auto old = store->watch("", compacted - 1, seen);
  ASSERT_FALSE(old);
  EXPECT_EQ(old.error().code, 410);
  EXPECT_EQ(old.error().reason, "Expired");
  EXPECT_EQ(store->range({.start = "", .at_revision = compacted - 1}).error().code, 410);
  EXPECT_TRUE(store->watch("", compacted, seen));
  EXPECT_EQ(seen.lines.size(), 5u);
  EXPECT_THAT(texts(store->range({.start = "", .at_revision = compacted})), ElementsAre("/a=24", "/b=x"));
}

TEST_P(StoreConformance, HistoryHasABoundInBytes) {
  auto store = make({.events_max = 1000, .bytes_max = 100'000});
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(commit_and_wait(*store, {{put("/a", std::string(10'000, 'x'))}}));
  EXPECT_GT(store->compacted(), 51 - 12);
  EXPECT_LT(store->compacted(), 51 - 5);
}

TEST_P(StoreConformance, CompactForgets) {
  auto store = make();
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(commit_and_wait(*store, {{put("/a", std::to_string(i))}}));
  ASSERT_TRUE(store->compact(4));
  EXPECT_EQ(store->compacted(), 4);
  Transcript seen;
  EXPECT_EQ(store->watch("", 3, seen).error().code, 410);
  EXPECT_TRUE(store->watch("", 4, seen));
  EXPECT_THAT(seen.lines, ElementsAre("5: +/a=3 was 2", "6: +/a=4 was 3"));
  EXPECT_EQ(store->get("/a")->value.view(), "4");
  EXPECT_TRUE(store->compact(2));  // nothing more to forget
  EXPECT_EQ(store->compacted(), 4);
  EXPECT_EQ(store->compact(99).error().code, 400);
}

TEST_P(StoreConformance, SinksAreToldBeforeTheCommitIsAnswered) {
  auto store = make();
  Transcript seen;
  auto watch = store->watch("", 0, seen);
  std::promise<size_t> lines;
  store->commit({{put("/a", "1")}}, [&](Result<Revision>) {
    EXPECT_EQ(store->get("/a")->value.view(), "1");
    lines.set_value(seen.lines.size());
  });
  EXPECT_EQ(lines.get_future().get(), 1u);
}

TEST_P(StoreConformance, CallbacksMayCommitAndWatch) {
  auto store = make();
  Transcript outer, inner;
  std::unique_ptr<Watch> first = std::move(*store->watch("", 0, outer)), second;
  std::promise<Revision> finished;
  store->commit({{put("/a", "1")}}, [&](Result<Revision>) {
    second = std::move(*store->watch("", 0, inner));
    first.reset();
    store->commit({{put("/a", "2")}}, [&](Result<Revision> revision) { finished.set_value(*revision); });
  });
  EXPECT_EQ(finished.get_future().get(), 3);
  settle(*store);
  EXPECT_THAT(outer.lines, ElementsAre("2: +/a=1"));
  EXPECT_THAT(inner.lines, ElementsAre("2: +/a=1", "3: +/a=2 was 1"));
}

TEST_P(StoreConformance, ASinkMayEndWatches) {
  auto store = make();
  struct Once : Transcript {
    std::unique_ptr<Watch> own;
    void on_events(Revision revision, std::span<const Event> events) override {
      Transcript::on_events(revision, events);
      own.reset();
    }
  } once, other;
  Transcript witness;
  once.own = std::move(*store->watch("", 0, once));
  auto watch = store->watch("", 0, witness);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(commit_and_wait(*store, {{put("/a", std::to_string(i))}}));
  EXPECT_EQ(once.lines.size(), 1u);
  EXPECT_EQ(witness.lines.size(), 3u);
}

TEST_P(StoreConformance, VolatileWritesLookLikeAnyOther) {
  auto store = make();
  Transcript seen;
  auto watch = store->watch("/l", 0, seen);
  Write lease = put("/l", "1");
  lease.durability = Durability::volatile_;
  EXPECT_EQ(*commit_and_wait(*store, {{lease}}), 2);
  EXPECT_EQ(*commit_and_wait(*store, {{put("/d", "1")}}), 3);
  lease.expect_mod_revision = 2;
  EXPECT_EQ(*commit_and_wait(*store, {{lease}}), 4);
  EXPECT_FALSE(commit_and_wait(*store, {{lease}}));
  EXPECT_EQ(store->get("/l")->create_revision, 2);
  EXPECT_THAT(seen.lines, ElementsAre("2: +/l=1", "4: +/l=1 was 1"));
}

TEST_P(StoreConformance, RandomHistoryAgreesWithAModel) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  auto store = make();
  std::map<Revision, std::map<std::string, std::string>> states{{1, {}}};
  for (int step = 0; step < 400; ++step) {
    auto state = states.rbegin()->second;
    Transaction transaction;
    for (uint32_t i = 0, writes = 1 + random() % 3; i < writes; ++i) {
      const std::string key = "/" + std::to_string(i) + "/" + std::to_string(random() % 15);
      if (random() % 3 == 0) {
        transaction.writes.push_back(remove(key));
        state.erase(key);
      } else {
        transaction.writes.push_back(put(key, std::to_string(step)));
        state[key] = std::to_string(step);
      }
    }
    const Revision before = store->revision();
    auto revision = commit_and_wait(*store, std::move(transaction));
    ASSERT_TRUE(revision);
    ASSERT_LE(*revision, before + 1);
    states[*revision] = std::move(state);
  }
  for (const auto& [revision, state] : states) {
    std::vector<std::string> expected, got;
    for (const auto& [key, value] : state) expected.push_back(key + "=" + value);
    // in pages, each of which says how much is left
    for (std::string start = "/";;) {
      auto page = store->range({.start = start, .end = "0", .at_revision = revision, .limit = 1 + random() % 20});
      ASSERT_TRUE(page);
      for (auto& text : texts(page)) got.push_back(text);
      ASSERT_EQ(page->remaining, expected.size() - got.size());
      if (page->remaining == 0) break;
      start = page->entries.back().key + std::string(1, '\0');
    }
    ASSERT_EQ(got, expected) << "at " << revision;
  }
}

namespace {

// Applies what a watch says to a map and checks that each event fits what it knew.
struct Replica : WatchSink {
  std::mutex mutex;
  Revision last = 0;
  std::map<std::string, Revision> content;
  size_t mismatches = 0;
  void on_events(Revision revision, std::span<const Event> events) override {
    std::lock_guard lock(mutex);
    mismatches += revision <= last;
    last = revision;
    for (const Event& event : events) {
      const auto known = content.find(event.entry.key);
      const Revision before = known == content.end() ? 0 : known->second;
      mismatches += before != (event.previous ? event.previous->mod_revision : 0);
      if (event.kind == Event::Kind::put) {
        content[event.entry.key] = revision;
      } else {
        content.erase(event.entry.key);
      }
    }
  }
};

}  // namespace

TEST_P(StoreConformance, WatchesSeeEveryChangeOnceWhileOthersWrite) {
  auto store = make({.events_max = 1 << 20, .bytes_max = 256 << 20});
  struct Watching {
    Replica replica;
    std::unique_ptr<Watch> watch;
  };
  std::vector<std::unique_ptr<Watching>> all;
  {
    std::vector<std::jthread> writers;
    for (int w = 0; w < 4; ++w) {
      writers.emplace_back([&, w] {
        std::mt19937 random(static_cast<uint32_t>(w));
        for (int i = 0; i < 500; ++i) {
          const std::string key = "/" + std::to_string(random() % 50);
          ASSERT_TRUE(commit_and_wait(*store, {{random() % 4 ? put(key, "v") : remove(key)}}));
        }
      });
    }
    for (size_t i = 0; i < 40; ++i) {
      all.push_back(std::make_unique<Watching>());
      Replica& replica = all.back()->replica;
      if (i % 2) {  // half of them list and watch on from there, as clients do
        auto page = store->range({.start = "/", .end = "0"});
        ASSERT_TRUE(page);
        for (const Entry& entry : page->entries) replica.content[entry.key] = entry.mod_revision;
        replica.last = page->revision;
      }
      auto watch = store->watch("/", replica.last, replica);
      ASSERT_TRUE(watch);
      all.back()->watch = std::move(*watch);
      if (i % 5 == 0) all[i / 2]->watch.reset();
    }
  }
  settle(*store);
  std::map<std::string, Revision> truth;
  for (const Entry& entry : store->range({.start = "/", .end = "0"})->entries) truth[entry.key] = entry.mod_revision;
  for (const auto& one : all) {
    EXPECT_EQ(one->replica.mismatches, 0u);
    if (one->watch) EXPECT_EQ(one->replica.content, truth);
  }
}

TEST_P(StoreConformance, CompareAndSwapLosesNoUpdate) {
  auto store = make();
  ASSERT_TRUE(commit_and_wait(*store, {{put("/n", "0")}}));
  std::atomic<int> conflicts = 0;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 100;) {
          const auto entry = store->get("/n");
          const int next = std::stoi(std::string(entry->value.view())) + 1;
          auto done = commit_and_wait(*store, {{put("/n", std::to_string(next), entry->mod_revision)}});
          done ? ++i : ++conflicts;
        }
      });
    }
  }
  EXPECT_EQ(store->get("/n")->value.view(), "400");
  EXPECT_EQ(store->revision(), 402);
}

TEST_P(StoreConformance, RevisionsComeInOrder) {
  auto store = make();
  std::mutex mutex;
  std::vector<Revision> answered;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < 200; ++i) {
          store->commit({{put("/" + std::to_string(t), std::to_string(i))}}, [&](Result<Revision> revision) {
            std::lock_guard lock(mutex);
            answered.push_back(*revision);
          });
        }
      });
    }
  }
  settle(*store);
  ASSERT_EQ(answered.size(), 800u);
  for (size_t i = 0; i < answered.size(); ++i) EXPECT_EQ(answered[i], static_cast<Revision>(i) + 2);
}

}  // namespace dure::store
