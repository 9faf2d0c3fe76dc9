// PumpedStore: a LogStore in a world of one thread.
//
// Callers of the API block until their write is acknowledged; here nobody else could carry it out meanwhile. So
// `commit` itself runs the store's own two lanes until its answer is in. DurableTruth remembers across power losses
// what was acknowledged, and says what a store that was opened again has lost or invented.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "run/loop.h"
#include "sim/journal.h"
#include "store/store.h"

namespace dure::sim {

// One logical thread whose work can also be run on the spot.
class PumpLane : public run::Executor {
 public:
  explicit PumpLane(run::Executor& behind) : behind_(behind) {}
  void post(run::Work work) override;
  std::unique_ptr<run::Timer> after(Duration delay, run::Work work) override {
    return behind_.after(delay, std::move(work));
  }
  Monotonic now() const override { return behind_.now(); }
  WallTime wall_now() const override { return behind_.wall_now(); }
  bool pump_one() { return run_front(*queue_); }

 private:
  using Queue = std::deque<run::Work>;
  static bool run_front(Queue& queue);
  run::Executor& behind_;
  std::shared_ptr<Queue> queue_ = std::make_shared<Queue>();
};

class DurableTruth {
 public:
  void acknowledged(const std::vector<store::Write>& writes, store::Revision revision);
  // The answer was an error after which the write may or may not be there.
  void doubtful(const std::vector<store::Write>& writes);
  // Compares with a store that was opened again and believes it from now on.
  void check(const store::Store& store, Journal& journal);
  size_t size() const { return values_.size(); }
  // Keys of durable writes that were acknowledged since the last call.
  std::set<std::string> take_written();

 private:
  bool excused(const std::string& key, const SharedBytes* value) const;
  std::map<std::string, SharedBytes> values_;
  std::map<std::string, std::vector<std::optional<SharedBytes>>> doubts_;
  std::set<std::string> volatile_, written_;
  store::Revision revision_ = 0;
};

class PumpedStore : public store::Store {
 public:
  // All outlive this.
  PumpedStore(store::Store& inner, PumpLane& commits, PumpLane& background, DurableTruth& truth)
      : inner_(inner), commits_(commits), background_(background), truth_(truth) {}

  void commit(store::Transaction transaction, Committed done) override;
  std::optional<store::Entry> get(std::string_view key) const override { return inner_.get(key); }
  Result<store::Page> range(const store::RangeRequest& request) const override { return inner_.range(request); }
  Result<std::unique_ptr<store::Watch>> watch(std::string prefix, store::Revision after,
                                              store::WatchSink& sink) override {
    return inner_.watch(std::move(prefix), after, sink);
  }
  store::Revision revision() const override { return inner_.revision(); }
  store::Revision compacted() const override { return inner_.compacted(); }
  Status compact(store::Revision revision) override { return inner_.compact(revision); }

 private:
  store::Store& inner_;
  PumpLane &commits_, &background_;
  DurableTruth& truth_;
  bool pumping_ = false;
};

}  // namespace dure::sim
