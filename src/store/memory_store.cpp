#include <deque>
#include <mutex>
#include <thread>

#include "store/ledger.h"
#include "store/store.h"

namespace dure::store {
namespace {

class MemoryStore : public Store {
 public:
  explicit MemoryStore(HistoryLimits limits) : ledger_(limits, {}) {}

  void commit(Transaction transaction, Committed done) override {
    if (committing_.load() == std::this_thread::get_id()) {  // from a callback: after it
      nested_.push_back({std::move(transaction), std::move(done)});
      return;
    }
    std::lock_guard turn(turn_mutex_);
    committing_ = std::this_thread::get_id();
    carry_out({std::move(transaction), std::move(done)});
    while (!nested_.empty()) {
      Request next = std::move(nested_.front());
      nested_.pop_front();
      carry_out(std::move(next));
    }
    committing_ = std::thread::id();
  }

  std::optional<Entry> get(std::string_view key) const override { return ledger_.get(key); }
  Result<Page> range(const RangeRequest& request) const override { return ledger_.range(request); }
  Result<std::unique_ptr<Watch>> watch(std::string prefix, Revision after, WatchSink& sink) override {
    return ledger_.watch(std::move(prefix), after, sink);
  }
  Revision revision() const override { return ledger_.revision(); }
  Revision compacted() const override { return ledger_.compacted(); }
  Status compact(Revision revision) override { return ledger_.compact(revision); }

 private:
  struct Request {
    Transaction transaction;
    Committed done;
  };

  void carry_out(Request request) {
    Ledger::Batch batch(ledger_);
    auto added = batch.add(request.transaction);
    if (!added) return request.done(fail(std::move(added).error()));
    if (*added > 0) {
      ledger_.publish(batch);
      ledger_.dispatch(batch.changes());
    }
    request.done(batch.revision());
  }

  Ledger ledger_;
  std::mutex turn_mutex_;
  std::atomic<std::thread::id> committing_{};
  std::deque<Request> nested_;  // only the committing thread touches it
};

}  // namespace

std::unique_ptr<Store> make_memory_store(HistoryLimits limits) { return std::make_unique<MemoryStore>(limits); }

}  // namespace dure::store
