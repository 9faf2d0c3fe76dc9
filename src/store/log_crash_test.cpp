// Crashes: thousands of seeded lives of a store on a disk that loses, tears and refuses, and some dozens of real
// processes that are killed. After each: every acknowledged durable write is there, no half transaction is,
// revisions never go backwards.
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <map>
#include <random>
#include <set>
#include <thread>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/log.h"
#include "base/text.h"
#include "run/virtual_executor.h"
#include "store/log_segments.h"
#include "store/log_store.h"

#if __has_feature(thread_sanitizer)
// The processes that are killed start threads.
extern "C" const char* __tsan_default_options() { return "die_after_fork=0"; }
#endif

namespace dure::store {
namespace {

using Content = std::map<std::string, std::string>;

// ---- on a disk in memory

// One store through many lives. Durable transaction n writes n under "/marker", so that what is found after a crash
// says which transactions it must consist of. Volatile transactions write pairs that must stay equal.
class Lives {
 public:
  explicit Lives(uint64_t seed)
      : random_(seed), disk_(seed), executor_(seed), slow_executor_(seed) {}

  void live() {
    open_somehow();
    if (testing::Test::HasFailure()) return;
    check_found();
    const bool clean = chance(4), broken_sync = chance(8);
    if (!clean && chance(2)) die_after(below(60));
    if (broken_sync) fail_one_sync(below(20));
    const size_t steps = below(chance(4) ? 500 : 80);
    for (size_t i = 0; i < steps && !dead_; ++i) step();
    clean && !broken_sync ? stop() : crash();
  }

 private:
  uint64_t below(uint64_t bound) { return random_() % bound; }
  bool chance(uint64_t one_in) { return below(one_in) == 0; }

  // From some operation on the disk answers nothing any more: the moment of death is inside whatever was going on.
  void die_after(uint64_t operations) {
    disk_.set_fault([this, operations](os::MemoryDisk::Operation,
                                       const std::string&) mutable -> std::optional<Error> {
      if (operations > 0) return --operations, std::nullopt;
      dead_ = true;
      return Error{500, "DiskError", "no power"};
    });
  }
  void fail_one_sync(uint64_t after) {
    disk_.set_fault([after](os::MemoryDisk::Operation operation,
                            const std::string&) mutable -> std::optional<Error> {
      if (operation != os::MemoryDisk::Operation::sync || after-- != 0) return {};
      return Error{500, "DiskError", "Input/output error"};
    });
  }

  LogOptions options() {
    return {.segment_bytes = 64 << 10,
            .checkpoint_log_bytes = static_cast<size_t>(64 << 10) << below(3),
            .lazy_interval = 60s,
            .revisions_reserved = static_cast<Revision>(5 + below(100)),
            .commit_executor = commits_.get(),
            .background_executor = background_.get()};
  }

  // Power may go during the start as well.
  void open_somehow() {
    for (;;) {
      dead_ = false;
      disk_.set_fault({});
      if (chance(5)) die_after(below(40));
      auto opened = LogStore::open("/s", options(), disk_);
      if (opened) {
        store_ = std::move(*opened);
        if (!dead_) break;
        store_.reset();
      } else if (!dead_) {
        ADD_FAILURE() << opened.error().reason << ": " << opened.error().message;
        return;
      }
      disk_.crash();
    }
    disk_.set_fault({});
  }

  void crash() {
    const bool machine_too = dead_ || !chance(3);
    if (!dead_) die_after(0);
    store_.reset();
    // what has not run dies with the process
    commits_ = executor_.make_lane();
    background_ = slow_executor_.make_lane();
    if (machine_too) disk_.crash();
    stopped_cleanly_ = false;
  }

  void stop() {
    executor_.run_until_idle();
    slow_executor_.run_until_idle();
    if (!store_->health()) return crash();
    observed_ = std::max(observed_, store_->revision());
    lazy_at_stop_ = read("/lazy/");
    stopped_cleanly_ = true;
    acknowledged_ = durable_.size();
    store_.reset();
  }

