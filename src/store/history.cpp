#include "store/history.h"

#include <algorithm>

namespace dure::store {
namespace {

// What the window keeps alive: the version that was replaced. `now` is either the living version or the `previous`
// of a later change.
size_t cost(const Change& change) {
  return sizeof(Change) + (change.previous ? change.previous->footprint() : 0) +
         (change.now->removed() ? change.now->footprint() : 0);
}

}  // namespace

void History::append(std::span<const Change> changes) {
  for (const Change& change : changes) {
    bytes_ += cost(change);
    changes_.push_back(change);
  }
  while (changes_.size() > limits_.events_max || bytes_ > limits_.bytes_max) {
    if (changes_.empty()) break;
    forget(changes_.front().revision());
  }
}

void History::pop() {
  bytes_ -= cost(changes_.front());
  changes_.pop_front();
}

void History::forget(Revision revision) {
  while (!changes_.empty() && changes_.front().revision() <= revision) pop();
  forgotten_ = std::max(forgotten_, revision);
}

std::deque<Change>::const_iterator History::first_after(Revision revision) const {
  return std::upper_bound(changes_.begin(), changes_.end(), revision,
                          [](Revision wanted, const Change& change) { return wanted < change.revision(); });
}

std::vector<Change> History::after(Revision revision, size_t most) const {
  std::vector<Change> out;
  for (auto at = first_after(revision); at != changes_.end(); ++at) {
    if (out.size() >= most && at->revision() != out.back().revision()) break;
    out.push_back(*at);
  }
  return out;
}

std::map<std::string, RecordRef, std::less<>> History::then(Revision revision, std::string_view start,
                                                            std::string_view end) const {
  std::map<std::string, RecordRef, std::less<>> held;
  for (auto at = first_after(revision); at != changes_.end(); ++at) {
    std::string_view key = at->now->key();
    if (key < start || (!end.empty() && key >= end)) continue;
    held.try_emplace(std::string(key),
                     at->previous);  // the first change after `revision` knows what was there
  }
  return held;
}

}  // namespace dure::store
