// ReflectedCache: one Cache with its reflector. Internal to client/.
//
// Data (items, indexes, waiting changes) is behind data_mutex_ and changes on whatever thread brings news. The
// reflector's steps and the handlers run on the executor, each serialised by a mutex of its own, never while
// data_mutex_ is held.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <unordered_map>

#include "client/cache.h"

namespace dure::client {

class ReflectedCache final : public Cache, private WatchSink, public std::enable_shared_from_this<ReflectedCache> {
 public:
  ReflectedCache(Client& client, run::Executor& executor, const Resource& resource, ListOptions options);
  void start();
  void stop();  // no handler runs and no call is made after it returned

  bool synced() const override;
  schema::Object get(const Key& key) const override;
  std::vector<schema::Object> list(std::string_view namespace_) const override;
  std::vector<schema::Object> by_index(std::string_view index, std::string_view value) const override;
  void add_index(std::string name, IndexFunction function) override;
  void add_handler(Handler handler) override;
  void when_synced(std::function<void()> callback) override;
  size_t size() const override;
  const Resource& resource() const override { return resource_; }
  int64_t revision() const override;
  void assume(schema::Object object) override;
  void assume_removed(const Key& key, std::string_view uid) override;

 private:
  struct Item {
    schema::Object object;
    int64_t revision = 0;
  };
  struct Index {
    IndexFunction function;
    std::unordered_map<std::string, std::set<Key>> keys;
  };
  struct Change {
    schema::Object before, after;
  };
  using Items = std::map<Key, Item>;

  void on_event(WatchEvent event) override;
  void on_end(Error why) override;

  // The reflector; each under step_mutex_.
  void step();
  Status relist();
  Status rewatch();
  void step_later(Duration delay);
  void guard_silence(Duration delay);

  // Under data_mutex_.
  void put(const Key& key, schema::Object object, int64_t revision);
  void erase(Items::iterator at);
  void unindex(const Key& key, const schema::Object& object);
  void index(const Key& key, const schema::Object& object);
  void note(const Key& key, schema::Object before, schema::Object after);
  void schedule_delivery();
  void replace_all(const std::vector<schema::Object>& objects, int64_t revision);

  void deliver();

  Client& client_;
  run::Executor& executor_;
  const Resource& resource_;
  const ListOptions options_;

  mutable std::mutex data_mutex_;
  Items items_;
  std::map<std::string, Index, std::less<>> indexes_;
  int64_t revision_ = 0;
  std::string resource_version_;
  Monotonic last_news_{};
  bool synced_ = false, delivery_scheduled_ = false, watch_ended_ = true, must_list_ = true, stopped_ = false;
  std::deque<Change> changes_;
  std::map<Key, size_t> waiting_;  // key -> number of its waiting change, counted from first_change_
  size_t first_change_ = 0;
  std::vector<Handler> new_handlers_;
  std::vector<std::function<void()>> new_sync_callbacks_;

  std::mutex delivery_mutex_;
  std::vector<Handler> handlers_;  // under delivery_mutex_
  std::mutex step_mutex_;
  std::unique_ptr<Watch> watch_;       // under step_mutex_
  std::unique_ptr<run::Timer> retry_;  // under step_mutex_
  int failures_ = 0;                   // under step_mutex_
  Monotonic watch_started_{};          // under step_mutex_
  std::unique_ptr<run::Timer> guard_;  // under step_mutex_
};

}  // namespace dure::client