  void step() {
    switch (below(8)) {
      case 0:
      case 1:
      case 2:
        commit_durable();
        break;
      case 3:
      case 4:
        commit_lazy();
        break;
      case 5:
        commit_refused();
        break;
      case 6:
        if (chance(5)) executor_.advance(60s);
        if (chance(5)) store_->checkpoint();
        if (chance(3)) slow_executor_.run_one();
        break;
      default:
        for (uint64_t i = below(12); i > 0 && executor_.run_one(); --i) observe();
    }
  }

  void observe() {
    if (dead_) return;
    observed_ = std::max(observed_, store_->revision());
    // what can be read is at least what was acknowledged, and whole
    const size_t marker = found_marker();
    EXPECT_GE(marker, acknowledged_);
    EXPECT_LE(marker, durable_.size());
  }

  void commit_durable() {
    Content now = durable_.empty() ? Content{} : durable_.back();
    const std::string number = std::to_string(durable_.size() + 1);
    Transaction transaction;
    const auto write = [&](const std::string& key, std::optional<std::string> value) {
      if (value) {
        now[key] = *value;
      } else {
        now.erase(key);
      }
      transaction.writes.push_back(
          {.key = key, .value = value ? std::optional(SharedBytes(*value)) : std::nullopt});
    };
    write("/marker", number);
    const uint64_t first = below(20);
    for (uint64_t i = 0, count = below(4); i < count; ++i) {
      const std::string key = "/durable/" + std::to_string((first + i) % 20);
      write(key, chance(4) ? std::nullopt
                           : std::optional(number + ":" +
                                           std::string(below(chance(10) ? 9000 : 200), 'x')));
    }
    durable_.push_back(std::move(now));
    store_->commit(std::move(transaction), [this, n = durable_.size()](Result<Revision> revision) {
      if (dead_ || !revision) return;
      EXPECT_GT(*revision, acknowledged_revision_);
      acknowledged_revision_ = *revision;
      acknowledged_ = n;
      observed_ = std::max(observed_, *revision);
    });
  }

  void commit_lazy() {
    const std::string pair = std::to_string(below(5));
    std::optional<SharedBytes> value;
    if (!chance(6))
      value = SharedBytes(std::to_string(++lazy_count_) + std::string(below(300), '.'));
    Transaction transaction;
    for (const char* side : {"/lazy/a", "/lazy/b"}) {
      transaction.writes.push_back(
          {.key = side + pair, .value = value, .durability = Durability::volatile_});
    }
    store_->commit(std::move(transaction), [this](Result<Revision> revision) {
      if (!dead_ && revision) observed_ = std::max(observed_, *revision);
    });
  }

  void commit_refused() {
    Transaction transaction{
        {{.key = "/marker", .value = SharedBytes("never")},
         {.key = "/never", .value = SharedBytes("x"), .expect_mod_revision = 77'777'777}}};
    store_->commit(std::move(transaction),
                   [](Result<Revision> revision) { EXPECT_FALSE(revision); });
  }

  Content read(std::string prefix) const {
    Content out;
    auto page = store_->range({.start = prefix, .end = prefix_end(prefix)});
    for (const Entry& entry : page->entries) {
      EXPECT_LE(entry.mod_revision, store_->revision());
      EXPECT_LE(entry.create_revision, entry.mod_revision);
      out[entry.key] = entry.value.view();
    }
    return out;
  }
  size_t found_marker() const {
    auto entry = store_->get("/marker");
    return entry ? static_cast<size_t>(parse_int(entry->value.view()).value_or(0)) : 0;
  }

  void check_found() {
    const size_t marker = found_marker();
    ASSERT_GE(marker, acknowledged_) << "an acknowledged write is lost";
    ASSERT_LE(marker, durable_.size());
    Content expected = marker ? durable_[marker - 1] : Content{};
    Content found = read("/durable/");
    if (marker) found["/marker"] = std::to_string(marker);
    ASSERT_EQ(found, expected) << "not the state after transaction " << marker;
    ASSERT_FALSE(store_->get("/never"));
    durable_.resize(marker);
    acknowledged_ = marker;

    const Content lazy = read("/lazy/");
    for (int pair = 0; pair < 5; ++pair) {
      const auto side = [&](const char* name) {
        auto at = lazy.find(name + std::to_string(pair));
        return at == lazy.end() ? std::string() : at->second;
      };
      ASSERT_EQ(side("/lazy/a"), side("/lazy/b")) << "half a transaction";
    }
    ASSERT_GE(store_->revision(), observed_) << "revisions went backwards";
    if (stopped_cleanly_) {
      ASSERT_EQ(store_->revision(), observed_);
      ASSERT_EQ(lazy, lazy_at_stop_);
    }
    observed_ = store_->revision();
    acknowledged_revision_ = observed_;
  }

