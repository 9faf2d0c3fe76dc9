// The commit side of LogStore; see log_store.h. Private to the room.
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

#include "base/metric.h"
#include "store/checkpoint.h"
#include "store/ledger.h"
#include "store/log_segments.h"
#include "store/log_store.h"

namespace dure::store {

// The newest versions of volatile writes that are acknowledged and not on disk.
class PendingWrites {
 public:
  static size_t bytes_of(std::span<const Change> changes);
  void add(std::span<const Change> changes);
  void add_to(FrameBuilder& frame) const;
  void clear();
  size_t bytes() const { return bytes_; }
  bool empty() const { return newest_.empty(); }

 private:
  std::map<std::string_view, RecordRef> newest_;  // the keys live in the records
  size_t bytes_ = 0;
};

struct LogStore::State : std::enable_shared_from_this<LogStore::State> {
  struct Request {
    Transaction transaction;
    Committed done;
    size_t bytes = 0;
  };
  struct Outcome {
    Result<Revision> result;
    size_t changes_end;
  };

  struct Found {  // by a start
    FrameHeader last;
    uint64_t checkpoint_bytes = 0;
  };
  State(LogOptions log_options, LogPlace log_place, Ledger::Start start, Found found);

  // Any thread.
  void submit(Transaction transaction, Committed done);
  Status health() const;
  // Runs `work` as the commit thread: alone, whichever thread it is.
  template <class Work>
  auto in_turn(Work work) {
    std::lock_guard lock(turn_);
    return work();
  }

  // Commit thread only.
  Status flush();
  Status close();
  void request_checkpoint();

  const LogOptions options;
  const LogPlace place;
  run::Executor* commits = nullptr;
  run::Executor* background = nullptr;
  Ledger ledger;
  SegmentLog* log() { return log_.get(); }
  void set_log(std::unique_ptr<SegmentLog> log) { log_ = std::move(log); }

  std::atomic<bool> closing = false;
  Metric transactions{Metric::Kind::counter, "dure_store_transactions_total", {}, "Committed transactions."};
  Metric syncs{Metric::Kind::counter, "dure_store_syncs_total", {}, "Synced log writes."};
  Metric log_bytes{Metric::Kind::counter, "dure_store_log_bytes_total", {}, "Bytes written to the log."};
  Metric checkpoints{Metric::Kind::counter, "dure_store_checkpoints_total", {}, "Checkpoints written."};

 private:
  class LaneTurn;
  void post_drain(run::Executor* lane);
  void drain(run::Executor* lane);
  void carry_out(std::vector<Request> requests);
  std::vector<Request> take();
  Status keep(const Ledger::Batch& batch, bool durable);
  Status write_frame(FrameKind kind, Revision revision);
  void deliver(std::vector<Request>& requests, std::vector<Outcome>& outcomes, std::span<const Change> changes);
  void maintain();
  void arm_lazy_flush();
  void learn_sync(Duration took);
  Status fail_for_good(Error error);
  void background_checkpoint(const CheckpointState& state, const Index& index, uint64_t segment);

  std::mutex turn_;  // what follows: the commit thread's
  std::unique_ptr<SegmentLog> log_;
  FrameBuilder frame_;
  PendingWrites pending_;
  Revision reserved_;  // synced: revisions up to here may be handed out
  bool clean_;         // the last frame says that the stop was clean
  uint64_t log_bytes_since_checkpoint_ = 0;
  std::unique_ptr<run::Timer> lazy_timer_;
  Duration usual_sync_;
  std::atomic<bool> fast_ = false;  // usual_sync_ is short enough for a lane
  std::atomic<bool> checkpointing_ = false;
  std::atomic<uint64_t> checkpoint_bytes_;  // of the last one

  mutable std::mutex mutex_;  // what follows
  std::deque<Request> queue_;
  size_t queue_bytes_ = 0;
  bool drain_posted_ = false;
  std::optional<Error> failed_;
};

}  // namespace dure::store
