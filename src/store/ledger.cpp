#include "store/ledger.h"

#include <algorithm>

#include <fmt/format.h>

namespace dure::store {
namespace {

constexpr size_t catch_up_slice = 256;  // past changes handed over per look into the history
constexpr size_t hand_over_max = 64;    // past changes delivered while the commit thread may have to wait

Event to_event(const Change& change) {
  Event event{change.now->removed() ? Event::Kind::remove : Event::Kind::put, change.now->entry(), {}};
  if (change.previous) event.previous = change.previous->entry();
  return event;
}

bool has_prefix(std::string_view text, std::string_view prefix) { return text.substr(0, prefix.size()) == prefix; }

// The end of the run of changes that share the revision of the first one.
size_t same_revision(std::span<const Change> changes) {
  size_t end = 1;
  while (end < changes.size() && changes[end].revision() == changes[0].revision()) ++end;
  return end;
}

Error conflict_at(const Write& write, Revision found) {
  Error error{409, "Conflict",
              fmt::format("key {}: expected revision {}, found {}", write.key, *write.expect_mod_revision, found)};
  error.details_name = write.key;
  return error;
}

Status check_keys(const std::vector<Write>& writes) {
  std::vector<std::string_view> keys;
  for (const Write& write : writes) {
    if (write.key.empty()) return fail(bad_request("a key of the transaction is empty"));
    keys.push_back(write.key);
  }
  std::sort(keys.begin(), keys.end());
  const auto twice = std::adjacent_find(keys.begin(), keys.end());
  if (twice == keys.end()) return {};
  return fail(bad_request(fmt::format("key {} occurs twice in one transaction", *twice)));
}

Error expired(Revision wanted, Revision compacted) {
  return gone(fmt::format("The resourceVersion for the provided watch or list is too old: {} (oldest kept: {})", wanted,
                          compacted));
}

}  // namespace

// ---- watches

struct Ledger::Watchers {
  std::mutex mutex;  // held while sinks are called
  std::atomic<std::thread::id> dispatching{};
  std::vector<Watcher*> live;
};

class Ledger::Watcher : public Watch {
 public:
  Watcher(std::shared_ptr<Watchers> all, std::string prefix, Revision after, WatchSink& sink)
      : all_(std::move(all)), prefix_(std::move(prefix)), after_(after), sink_(sink) {}

  ~Watcher() override {
    // On the dispatching thread the mutex is already ours: a sink ends a watch, perhaps its own.
    std::unique_lock lock(all_->mutex, std::defer_lock);
    const bool inside = all_->dispatching.load() == std::this_thread::get_id();
    if (!inside) lock.lock();
    auto at = std::find(all_->live.begin(), all_->live.end(), this);
    if (at == all_->live.end()) return;
    if (inside) {
      *at = nullptr;  // the loop over the list is under way
    } else {
      *at = all_->live.back();
      all_->live.pop_back();
    }
  }

  // Thread: with Watchers::mutex held.
  void deliver(Revision revision, std::span<const Event> events) {
    if (revision <= after_) return;
    after_ = revision;
    const auto matches = [this](const Event& event) { return has_prefix(event.entry.key, prefix_); };
    const auto matching = static_cast<size_t>(std::count_if(events.begin(), events.end(), matches));
    if (matching == 0) return;
    if (matching == events.size()) return sink_.on_events(revision, events);
    std::vector<Event> part;
    std::copy_if(events.begin(), events.end(), std::back_inserter(part), matches);
    sink_.on_events(revision, part);
  }

