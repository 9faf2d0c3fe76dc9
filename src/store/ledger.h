// Ledger: what every implementation of Store keeps in memory: the index, the history window, the watches. It knows
// no disk.
//
// A commit has three steps, so that nobody sees what is not yet durable:
//   Batch::add    decides (comparisons, revisions) against the published state plus the batch itself,
//   publish       makes the batch's changes readable at once,
//   dispatch      tells the watches, revision by revision.
//
// Thread: one thread at a time decides, publishes and dispatches (the commit thread); every read and watch from any.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "store/history.h"
#include "store/index.h"
#include "store/store.h"

namespace dure::store {

class Ledger {
 public:
  struct Start {  // what a restart has found
    Index index = {};
    Revision revision = 1;
    Revision compacted = 0;
  };
  Ledger(HistoryLimits limits, Start start);
  ~Ledger();

  // The transactions between two publications. Holds the Ledger's changes back; thread: the commit thread.
  class Batch {
   public:
    explicit Batch(Ledger& ledger) : ledger_(ledger), revision_(ledger.revision()) {}
    // All changes of the transaction, none when it changes nothing; an error leaves the batch as it was.
    Result<size_t> add(const Transaction& transaction);  // number of changes
    Revision revision() const { return revision_; }      // of the last transaction
    std::span<const Change> changes() const { return changes_; }

   private:
    friend class Ledger;
    RecordRef current(std::string_view key) const;
    Status check(const Transaction& transaction) const;

    Ledger& ledger_;
    Revision revision_;
    std::vector<Change> changes_;
    std::unordered_map<std::string_view, RecordRef> pending_;  // the batch's own view; the keys live in changes_
  };

  void publish(const Batch& batch);
  // The changes must be of one revision.
  void dispatch(std::span<const Change> changes);

  std::optional<Entry> get(std::string_view key) const;
  Result<Page> range(const RangeRequest& request) const;
  Result<std::unique_ptr<Watch>> watch(std::string prefix, Revision after, WatchSink& sink);
  Revision revision() const { return revision_.load(std::memory_order_acquire); }
  Revision compacted() const;
  Status compact(Revision revision);

  struct Snapshot {
    Index index;
    Revision revision;
  };
  Snapshot snapshot() const;

 private:
  class Watcher;
  struct Watchers;
  Result<Revision> catch_up(const std::string& prefix, Revision after, WatchSink& sink);
  Result<std::vector<Change>> past(Revision after, size_t most) const;

  mutable std::mutex state_mutex_;  // index_, history_; held for single look-ups and for one publication
  Index index_;
  History history_;
  std::atomic<Revision> revision_;
  std::shared_ptr<Watchers> watchers_;
};

}  // namespace dure::store
