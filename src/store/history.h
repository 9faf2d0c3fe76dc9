// History: the newest changes of the whole store, in revision order, with a bound on number and bytes.
//
// Overflow act: the oldest revisions are forgotten, always whole ones; `forgotten` tells up to where.
// Thread: none of its own; its owner locks.
#pragma once

#include <deque>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "store/record.h"

namespace dure::store {

// One key changed at one revision: from `previous` (may be null) to `now` (a tombstone when it was removed).
struct Change {
  RecordRef now, previous;
  Revision revision() const { return now->mod_revision(); }
};

class History {
 public:
  explicit History(HistoryLimits limits, Revision start = 0) : limits_(limits), forgotten_(start) {}

  void append(std::span<const Change> changes);
  void forget(Revision revision);
  Revision forgotten() const { return forgotten_; }
  // Up to about `most` changes after `revision`, never a part of a revision.
  std::vector<Change> after(Revision revision, size_t most) const;
  // What the keys in [start, end) that have changed since `revision` held then; null: nothing.
  std::map<std::string, RecordRef, std::less<>> then(Revision revision, std::string_view start,
                                                     std::string_view end) const;

 private:
  std::deque<Change>::const_iterator first_after(Revision revision) const;
  void pop();

  HistoryLimits limits_;
  Revision forgotten_;
  size_t bytes_ = 0;
  std::deque<Change> changes_;
};

}  // namespace dure::store
