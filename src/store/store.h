// Store: keys to bytes with revisions, compare-and-swap, watch and compaction. It knows no kind.
//
// One revision counter for the whole store, as etcd has it: every committed transaction takes the next revision.
// Implementations: make_memory_store (tests, simulation), LogStore (embedded default), etcd (later). One
// conformance suite, store/conformance.h, runs against each.
//
// Thread: every call from any thread. `commit` callbacks and watch sinks run on the commit thread, one at a time (the
// store's own, or the lane of a transaction; memory: on the caller's thread, before `commit` returns), in revision
// order, and must not block. Sinks are told of a
// revision before its `commit` callback runs. A callback may call `commit` (memory: it is carried out when the
// callback has returned), read, and begin or end watches; it must not call commit_and_wait.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace dure::run {
class Executor;
}

namespace dure::store {

using Revision = int64_t;

struct Entry {
  std::string key;
  Revision create_revision = 0, mod_revision = 0;
  SharedBytes value;
};

// durable: acknowledged after fdatasync. volatile_: acknowledged from memory, written with the next checkpoint or
// durable batch (Lease, Event); after a crash such a key may be old or gone, but the revision counter never goes
// backwards.
enum class Durability { durable, volatile_ };

struct Write {
  std::string key;
  std::optional<SharedBytes> value;               // absent: delete
  std::optional<Revision> expect_mod_revision{};  // 0: must not exist; absent: unconditional
  Durability durability = Durability::durable;
};

// All writes of a transaction happen at one revision or none does. A key may occur once. A transaction that changes
// nothing (empty, or removes only what is not there) takes no revision and answers the newest one.
struct Transaction {
  std::vector<Write> writes;
  // The loop that the calling thread belongs to and goes back to, when it is one. A store may carry the commit out
  // there instead of on its own thread, which spares two wake-ups.
  run::Executor* lane = nullptr;
};

struct Event {
  enum class Kind { put, remove };
  Kind kind;
  Entry entry;                    // remove: key, revisions and no value
  std::optional<Entry> previous;  // what the key held before
};

struct RangeRequest {
  std::string start,
      end;                   // [start, end); end empty: no upper bound; for a prefix: end = prefix_end(start)
  Revision at_revision = 0;  // 0: newest; older ones within the history window, else 410; not yet reached: 504
  size_t limit = 0;          // 0: all
};

struct Page {
  std::vector<Entry> entries;
  Revision revision = 0;  // the revision this is a picture of
  size_t remaining = 0;   // entries in the range after the last one returned
};

class WatchSink {
 public:
  virtual ~WatchSink() = default;
  // Events of one revision come in one call. Must not block and must not call back into the store.
  virtual void on_events(Revision revision, std::span<const Event> events) = 0;
};

// Ends the watch when destroyed; after the destructor returns the sink is not called again.
class Watch {
 public:
  virtual ~Watch() = default;
};

class Store {
 public:
  using Committed = std::move_only_function<void(Result<Revision>)>;

  virtual ~Store() = default;
  // A failed comparison answers 409 "Conflict" (details_name = the key); nothing is written.
  virtual void commit(Transaction transaction, Committed done) = 0;
  virtual std::optional<Entry> get(std::string_view key) const = 0;
  virtual Result<Page> range(const RangeRequest& request) const = 0;
  // Events with revision > `after`; 410 "Expired" when `after` is older than the history window. Past events are
  // delivered before `watch` returns or on the commit thread, always in order, without gap or repeat. An empty
  // prefix: everything.
  virtual Result<std::unique_ptr<Watch>> watch(std::string prefix, Revision after, WatchSink& sink) = 0;
  virtual Revision revision() const = 0;  // newest; 1 in a new store, because 0 means "any" to API clients
  // `watch` after it and `range` at it still work; everything older is 410. A new store: 0.
  virtual Revision compacted() const = 0;
  virtual Status compact(Revision revision) = 0;  // forget history up to and including it
};

// Waits for the commit. Not on the commit thread.
Result<Revision> commit_and_wait(Store& store, Transaction transaction);
// The first key after all keys with this prefix; empty when there is none.
std::string prefix_end(std::string_view prefix);

struct HistoryLimits {
  size_t events_max = 16384;  // overflow act: the oldest history is compacted away
  size_t bytes_max = 8 << 20;
};
// Starts no thread and keeps nothing: deterministic, for tests and simulation.
std::unique_ptr<Store> make_memory_store(HistoryLimits limits = {});

}  // namespace dure::store
