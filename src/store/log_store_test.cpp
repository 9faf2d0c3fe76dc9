#include "store/log_store.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <functional>
#include <future>
#include <map>
#include <thread>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/log.h"
#include "run/virtual_executor.h"
#include "store/crc32c.h"
#include "store/log_segments.h"

namespace dure::store {
namespace {

constexpr size_t small_segment = 64 << 10;
using Operation = os::MemoryDisk::Operation;

Write put(std::string key, std::string value, Durability durability = Durability::durable) {
  return {.key = std::move(key), .value = SharedBytes(std::move(value)), .durability = durability};
}
Write lazy(std::string key, std::string value) {
  return put(std::move(key), std::move(value), Durability::volatile_);
}

// A store on one thread with virtual time.
class LogStoreTest : public testing::Test {
 protected:
  LogStoreTest() {
    set_log_sink([](LogLevel, std::string_view) {});
  }
  ~LogStoreTest() override { set_log_sink({}); }

  Status open(LogOptions options = {.segment_bytes = small_segment}) {
    options.commit_executor = commits_.get();
    options.background_executor = background_.get();
    auto opened = LogStore::open("/s", options, disk_);
    if (!opened) return fail(opened.error());
    store_ = std::move(*opened);
    return {};
  }
  Result<Revision> commit(Transaction transaction) {
    Result<Revision> answer = fail(internal("not answered"));
    store_->commit(std::move(transaction),
                   [&](Result<Revision> result) { answer = std::move(result); });
    executor_.run_until_idle();
    return answer;
  }
  // Power loss: what is written and not synced is gone.
  void crash() {
    disk_.crash_losing_everything();
    store_.reset();
  }
  std::string value(std::string_view key) const {
    auto entry = store_->get(key);
    return entry ? std::string(entry->value.view()) : "(absent)";
  }
  std::vector<std::string> files(std::string_view prefix) const {
    std::vector<std::string> names = disk_.list("/s").value();
    std::erase_if(names, [&](const std::string& name) { return !name.starts_with(prefix); });
    return names;
  }

  os::MemoryDisk disk_;
  run::VirtualExecutor executor_;
  std::unique_ptr<run::Executor> commits_ = executor_.make_lane(),
                                 background_ = executor_.make_lane();
  std::unique_ptr<LogStore> store_;
};

TEST(Crc32c, KnownSumsAndBothWays) {
  EXPECT_EQ(crc32c("123456789"),
            0xe3069283u);  // the check value of the catalogue of CRC algorithms
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);  // RFC 3720 B.4
  std::string text;
  for (int i = 0; i < 300; ++i) {
    EXPECT_EQ(crc32c(text, 7), crc32c_portable(text, 7));
    text.push_back(static_cast<char>(i * 37));
  }
}

TEST_F(LogStoreTest, ADurableWriteSurvivesPowerLoss) {
  ASSERT_TRUE(open());
  EXPECT_EQ(*commit({{put("/a", "1"), put("/gone", "x")}}), 2);
  EXPECT_EQ(*commit({{{.key = "/gone"}}}), 3);
  EXPECT_EQ(*commit({{put("/a", "2")}}), 4);
  crash();
  ASSERT_TRUE(open());
  EXPECT_EQ(value("/a"), "2");
  EXPECT_EQ(value("/gone"), "(absent)");
  EXPECT_EQ(store_->get("/a")->create_revision, 2);
  EXPECT_EQ(store_->get("/a")->mod_revision, 4);
}

TEST_F(LogStoreTest, ReadyWritesShareOneSync) {
  ASSERT_TRUE(open());
  int answered = 0;
  for (int i = 0; i < 64; ++i) {
    store_->commit({{put("/" + std::to_string(i), "x")}},
                   [&](Result<Revision> done) { answered += done.has_value(); });
  }
  const uint64_t before = disk_.counters().syncs;
  executor_.run_until_idle();
  EXPECT_EQ(answered, 64);
  EXPECT_EQ(disk_.counters().syncs - before, 1u);
}

// An executor that runs its work when it is told to, or drops it.
class HandExecutor final : public run::Executor {
 public:
  void post(run::Work work) override { work_.push_back(std::move(work)); }
  std::unique_ptr<run::Timer> after(Duration, run::Work) override { return nullptr; }
  Monotonic now() const override { return now_; }
  WallTime wall_now() const override { return {}; }

