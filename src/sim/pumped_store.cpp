#include "sim/pumped_store.h"

#include <fmt/format.h>

#include <algorithm>

namespace dure::sim {

void PumpLane::post(run::Work work) {
  queue_->push_back(std::move(work));
  behind_.post([weak = std::weak_ptr(queue_)] {
    if (auto queue = weak.lock()) run_front(*queue);
  });
}

bool PumpLane::run_front(Queue& queue) {
  if (queue.empty()) return false;
  run::Work work = std::move(queue.front());
  queue.pop_front();
  work();
  return true;
}

void PumpedStore::commit(store::Transaction transaction, Committed done) {
  auto answered = std::make_shared<bool>(false);
  std::vector<store::Write> writes = transaction.writes;
  inner_.commit(std::move(transaction), [this, answered, writes = std::move(writes),
                                         done = std::move(done)](Result<store::Revision> revision) mutable {
    if (revision)
      truth_.acknowledged(writes, *revision);
    else if (revision.error().is("StoreFailed"))
      truth_.doubtful(writes);
    *answered = true;
    done(std::move(revision));
  });
  if (pumping_) return;  // from a callback: whoever pumps carries it out
  pumping_ = true;
  while (!*answered && (commits_.pump_one() || background_.pump_one())) {
  }
  pumping_ = false;
}

void DurableTruth::acknowledged(const std::vector<store::Write>& writes, store::Revision revision) {
  revision_ = std::max(revision_, revision);
  for (const store::Write& write : writes) {
    if (write.durability == store::Durability::volatile_) {
      volatile_.insert(write.key);
      continue;
    }
    written_.insert(write.key);
    if (write.value)
      values_[write.key] = *write.value;
    else
      values_.erase(write.key);
  }
}

void DurableTruth::doubtful(const std::vector<store::Write>& writes) {
  for (const store::Write& write : writes) doubts_[write.key].push_back(write.value);
}

bool DurableTruth::excused(const std::string& key, const SharedBytes* value) const {
  if (volatile_.contains(key)) return true;
  const auto doubt = doubts_.find(key);
  if (doubt == doubts_.end()) return false;
  return std::any_of(doubt->second.begin(), doubt->second.end(),
                     [&](const auto& wanted) { return value ? wanted && *wanted == *value : !wanted; });
}

void DurableTruth::check(const store::Store& store, Journal& journal) {
  if (store.revision() < revision_)
    journal.violation(fmt::format("the store's revision went backwards: {} after {}", store.revision(), revision_));
  revision_ = std::max(revision_, store.revision());
  auto page = store.range({});
  if (!page) return journal.violation(fmt::format("the store cannot be read: {}", page.error().message));
  std::map<std::string, SharedBytes> there;
  for (store::Entry& entry : page->entries) there.emplace(std::move(entry.key), std::move(entry.value));
  for (const auto& [key, value] : values_) {
    const auto found = there.find(key);
    if (found != there.end() && found->second == value) continue;
    if (excused(key, found == there.end() ? nullptr : &found->second)) continue;
    journal.violation(fmt::format("an acknowledged write of {} is {}", key, found == there.end() ? "gone" : "undone"));
  }
  for (const auto& [key, value] : there)
    if (!values_.contains(key) && !excused(key, &value)) journal.violation(fmt::format("{} came back", key));
  doubts_.clear();
  std::erase_if(there, [&](const auto& entry) { return volatile_.contains(entry.first); });
  values_ = std::move(there);
}

std::set<std::string> DurableTruth::take_written() { return std::exchange(written_, {}); }

}  // namespace dure::sim