 private:
  const std::shared_ptr<Watchers> all_;
  const std::string prefix_;
  Revision after_;
  WatchSink& sink_;
};

namespace {

void deliver_past(std::span<const Change> changes, std::string_view prefix, WatchSink& sink) {
  std::vector<Event> events;
  while (!changes.empty()) {
    const size_t end = same_revision(changes);
    events.clear();
    for (const Change& change : changes.first(end)) {
      if (has_prefix(change.now->key(), prefix)) events.push_back(to_event(change));
    }
    if (!events.empty()) sink.on_events(changes[0].revision(), events);
    changes = changes.subspan(end);
  }
}

}  // namespace

Result<std::vector<Change>> Ledger::past(Revision after, size_t most) const {
  std::lock_guard lock(state_mutex_);
  if (after < history_.forgotten()) return fail(expired(after, history_.forgotten()));
  return history_.after(after, most);
}

// Delivers until little is missing; answers up to where.
Result<Revision> Ledger::catch_up(const std::string& prefix, Revision after, WatchSink& sink) {
  for (;;) {
    DURE_TRY(std::vector<Change> changes, past(after, catch_up_slice));
    if (changes.size() <= hand_over_max) return after;
    deliver_past(changes, prefix, sink);
    after = changes.back().revision();
  }
}

Result<std::unique_ptr<Watch>> Ledger::watch(std::string prefix, Revision after, WatchSink& sink) {
  DURE_TRY(Revision reached, catch_up(prefix, after, sink));
  // From here no revision is dispatched until the watch is in the list: what is published is delivered now, the
  // rest later.
  std::unique_lock lock(watchers_->mutex, std::defer_lock);
  if (watchers_->dispatching.load() != std::this_thread::get_id()) lock.lock();
  DURE_TRY(std::vector<Change> changes, past(reached, SIZE_MAX));
  deliver_past(changes, prefix, sink);
  if (!changes.empty()) reached = changes.back().revision();
  auto watcher = std::make_unique<Watcher>(watchers_, std::move(prefix), reached, sink);
  watchers_->live.push_back(watcher.get());
  return watcher;
}

void Ledger::dispatch(std::span<const Change> changes) {
  if (changes.empty()) return;
  std::lock_guard lock(watchers_->mutex);
  if (watchers_->live.empty()) return;
  std::vector<Event> events;
  events.reserve(changes.size());
  for (const Change& change : changes) events.push_back(to_event(change));
  watchers_->dispatching = std::this_thread::get_id();
  for (size_t i = 0; i < watchers_->live.size(); ++i) {  // by position: a sink may begin or end watches
    if (Watcher* watcher = watchers_->live[i]) watcher->deliver(changes[0].revision(), events);
  }
  watchers_->dispatching = std::thread::id();
  std::erase(watchers_->live, nullptr);
}

// ---- commit

Ledger::Ledger(HistoryLimits limits, Start start)
    : index_(std::move(start.index)),
      history_(limits, start.compacted),
      revision_(start.revision),
      watchers_(std::make_shared<Watchers>()) {}

Ledger::~Ledger() = default;

RecordRef Ledger::Batch::current(std::string_view key) const {
  if (auto at = pending_.find(key); at != pending_.end()) return at->second;
  // The commit thread is the only one that changes the index, so it reads without the lock.
  const RecordRef* found = ledger_.index_.find(key);
  return found ? *found : RecordRef();
}

Status Ledger::Batch::check(const Transaction& transaction) const {
  DURE_CHECK(check_keys(transaction.writes));
  for (const Write& write : transaction.writes) {
    if (!write.expect_mod_revision) continue;
    const RecordRef record = current(write.key);
    const Revision found = record ? record->mod_revision() : 0;
    if (found != *write.expect_mod_revision) return fail(conflict_at(write, found));
  }
  return {};
}

Result<size_t> Ledger::Batch::add(const Transaction& transaction) {
  DURE_CHECK(check(transaction));
  const size_t before = changes_.size();
  const Revision revision = revision_ + 1;
  for (const Write& write : transaction.writes) {
    RecordRef previous = current(write.key);
    if (!write.value && !previous) continue;
    Record::Fields fields{.create_revision = previous ? previous->create_revision() : revision,
                          .mod_revision = revision};
    if (write.value) {
      fields.value = *write.value;
    } else {
      fields.removed = true;
    }
    RecordRef now = Record::make(write.key, std::move(fields));
    pending_.erase(now->key());  // its key may lie in a record that goes away
    pending_.emplace(now->key(), write.value ? now : RecordRef());
    changes_.push_back({std::move(now), std::move(previous)});
  }
  if (changes_.size() != before) revision_ = revision;
  return changes_.size() - before;
}

void Ledger::publish(const Batch& batch) {
  std::lock_guard lock(state_mutex_);
  for (const Change& change : batch.changes_) {
    if (change.now->removed()) {
      index_.erase(change.now->key());
    } else {
      index_.put(change.now);
    }
  }
  history_.append(batch.changes_);
  revision_.store(batch.revision_, std::memory_order_release);
}

// ---- reads

std::optional<Entry> Ledger::get(std::string_view key) const {
  std::lock_guard lock(state_mutex_);
  const RecordRef* found = index_.find(key);
  if (!found) return {};
  return (*found)->entry();
}

namespace {

using Held = std::map<std::string, RecordRef, std::less<>>;

// The index with what it held at an older revision laid over it, in key order.
template <class See>
void visit_older(const Index& index, const Held& held, std::string_view start, std::string_view end, See see) {
  auto over = held.lower_bound(start);
  bool more = true;
  const auto flush = [&](const std::string_view* until) {
    for (; more && over != held.end() && (!until || over->first < *until); ++over) {
      if (over->second) more = see(over->second);
    }
  };
  index.visit(start, end, [&](const RecordRef& record) {
    std::string_view key = record->key();
    flush(&key);
    if (!more) return false;
    if (over != held.end() && over->first == key) {
      if (over->second) more = see(over->second);
      ++over;
      return more;
    }
    return more = see(record);
  });
  flush(nullptr);
}

// Entries of the older picture from `from` on: the index's count, corrected by what differs.
size_t count_older(const Index& index, const Held& held, std::string_view from, std::string_view end) {
  size_t count = (end.empty() ? index.size() : index.rank(end)) - index.rank(from);
  for (auto at = held.lower_bound(from); at != held.end(); ++at) {
    const bool now = index.find(at->first) != nullptr, then = static_cast<bool>(at->second);
    count = count + then - now;
  }
  return count;
}

}  // namespace

Result<Page> Ledger::range(const RangeRequest& request) const {
  Index index;
  Held held;
  Page page;
  {
    std::lock_guard lock(state_mutex_);
    const Revision newest = revision_.load(std::memory_order_relaxed);
    page.revision = request.at_revision ? request.at_revision : newest;
    if (page.revision > newest) {
      return fail(timed_out(fmt::format("Too large resource version: {}, current: {}", page.revision, newest)));
    }
    if (page.revision < newest) {
      if (page.revision < history_.forgotten()) return fail(expired(page.revision, history_.forgotten()));
      held = history_.then(page.revision, request.start, request.end);
    }
    index = index_;
  }
  if (!request.end.empty() && request.end <= request.start) return page;
  std::string last;
  visit_older(index, held, request.start, request.end, [&](const RecordRef& record) {
    if (request.limit && page.entries.size() == request.limit) {
      last = record->key();
      return false;
    }
    page.entries.push_back(record->entry());
    return true;
  });
  if (!last.empty()) page.remaining = count_older(index, held, last, request.end);
  return page;
}

Revision Ledger::compacted() const {
  std::lock_guard lock(state_mutex_);
  return history_.forgotten();
}

Status Ledger::compact(Revision revision) {
  std::lock_guard lock(state_mutex_);
  if (revision > revision_.load(std::memory_order_relaxed)) {
    return fail(bad_request(fmt::format("revision {} is not reached yet", revision)));
  }
  history_.forget(revision);
  return {};
}

Ledger::Snapshot Ledger::snapshot() const {
  std::lock_guard lock(state_mutex_);
  return {index_, revision_.load(std::memory_order_relaxed)};
}

}  // namespace dure::store