  void run() {
    while (!work_.empty()) {
      run::Work work = std::move(work_.front());
      work_.pop_front();
      work();
    }
  }
  void drop() { std::exchange(work_, {}).clear(); }
  void pass(Duration duration) { now_ = now_ + duration; }
  bool idle() const { return work_.empty(); }

 private:
  std::deque<run::Work> work_;
  Monotonic now_;
};

class LaneTest : public testing::Test {
 protected:
  LaneTest() {
    LogOptions options{.segment_bytes = small_segment};
    options.commit_executor = &commits_;
    options.background_executor = &background_;
    disk_.set_fault([this](Operation operation, const std::string&) -> std::optional<Error> {
      if (operation == Operation::sync) commits_.pass(sync_takes_);
      return {};
    });
    store_ = std::move(*LogStore::open("/s", options, disk_));
  }
  ~LaneTest() override { store_.reset(); }

  void commit() {
    Transaction transaction{{put("/" + std::to_string(asked_++), "x")}, &lane_};
    store_->commit(std::move(transaction), [this](Result<Revision> done) { answered_ += done.has_value(); });
  }
  // Whether the next commit waits for the lane; it is carried out.
  bool uses_lane() {
    commit();
    const bool lane = !lane_.idle();
    EXPECT_NE(lane, !commits_.idle());
    lane_.run();
    commits_.run();
    EXPECT_EQ(answered_, asked_);
    return lane;
  }
  // Commits until the store has made up its mind; answers it.
  bool settles_on_lane() {
    bool last = false;
    for (int i = 0; i < 40; ++i) last = uses_lane();
    return last;
  }

