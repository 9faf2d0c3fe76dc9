// Cache: the newest known state of one collection, kept by a reflector (list, then watch, with bookmarks; on 410 or a break it
// lists again with back-off). Readers get shared immutable objects.
//
// Owner: Caches, one per process, hands out one Cache per (Resource, selector) and starts it once. Thread: reads from any thread;
// handlers run on the executor, one at a time per cache, in order.
#pragma once

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
  // `before` null: added; `after` null: deleted. Handlers are hints: they must not hold truth, only keys.
  using Handler = std::function<void(const schema::Object& before, const schema::Object& after)>;
  // Index values of an object, e.g. {pod.spec().nodeName()}.
  using IndexFunction = std::function<std::vector<std::string>(const schema::Object&)>;

  virtual ~Cache() = default;
  virtual bool synced() const = 0;
  virtual schema::Object get(const Key& key) const = 0;  // null when absent
  virtual std::vector<schema::Object> list(std::string_view namespace_ = {}) const = 0;
  virtual std::vector<schema::Object> by_index(std::string_view index, std::string_view value) const = 0;
  virtual void add_index(std::string name, IndexFunction function) = 0;  // before start or after: reindexes
  // Existing objects are replayed to a new handler as added.
  virtual void add_handler(Handler handler) = 0;
  virtual size_t size() const = 0;
  virtual const Resource& resource() const = 0;
};

class Caches {
 public:
  // `client` and `executor` outlive the Caches. Reflectors' blocking lists run on `executor`.
  static std::unique_ptr<Caches> create(Client& client, run::Executor& executor);
  virtual ~Caches() = default;  // stops every reflector
  // The same cache for the same resource and options; started on first use.
  virtual Cache& of(const Resource& resource, const ListOptions& options = {}) = 0;
  virtual bool all_synced() const = 0;
};

}  // namespace dure::client
