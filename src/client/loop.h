// Loop: the one shape of everything that keeps something true.
//
// A Loop says what it watches, which keys an event makes it look at, and how one key is reconciled. The runner owns one
// de-duplicating queue per loop (a key is never reconciled twice at once), exponential back-off per key on error (5 ms
// to 1000 s like client-go's default, reset on success), and metrics. Events are hints; truth is the cache; a Loop
// keeps nothing it could not rebuild.
//
// Thread: reconcile runs on the executor, `workers` keys at a time; with the simulator's executor one at a time.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/cache.h"

namespace dure::client {

// What a reconcile answers: done; look again after a time; or an error (back-off).
struct Outcome {
  std::optional<Duration> again_after;
  std::optional<Error> error;
  static Outcome done() { return {}; }
  static Outcome after(Duration delay) { return {delay, {}}; }
  static Outcome failed(Error error) { return {{}, std::move(error)}; }
};

struct WatchRow {
  const Resource* resource = nullptr;
  // Keys to look at when an object changed; called with the old and the new state one after the other. Null: the loop
  // only reads this collection, and waits for it before it starts.
  std::function<void(const schema::Object&, const std::function<void(Key)>& enqueue)> keys;
  ListOptions options = {};
};

struct LoopSpec {
  std::string name;  // "deployment"
  std::vector<WatchRow> watches;
  std::vector<std::string>
      owns;  // "apps/v1 ReplicaSet", "status of apps/v1 Deployment": two loops must not own the same
  std::function<Outcome(const Key&)> reconcile;
  int workers = 1;
  // Every key is looked at again after this time without an event; zero: never.
  Duration resync = Duration::zero();
};

class Runner {
 public:
  static std::unique_ptr<Runner> create(Caches& caches, run::Executor& executor);
  virtual ~Runner() = default;  // waits for running reconciles, starts no more
  // Reconciles start when all caches of the loop have synced. Asserts when two loops own the same thing.
  virtual void add(LoopSpec spec) = 0;
  virtual void enqueue(const std::string& loop, const Key& key) = 0;
  virtual bool idle() const = 0;     // nothing queued or running (keys waiting for a time do not count)
  virtual bool started() const = 0;  // every loop's caches have synced
};

// The owner's key when `object` has a controller owner reference of that kind; for WatchRow::keys.
std::function<void(const schema::Object&, const std::function<void(Key)>&)> owner_keys(std::string kind);
std::function<void(const schema::Object&, const std::function<void(Key)>&)> own_key();

}  // namespace dure::client