  os::MemoryDisk disk_;
  HandExecutor commits_, background_, lane_;
  Duration sync_takes_ = std::chrono::microseconds(100);
  std::unique_ptr<LogStore> store_;
  int asked_ = 0, answered_ = 0;
};

TEST_F(LaneTest, CommitsStayOnTheLoopOfTheirCallerWhileTheDiskIsFast) {
  EXPECT_FALSE(uses_lane()) << "the disk has not shown itself yet";
  EXPECT_TRUE(settles_on_lane());
  sync_takes_ = 20ms;
  EXPECT_TRUE(uses_lane()) << "nobody knew";
  EXPECT_FALSE(uses_lane());
  EXPECT_FALSE(settles_on_lane());
  sync_takes_ = std::chrono::microseconds(100);
  EXPECT_FALSE(uses_lane());
  for (int i = 0; i < 3; ++i) settles_on_lane();
  EXPECT_TRUE(uses_lane());
}

TEST_F(LaneTest, OneLateSyncKeepsAFewCommitsOffTheLanes) {
  ASSERT_TRUE(settles_on_lane());
  sync_takes_ = 5ms;
  EXPECT_TRUE(uses_lane());
  sync_takes_ = std::chrono::microseconds(100);
  int off = 0;
  while (!uses_lane()) ++off;
  EXPECT_GT(off, 1);
  EXPECT_LT(off, 20);
}

TEST_F(LaneTest, WhatIsReadyOnAnyThreadSharesTheLanesSync) {
  ASSERT_TRUE(settles_on_lane());
  const uint64_t before = disk_.counters().syncs;
  commit();
  store_->commit({{put("/of-a-worker", "x")}}, [](Result<Revision> done) { EXPECT_TRUE(done); });
  commit();
  EXPECT_TRUE(commits_.idle());
  lane_.run();
  EXPECT_EQ(answered_, asked_);
  EXPECT_EQ(store_->get("/of-a-worker")->value.view(), "x");
  EXPECT_EQ(disk_.counters().syncs - before, 1u);
}

TEST_F(LaneTest, ALoopThatEndsLeavesItsCommitsToTheStore) {
  ASSERT_TRUE(settles_on_lane());
  commit();
  lane_.drop();
  EXPECT_NE(answered_, asked_);
  commits_.run();
  EXPECT_EQ(answered_, asked_);
  EXPECT_TRUE(uses_lane());
}

// With real threads, for the thread sanitizer.
TEST(Lanes, LoopsAndWorkersCommitSideBySide) {
  struct Seen : WatchSink {
    void on_events(Revision revision, std::span<const Event> events) override {
      in_order &= revision > last;
      last = revision;
      count += events.size();
    }
    bool in_order = true;  // the commit thread's
    Revision last = 0;
    size_t count = 0;
  };
  constexpr int each = 400;
  os::MemoryDisk disk;
  auto store = std::move(*LogStore::open("/s", {.segment_bytes = small_segment}, disk));
  Seen seen;
  auto watch = std::move(*store->watch("/", store->revision(), seen));
  std::atomic<int> left = 2 * each;
  std::promise<void> all;
  {
    run::LoopThread loops[] = {run::LoopThread("one"), run::LoopThread("two")};
    std::function<void(run::Loop&, int)> next = [&](run::Loop& loop, int number) {
      if (number == each) return;
      Transaction transaction{{put(fmt::format("/{}", number), "x")}, &loop};
      store->commit(std::move(transaction), [&, number](Result<Revision> done) {
        ASSERT_TRUE(done);
        if (--left == 0) all.set_value();
        loop.post([&, number] { next(loop, number + 1); });
      });
    };
    for (run::LoopThread& thread : loops)
      thread.loop().post([&, loop = &thread.loop()] { next(*loop, 0); });
    std::jthread worker([&] {
      for (int i = 0; i < each; ++i) ASSERT_TRUE(commit_and_wait(*store, {{put("/worker", "x")}}));
    });
    all.get_future().wait();
  }
  ASSERT_TRUE(commit_and_wait(*store, {{put("/last", "x")}}));
  watch.reset();
  EXPECT_TRUE(seen.in_order);
  EXPECT_EQ(seen.count, 3u * each + 1);
}

TEST_F(LogStoreTest, NobodyReadsWhatIsNotDurable) {
  ASSERT_TRUE(open());
  disk_.set_fault([&](Operation operation, const std::string&) -> std::optional<Error> {
    if (operation == Operation::sync) EXPECT_EQ(value("/a"), "(absent)");
    return {};
  });
  ASSERT_TRUE(commit({{put("/a", "1")}}));
  disk_.set_fault({});
  EXPECT_EQ(value("/a"), "1");
}

TEST_F(LogStoreTest, VolatileWritesCostNoSyncAndRideAlong) {
  ASSERT_TRUE(open());
  ASSERT_TRUE(commit({{put("/d", "1")}}));
  const auto before = disk_.counters();
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(commit({{lazy("/lease", std::to_string(i))}}));
  EXPECT_EQ(disk_.counters().writes, before.writes);
  ASSERT_TRUE(commit({{put("/d", "2")}}));
  EXPECT_EQ(disk_.counters().syncs, before.syncs + 1);
  EXPECT_EQ(disk_.counters().bytes_written,
            before.bytes_written + 4096);  // of a hundred versions one
  ASSERT_TRUE(commit({{lazy("/lease", "lost")}}));
  crash();
  ASSERT_TRUE(open());
  EXPECT_EQ(value("/lease"), "99");
}

TEST_F(LogStoreTest, VolatileWritesAreWrittenAfterTheInterval) {
  ASSERT_TRUE(open({.segment_bytes = small_segment, .lazy_interval = 60s}));
  ASSERT_TRUE(
      commit({{lazy("/x", "1")}}));  // the first one reserves revisions and is written at once
  const uint64_t before = disk_.counters().syncs;
  ASSERT_TRUE(commit({{lazy("/lease", "1")}}));
  executor_.advance(59s);
  EXPECT_EQ(disk_.counters().syncs, before);
  executor_.advance(1s);
  EXPECT_EQ(disk_.counters().syncs, before + 1);
  executor_.advance(10min);  // nothing to write, nobody wakes up
  EXPECT_EQ(disk_.counters().syncs, before + 1);
  EXPECT_EQ(executor_.pending_timers(), 0u);
  crash();
  ASSERT_TRUE(open());
  EXPECT_EQ(value("/lease"), "1");
}

TEST_F(LogStoreTest, PendingVolatileWritesHaveABound) {
  ASSERT_TRUE(open());
  ASSERT_TRUE(commit({{lazy("/x", "1")}}));
  const uint64_t before = disk_.counters().syncs;
  for (int i = 0; i < 100; ++i)
    ASSERT_TRUE(commit({{lazy("/event/" + std::to_string(i), std::string(1000, 'e'))}}));
  EXPECT_GT(disk_.counters().syncs, before + 5);
  EXPECT_LT(disk_.counters().syncs, before + 20);
}

TEST_F(LogStoreTest, RevisionsJumpAfterACrashAndNotAfterACleanStop) {
  ASSERT_TRUE(open({.segment_bytes = small_segment, .revisions_reserved = 100}));
  ASSERT_TRUE(commit({{put("/d", "1")}}));
  for (int i = 0; i < 250; ++i) ASSERT_TRUE(commit({{lazy("/lease", std::to_string(i))}}));
  const Revision handed_out = store_->revision();
  crash();
  ASSERT_TRUE(open({.segment_bytes = small_segment, .revisions_reserved = 100}));
  EXPECT_GE(store_->revision(), handed_out);
  EXPECT_LE(store_->revision(), handed_out + 101);
  EXPECT_EQ(store_->compacted(), store_->revision());

  ASSERT_TRUE(commit({{lazy("/lease", "last")}}));
  const Revision at_stop = store_->revision();
  store_.reset();
  ASSERT_TRUE(open());
  EXPECT_EQ(store_->revision(), at_stop);
  EXPECT_EQ(value("/lease"), "last");
  // Clean once is not clean for ever: what is handed out now must not be handed out again.
  ASSERT_TRUE(commit({{lazy("/lease", "more")}}));
  crash();
  ASSERT_TRUE(open());
  EXPECT_GE(store_->revision(), at_stop + 1);
}

TEST_F(LogStoreTest, ARestartWithoutNewsWritesOneFrameAgain) {
  ASSERT_TRUE(open());
  ASSERT_TRUE(commit({{put("/d", "1")}}));
  store_.reset();
  const uint64_t before = disk_.counters().bytes_written;
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(open());
    store_.reset();
  }
  EXPECT_EQ(disk_.counters().bytes_written, before + 3 * 4096);
}