  std::mt19937_64 random_;
  os::MemoryDisk disk_;
  run::VirtualExecutor executor_,
      slow_executor_;  // checkpoints come late, when much has happened since
  std::unique_ptr<run::Executor> commits_ = executor_.make_lane(),
                                 background_ = slow_executor_.make_lane();
  std::unique_ptr<LogStore> store_;

  std::vector<Content> durable_;  // the state after each durable transaction
  size_t acknowledged_ = 0, lazy_count_ = 0;
  Revision acknowledged_revision_ = 1, observed_ = 1;
  bool dead_ = false, stopped_cleanly_ = false;
  Content lazy_at_stop_;
};

class Quiet {  // the store complains about its disks in the log
 public:
  Quiet() {
    set_log_sink([](LogLevel, std::string_view) {});
  }
  ~Quiet() { set_log_sink({}); }
};

uint64_t from_environment(const char* name, uint64_t otherwise) {
  const char* text = getenv(name);
  return text ? strtoull(text, nullptr, 10) : otherwise;
}

TEST(LogCrash, AcknowledgedWritesSurviveThousandsOfCrashes) {
  const Quiet quiet;
  // To repeat one: STORE_CRASH_SEED=n STORE_CRASH_SEEDS=1.
  const uint64_t first = from_environment("STORE_CRASH_SEED", 1),
                 seeds = from_environment("STORE_CRASH_SEEDS", 1000);
  for (uint64_t seed = first; seed < first + seeds && !HasFailure(); ++seed) {
    SCOPED_TRACE(fmt::format("STORE_CRASH_SEED={}", seed));
    Lives lives(seed);
    for (int life = 0; life < 8 && !HasFailure(); ++life) lives.live();
  }
}

// ---- real processes

constexpr int writers = 4;
constexpr size_t segment_bytes = 256 << 10;

LogOptions real_options() {
  return {.segment_bytes = segment_bytes, .checkpoint_log_bytes = 512 << 10, .lazy_interval = 20ms};
}

// Writer w counts up /a/w and /b/w in one durable transaction, and its lease in a volatile one; what is
// acknowledged goes into the pipe: "w count revision\n", less than PIPE_BUF and so in one piece.
[[noreturn]] void write_until_killed(const std::string& folder, int pipe_end,
                                     const std::vector<int64_t>& counts) {
  auto disk = os::make_disk();
  auto store = LogStore::open(folder, real_options(), *disk);
  if (!store) {
    const std::string line = "! " + store.error().message + "\n";
    (void)!::write(pipe_end, line.data(), line.size());
    _exit(1);
  }
  std::vector<std::thread> threads;
  for (int w = 0; w < writers; ++w) {
    threads.emplace_back([&, w] {
      for (int64_t count = counts[static_cast<size_t>(w)] + 1;; ++count) {
        const SharedBytes value(
            fmt::format("{} {}", count, std::string(static_cast<size_t>(count * 37 % 3000), 'x')));
        const auto key = [&](const char* side) { return fmt::format("/{}/{}", side, w); };
        auto done = commit_and_wait(
            **store, {{{.key = key("a"), .value = value}, {.key = key("b"), .value = value}}});
        auto lease = commit_and_wait(
            **store,
            {{{.key = key("lease"), .value = value, .durability = Durability::volatile_}}});
        if (!done || !lease) _exit(2);
        const std::string line = fmt::format("{} {} {}\n", w, count, *lease);
        if (::write(pipe_end, line.data(), line.size()) != static_cast<ssize_t>(line.size()))
          _exit(3);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  _exit(4);
}

struct Acknowledged {
  std::vector<int64_t> counts = std::vector<int64_t>(writers, 0);
  Revision revision = 0;
  std::string error;
};

void read_acknowledgements(int pipe_end, Acknowledged& all) {
  std::string text;
  char buffer[65536];
  for (ssize_t got; (got = ::read(pipe_end, buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<size_t>(got));
  text.resize(text.rfind('\n') + 1);
  for (std::string_view line : split(text, '\n')) {
    if (line.empty()) continue;
    const auto words = split(line, ' ');
    if (words[0] == "!") {
      all.error = line;
      continue;
    }
    auto& count = all.counts[static_cast<size_t>(*parse_int(words[0]))];
    count = std::max(count, *parse_int(words[1]));
    all.revision = std::max(all.revision, *parse_int(words[2]));
  }
}

// As if power had gone in the middle of a frame that nobody was told of: garbage behind the last good one, or the
// file cut there.
void tear_tail(const std::string& folder, std::mt19937& random) {
  auto disk = os::make_disk();
  const std::string identity = os::read_file(*disk, folder + "/identity").value();
  const uint64_t number = *numbered_file(trim(identity).substr(trim(identity).rfind(' ') + 1), "");
  std::string last_path;
  uint64_t last_sequence = 0, end = 0;
  for (const std::string& name : disk->list(folder).value()) {
    const auto segment = numbered_file(name, "log-");
    if (!segment) continue;
    const std::string bytes = os::read_file(*disk, folder + "/" + name).value();
    for (size_t at = 0; at < bytes.size();) {
      const auto frame =
          read_frame(std::string_view(bytes).substr(at), frame_salt(number, "log", *segment));
      if (!frame) break;
      at += frame->bytes_on_disk;
      if (frame->header.sequence > last_sequence)
        last_sequence = frame->header.sequence, last_path = folder + "/" + name, end = at;
    }
  }
  if (last_path.empty() || end == segment_bytes) return;
  auto file = disk->open(last_path, os::OpenMode::write).value();
  if (random() % 2) {
    ASSERT_TRUE(file->truncate(end + random() % (segment_bytes - end)));
  } else {
    std::string garbage(1 + random() % std::min<uint64_t>(20'000, segment_bytes - end), '\0');
    for (char& c : garbage) c = static_cast<char>(random());
    ASSERT_TRUE(file->write_at(end, garbage));
  }
}

void check_after_kill(const std::string& folder, const Acknowledged& acknowledged,
                      std::vector<int64_t>& counts) {
  auto disk = os::make_disk();
  auto store = LogStore::open(folder, real_options(), *disk);
  ASSERT_TRUE(store) << store.error().message;
  EXPECT_GE((*store)->revision(), acknowledged.revision);
  for (int w = 0; w < writers; ++w) {
    const auto count = [&](const char* side) {
      auto entry = (*store)->get(fmt::format("/{}/{}", side, w));
      return entry ? *parse_int(split(entry->value.view(), ' ')[0]) : 0;
    };
    EXPECT_EQ(count("a"), count("b")) << "half a transaction";
    EXPECT_GE(count("a"), acknowledged.counts[static_cast<size_t>(w)])
        << "an acknowledged write is lost";
    counts[static_cast<size_t>(w)] = count("a");
  }
}

TEST(LogCrash, KilledProcessesLoseNothingAcknowledged) {
  const Quiet quiet;
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::mt19937 random(seed);
  std::string pattern = "/tmp/dure_store_" + std::string(6, 'X');
  const std::string folder = mkdtemp(pattern.data());
  std::vector<int64_t> counts(writers, 0);
  Acknowledged acknowledged;
  for (int round = 0; round < 30 && !HasFailure(); ++round) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      close(ends[0]);
      write_until_killed(folder, ends[1], counts);
    }
    close(ends[1]);
    std::thread reader([&] { read_acknowledgements(ends[0], acknowledged); });
    std::this_thread::sleep_for(std::chrono::microseconds(3000 + random() % 60'000));
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    reader.join();
    close(ends[0]);
    EXPECT_TRUE(WIFSIGNALED(status)) << status << " " << acknowledged.error;
    if (random() % 2) tear_tail(folder, random);
    check_after_kill(folder, acknowledged, counts);
  }
  EXPECT_GT(acknowledged.revision, 100);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace dure::store
