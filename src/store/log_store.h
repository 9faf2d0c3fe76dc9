// LogStore: the embedded default. The world in memory, an append-only log and checkpoints on disk.
//
// A durable commit is answered after its frame is synced; whatever else is ready by then shares the frame (group
// commit). A volatile one is answered from memory and rides along with the next durable one, or is written after
// `lazy_interval`, newest version only. Nobody reads a durable write before it is durable.
//
// After a start: every acknowledged durable write is there, volatile ones may be old or gone. The revision is the
// exact one after a clean stop; after any other it jumps ahead of all that can have been handed out (at most
// `revisions_reserved`). The history window begins empty: watches from before a crash get 410 and list anew.
//
// Failure: a write or sync of the log that fails is final. Its commits and all later ones answer "StoreFailed",
// reads go on, `health` says so; only a restart helps. A full disk answers "StoreFull" (507) before anything is
// written and heals itself.
//
// Where a commit runs: on the store's own thread; on the lane of the transaction (store.h) while the disk syncs within
// `lane_sync`, because the lane stands still for that long. A sync that takes longer sends the next ones to the thread.
//
// Memory: about 200 bytes per object beside key and value. Thread: see store.h.
#pragma once

#include "base/time.h"
#include "os/disk.h"
#include "run/loop.h"
#include "store/store.h"

namespace dure::store {

struct LogOptions {
  HistoryLimits history = {};
  size_t segment_bytes = 4 << 20;  // of a log file; a transaction may have half of it, larger: 413
  size_t checkpoint_log_bytes =
      8 << 20;  // write a checkpoint when the log has grown by this (or by the size of the store) since
  Duration lazy_interval = 5min;
  Revision revisions_reserved = 10'000;
  Duration lane_sync = std::chrono::microseconds(500);  // see above; zero: never on a lane
  size_t queue_bytes_max = 64 << 20;  // of commits that wait; overflow act: 503
  // Where commits and where slow work (checkpoints, new files) run; each like one thread. Null: threads of the
  // store's own. Given ones must outlive the store, and it is destroyed on theirs or when they no longer run.
  run::Executor* commit_executor = nullptr;
  run::Executor* background_executor = nullptr;
};

class LogStore : public Store {
 public:
  // Makes the folder when it is missing. "FileLocked": another process has it open; "StoreCorrupt": damaged, with a
  // remedy.
  static Result<std::unique_ptr<LogStore>> open(std::string folder, LogOptions options, os::Disk& disk);
  // Carries out what is queued, writes what is pending and marks the stop as clean.
  ~LogStore() override;

  void commit(Transaction transaction, Committed done) override;
  std::optional<Entry> get(std::string_view key) const override;
  Result<Page> range(const RangeRequest& request) const override;
  Result<std::unique_ptr<Watch>> watch(std::string prefix, Revision after, WatchSink& sink) override;
  Revision revision() const override;
  Revision compacted() const override;
  Status compact(Revision revision) override;

  // Writes pending volatile writes now; `done` runs on the commit thread.
  void flush(std::move_only_function<void(Status)> done);
  // Begins a checkpoint now, unless one is under way.
  void checkpoint();
  Status health() const;

  struct Counters {
    uint64_t syncs = 0, log_bytes = 0, checkpoints = 0, transactions = 0;
  };
  Counters counters() const;

 private:
  struct State;
  LogStore();

  // Order matters: the threads end before what they work on, and the folder is let go last.
  std::unique_ptr<os::FileLock> lock_;
  std::shared_ptr<State> state_;
  std::unique_ptr<run::Executor> own_commits_, own_background_;
};

}  // namespace dure::store