// The page cache still shows what the disk refused; a later sync does not mend that.
TEST_F(LogStoreTest, WhatAFailedSyncLeftInTheCacheIsWrittenAgain) {
  ASSERT_TRUE(open());
  ASSERT_TRUE(commit({{put("/a", "1")}}));
  disk_.set_fault([&](Operation operation, const std::string&) -> std::optional<Error> {
    if (operation != Operation::sync) return {};
    return Error{500, "DiskError", "Input/output error"};
  });
  ASSERT_FALSE(commit({{put("/a", "2")}}));
  store_.reset();  // the server is restarted, the machine is not
  disk_.set_fault({});
  ASSERT_TRUE(open());
  EXPECT_EQ(value("/a"), "2");
  ASSERT_TRUE(commit({{put("/b", "1")}}));
  crash();
  ASSERT_TRUE(open());
  EXPECT_EQ(value("/a"), "2");
  EXPECT_EQ(value("/b"), "1");
}

TEST_F(LogStoreTest, AFailedSyncIsFinal) {
  ASSERT_TRUE(open());
  ASSERT_TRUE(commit({{put("/a", "1")}}));
  int failures = 1;
  disk_.set_fault([&](Operation operation, const std::string&) -> std::optional<Error> {
    if (operation != Operation::sync || failures-- <= 0) return {};
    return Error{500, "DiskError", "Input/output error"};
  });
  auto failed = commit({{put("/a", "2")}});
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().reason, "StoreFailed");
  EXPECT_FALSE(failed.error().remedy.empty());
  // The disk would work again, but nobody knows what it has kept.
  const uint64_t before = disk_.counters().writes;
  EXPECT_EQ(commit({{put("/b", "1")}}).error().reason, "StoreFailed");
  EXPECT_EQ(commit({{lazy("/b", "1")}}).error().reason, "StoreFailed");
  EXPECT_EQ(store_->health().error().reason, "StoreFailed");
  EXPECT_EQ(disk_.counters().writes, before);
  EXPECT_EQ(value("/a"), "1");
  store_.reset();
  disk_.set_fault({});
  crash();
  ASSERT_TRUE(open());
  EXPECT_EQ(value("/a"), "1");
  EXPECT_TRUE(commit({{put("/a", "3")}}));
}

