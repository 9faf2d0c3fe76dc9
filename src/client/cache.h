// Cache: the newest known state of one collection, kept by a reflector (list, then watch, with bookmarks; on 410 or a
// break it lists again with back-off). Readers get shared immutable objects.
//
// Owner: Caches, one per process, hands out one Cache per (Resource, selector) and starts it once. Thread: reads from
// any thread; handlers run on the executor, one at a time per cache, in order.
//
// Reading one's own writes: `Caches::client()` is the given Client whose answers are put into the caches at once,
// before the watch brings the same thing. A loop that writes through it never acts on a cache older than its own last
// write, so it needs no bookkeeping of expected events. Resource versions are compared as the revisions of one store,
// which is what they are.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "client/client.h"
#include "run/loop.h"

namespace dure::client {

class Cache {
 public:
  // `before` null: added; `after` null: deleted. Handlers are hints: they must not hold truth, only keys. Changes of
  // one object that wait for delivery together arrive as one.
  using Handler = std::function<void(const schema::Object& before, const schema::Object& after)>;
  // Index values of an object, e.g. {pod.spec().nodeName()}. Pure; may run on any thread.
  using IndexFunction = std::function<std::vector<std::string>(const schema::Object&)>;

  virtual ~Cache() = default;
  virtual bool synced() const = 0;
  virtual schema::Object get(const Key& key) const = 0;                                  // null when absent
  virtual std::vector<schema::Object> list(std::string_view namespace_ = {}) const = 0;  // ordered by key
  // Ordered by key; an index that was never added is an assertion failure.
  virtual std::vector<schema::Object> by_index(std::string_view index, std::string_view value) const = 0;
  // Before start or after: reindexes. A second index of the same name is ignored (loops share indexes by name).
  virtual void add_index(std::string name, IndexFunction function) = 0;
  // Existing objects are replayed to a new handler as added.
  virtual void add_handler(Handler handler) = 0;
  // Runs on the executor once the first list is in and its objects went to the handlers added so far.
  virtual void when_synced(std::function<void()> callback) = 0;
  virtual size_t size() const = 0;
  virtual const Resource& resource() const = 0;
  // Revision of the newest state that list, watch or bookmark brought; 0 before the first list.
  virtual int64_t revision() const = 0;
  // Takes in the answer of a write. Ignored when the cache already knows something newer.
  virtual void assume(schema::Object object) = 0;
  // After an accepted delete: shows the object with a deletionTimestamp until the watch says more. `uid` empty: any.
  virtual void assume_removed(const Key& key, std::string_view uid) = 0;
};

class Caches {
 public:
  // `client` and `executor` outlive the Caches. Reflectors' blocking lists run on `executor`.
  static std::unique_ptr<Caches> create(Client& client, run::Executor& executor);
  virtual ~Caches() = default;  // stops every reflector; waits for running handlers
  // The same cache for the same resource and options; started on first use.
  virtual Cache& of(const Resource& resource, const ListOptions& options = {}) = 0;
  virtual bool all_synced() const = 0;
  // The given client; what it writes is in the (unfiltered) caches when the call returns.
  virtual Client& client() = 0;
  virtual run::Executor& executor() = 0;
};

}  // namespace dure::client