TEST_F(LogStoreTest, AFullDiskRefusesAndRecovers) {
  disk_.set_capacity(150'000);  // two files of the log
  ASSERT_TRUE(open({.segment_bytes = small_segment, .checkpoint_log_bytes = 1 << 30}));
  int kept = 0;
  Result<Revision> last = 0;
  for (; kept < 100 && last; ++kept)
    last = commit({{put("/" + std::to_string(kept), std::string(3000, 'x'))}});
  EXPECT_EQ(kept, 33);  // sixteen blocks in each file
  EXPECT_EQ(last.error().code, 507);
  EXPECT_EQ(last.error().reason, "StoreFull");
  EXPECT_EQ(value("/32"), "(absent)");
  EXPECT_TRUE(store_->health());
  disk_.set_capacity(1 << 30);
  EXPECT_TRUE(commit({{put("/32", "fits")}}));
  crash();
  ASSERT_TRUE(open());
  EXPECT_EQ(store_->range({.start = "/", .end = "0"})->entries.size(), 33u);
}

TEST_F(LogStoreTest, CheckpointsKeepTheFolderSmall) {
  const LogOptions options{.segment_bytes = small_segment, .checkpoint_log_bytes = 128 << 10};
  ASSERT_TRUE(open(options));
  for (int i = 0; i < 2000; ++i)
    ASSERT_TRUE(commit({{put("/" + std::to_string(i % 50), std::to_string(i))}}));
  EXPECT_GT(store_->counters().checkpoints, 30u);
  EXPECT_EQ(files("checkpoint-").size(), 1u);
  EXPECT_LE(files("log-").size(), 6u);
  crash();
  ASSERT_TRUE(open(options));
  EXPECT_LE(files("log-").size(), 4u);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(value("/" + std::to_string(i)), std::to_string(1950 + i));
}

TEST_F(LogStoreTest, FilesAreUsedAgainInsteadOfFilledWithZeros) {
  ASSERT_TRUE(open({.segment_bytes = small_segment, .checkpoint_log_bytes = 128 << 10}));
  const auto write = [&](int count) {
    for (int i = 0; i < count; ++i) ASSERT_TRUE(commit({{put("/a", std::to_string(i))}}));
  };
  write(200);
  const auto before = disk_.counters();
  write(1000);
  const double per_commit =
      static_cast<double>(disk_.counters().bytes_written - before.bytes_written) / 1000;
  EXPECT_LT(per_commit, 4096 * 1.3);
}

TEST_F(LogStoreTest, ACheckpointThatFailsChangesNothing) {
  ASSERT_TRUE(open());
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(commit({{put("/" + std::to_string(i), "x")}}));
  disk_.set_fault([](Operation operation, const std::string& path) -> std::optional<Error> {
    if (operation != Operation::sync || path.find("checkpoint") == std::string::npos) return {};
    return Error{500, "DiskError", "Input/output error"};
  });
  store_->checkpoint();
  executor_.run_until_idle();
  EXPECT_EQ(store_->counters().checkpoints, 0u);
  EXPECT_TRUE(commit({{put("/more", "x")}}));
  crash();
  disk_.set_fault({});
  ASSERT_TRUE(open());
  EXPECT_EQ(store_->range({.start = "/", .end = "0"})->entries.size(), 21u);
}

TEST_F(LogStoreTest, TooLargeAndTooMany) {
  ASSERT_TRUE(open({.segment_bytes = small_segment, .queue_bytes_max = 10'000}));
  EXPECT_EQ(commit({{put("/a", std::string(40'000, 'x'))}}).error().code, 413);
  EXPECT_TRUE(commit({{put("/a", std::string(30'000, 'x'))}}));
  int refused = 0, done = 0;
  for (int i = 0; i < 20; ++i) {
    store_->commit({{put("/b", std::string(1000, 'x'))}}, [&](Result<Revision> result) {
      ++done;
      refused += !result && result.error().code == 503;
    });
  }
  EXPECT_EQ(refused, 11);
  executor_.run_until_idle();
  EXPECT_EQ(done, 20);
  EXPECT_EQ(refused, 11);
}

TEST_F(LogStoreTest, OneServerPerFolder) {
  ASSERT_TRUE(open());
  auto second = LogStore::open("/s", {}, disk_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().reason, "FileLocked");
  EXPECT_FALSE(second.error().remedy.empty());
  store_.reset();
  EXPECT_TRUE(LogStore::open("/s", {}, disk_));
}

TEST_F(LogStoreTest, DamageInTheMiddleIsAnError) {
  ASSERT_TRUE(open());
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(commit({{put("/a", std::to_string(i))}}));
  store_.reset();
  disk_.corrupt("/s/log-0000000000000001", 2 * 4096 + 45);
  auto opened = open();
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().reason, "StoreCorrupt");
  EXPECT_EQ(opened.error().message,
            "/s/log-0000000000000001 is damaged at byte 8192: frame 3 is unreadable, but frame 4 "
            "after it is there");
  EXPECT_NE(opened.error().remedy.find("truncate -s 8192"), std::string::npos);
  // The remedy works.
  ASSERT_TRUE((*disk_.open("/s/log-0000000000000001", os::OpenMode::write))->truncate(8192));
  ASSERT_TRUE(open());
  EXPECT_EQ(value("/a"), "1");
  EXPECT_TRUE(commit({{put("/a", "new")}}));
}

TEST_F(LogStoreTest, AMissingFileIsAnError) {
  ASSERT_TRUE(open({.segment_bytes = small_segment, .checkpoint_log_bytes = 1 << 30}));
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(commit({{put("/a", std::to_string(i))}}));
  store_.reset();
  ASSERT_GE(files("log-").size(), 3u);
  ASSERT_TRUE(disk_.remove("/s/log-0000000000000002"));
  EXPECT_EQ(open().error().reason, "StoreCorrupt");
  ASSERT_TRUE(disk_.remove("/s/identity"));
  EXPECT_EQ(open().error().reason, "StoreCorrupt");
}

TEST_F(LogStoreTest, ADamagedCheckpointIsAnError) {
  ASSERT_TRUE(open());
  ASSERT_TRUE(commit({{put("/a", "1")}}));
  store_->checkpoint();
  executor_.run_until_idle();
  store_.reset();
  disk_.corrupt("/s/" + files("checkpoint-").at(0), 45);
  EXPECT_EQ(open().error().reason, "StoreCorrupt");
}

// The files of a store that was closed cleanly, to be damaged in copies.
class Damage : public LogStoreTest {
 protected:
  void SetUp() override {
    ASSERT_TRUE(open({.segment_bytes = small_segment, .checkpoint_log_bytes = 1 << 30}));
    for (int i = 0; i < 30; ++i) {
      ASSERT_TRUE(commit({{put("/" + std::to_string(i % 7),
                               std::string(static_cast<size_t>(i * 331 % 5000), 'v'))}}));
      if (i == 8) store_->checkpoint(), executor_.run_until_idle();
    }
    expected_ = content();
    store_.reset();
    for (const std::string& name : disk_.list("/s").value())
      original_[name] = os::read_file(disk_, "/s/" + name).value();
  }
  std::map<std::string, std::string> content() const {
    std::map<std::string, std::string> out;
    for (const Entry& entry : store_->range({.start = "", .end = ""})->entries)
      out[entry.key] = entry.value.view();
    return out;
  }
  // A fresh copy of the folder with one file replaced, opened.
  Status open_with(const std::string& name, std::string bytes) {
    store_.reset();
    for (const std::string& other : disk_.list("/s").value()) (void)disk_.remove("/s/" + other);
    for (const auto& [other, original] : original_) {
      auto file = disk_.open("/s/" + other, os::OpenMode::create_new);
      EXPECT_TRUE((*file)->write_at(0, other == name ? bytes : original));
    }
    return open({.segment_bytes = small_segment});
  }

  std::map<std::string, std::string> original_, expected_;
};

TEST_F(Damage, AFlippedByteIsNeverTakenForData) {
  size_t detected = 0;
  for (const auto& [name, original] : original_) {
    if (name == "lock") continue;
    const size_t step = name == "identity" ? 1 : 97;
    for (size_t at = 0; at < original.size(); at += step) {
      std::string bytes = original;
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << at % 8));
      auto opened = open_with(name, std::move(bytes));
      if (!opened) {
        ASSERT_EQ(opened.error().reason, "StoreCorrupt")
            << name << " at " << at << ": " << opened.error().message;
        ++detected;
      } else {
        ASSERT_EQ(content(), expected_)
            << name << " at " << at;  // padding, or the mark of the clean stop
      }
    }
  }
  EXPECT_GT(detected, 500u);
}

TEST_F(Damage, ACutFileIsAPrefixOrAnError) {
  size_t detected = 0, shorter = 0;
  for (const auto& [name, original] : original_) {
    if (!name.starts_with("log-") && !name.starts_with("checkpoint-")) continue;
    for (size_t at = 0; at < original.size(); at += 509) {
      auto opened = open_with(name, original.substr(0, at));
      if (opened) {
        shorter += content() != expected_;
        for (const auto& [key, value] : content()) ASSERT_EQ(value, std::string(value.size(), 'v'));
        ASSERT_TRUE(commit({{put("/new", "1")}}));
      } else {
        ASSERT_EQ(opened.error().reason, "StoreCorrupt") << name << " at " << at;
        ++detected;
      }
    }
  }
  EXPECT_GT(detected, 50u);
  EXPECT_GT(shorter, 20u);
}

}  // namespace
}  // namespace dure::store
