#include "volumes/object_source.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <set>
#include <utility>

#include "base/log.h"
#include "client/object_meta.h"

namespace dure::volumes {

namespace {

constexpr Duration watch_again_first = 2s, watch_again_max = 30s;

// A server that is away comes back; one that does not allow it will not.
bool is_refusal(const Error& error) { return error.code == 401 || error.code == 403 || error.code == 405; }

}  // namespace

struct ObjectSource::State : std::enable_shared_from_this<ObjectSource::State> {
  using Id = std::pair<std::string, client::Key>;  // qualified resource name

  struct Entry;
  struct Sink : client::WatchSink {
    std::weak_ptr<State> state;
    Id id;
    uint64_t generation = 0;
    void on_event(client::WatchEvent event) override {
      auto self = state.lock();
      if (self && event.kind != client::WatchEvent::Kind::bookmark) self->changed(id, generation, event);
    }
    void on_end(Error) override {
      if (auto self = state.lock()) self->ended(id, generation);
    }
  };
  struct Entry {
    const client::Resource* resource = nullptr;
    schema::Object object;
    bool watched = false, known = false;
    Monotonic asked_at;
    std::set<std::string> users;
    uint64_t generation = 0;
    std::shared_ptr<Sink> sink;
    std::unique_ptr<client::Watch> watch;
    std::unique_ptr<run::Timer> timer;
    Duration pause = watch_again_first;
  };

  State(client::Client& client, run::Executor& executor, run::Executor& jobs,
        std::function<void(const std::string&)> on_change, Duration stale_after)
      : client(client), executor(executor), jobs(jobs), on_change(std::move(on_change)), stale_after(stale_after) {}

  void tell(const std::set<std::string>& users) {
    for (const std::string& user : users)
      jobs.post([weak = weak_from_this(), user] {
        if (auto self = weak.lock()) self->on_change(user);
      });
  }

  void changed(const Id& id, uint64_t generation, const client::WatchEvent& event) {
    std::lock_guard lock(mutex);
    auto found = entries.find(id);
    if (found == entries.end() || found->second.generation != generation) return;
    Entry& entry = found->second;
    schema::Object now = event.kind == client::WatchEvent::Kind::deleted ? nullptr : event.object;
    const bool same =
        now && entry.object && client::resource_version_of(now) == client::resource_version_of(entry.object);
    entry.object = std::move(now);
    if (!same) tell(entry.users);
  }

  void ended(const Id& id, uint64_t generation) {
    std::lock_guard lock(mutex);
    auto found = entries.find(id);
    if (found == entries.end() || found->second.generation != generation || closed) return;
    found->second.watched = false;
    watch_again(id, found->second);
  }

  // With the lock held.
  void watch_again(const Id& id, Entry& entry) {
    const Duration pause = std::exchange(entry.pause, std::min(entry.pause * 2, watch_again_max));
    entry.timer = executor.after(pause, [weak = weak_from_this(), id] {
      auto self = weak.lock();
      if (!self) return;
      self->jobs.post([weak, id] {
        auto again = weak.lock();
        if (again && again->refresh(id)) again->tell_users(id);
      });
    });
  }

  void tell_users(const Id& id) {
    std::lock_guard lock(mutex);
    if (auto found = entries.find(id); found != entries.end()) tell(found->second.users);
  }

  // Asks for the object now and tries to watch it from there, later again when that is not possible yet. What was
  // heard is the answer, also when somebody else asks at the same time and has the last word about the entry.
  Result<schema::Object> refresh(const Id& id) {
    const client::Resource* resource = nullptr;
    uint64_t generation = 0;
    std::unique_ptr<client::Watch> old;
    std::shared_ptr<Sink> old_sink;
    {
      std::lock_guard lock(mutex);
      auto found = entries.find(id);
      if (found == entries.end() || closed) return fail(unavailable("nobody uses this object any more"));
      resource = found->second.resource;
      generation = found->second.generation = ++generations;
      old = std::move(found->second.watch);
      old_sink = std::move(found->second.sink);
    }
    old.reset();
    client::ListOptions options;
    options.namespace_ = id.second.namespace_;
    options.field_selector = "metadata.name=" + id.second.name;
    auto list = client.list(*resource, options);
    if (!list) return refresh_by_get(id, generation, *resource, list.error());
    const schema::Object object = list->items.empty() ? nullptr : list->items.front();
    store(id, generation, object);
    options.resource_version = list->resource_version;
    auto sink = std::make_shared<Sink>();
    sink->state = weak_from_this();
    sink->id = id;
    sink->generation = generation;
    auto watch = client.watch(*resource, options, *sink);
    std::lock_guard lock(mutex);
    auto found = entries.find(id);
    if (found == entries.end() || found->second.generation != generation || closed) return object;
    Entry& entry = found->second;
    if (watch) {
      entry.watch = std::move(*watch);
      entry.sink = std::move(sink);
      entry.watched = true;
      entry.pause = watch_again_first;
    } else if (!is_refusal(watch.error())) {
      watch_again(id, entry);
    }
    return object;
  }

  Result<schema::Object> refresh_by_get(const Id& id, uint64_t generation, const client::Resource& resource,
                                        const Error& why_not_listed) {
    auto object = client.get(resource, id.second);
    const bool known = object || object.error().code == 404;
    if (known) store(id, generation, object ? *object : nullptr);
    std::lock_guard lock(mutex);
    auto found = entries.find(id);
    const bool ours = found != entries.end() && found->second.generation == generation && !closed;
    if (ours && !known) found->second.known = false;
    if (ours && !is_refusal(why_not_listed)) watch_again(id, found->second);
    if (known) return object ? *object : nullptr;
    return fail(std::move(object).error());
  }

  void store(const Id& id, uint64_t generation, schema::Object object) {
    std::lock_guard lock(mutex);
    auto found = entries.find(id);
    if (found == entries.end() || found->second.generation != generation) return;
    found->second.object = std::move(object);
    found->second.known = true;
    found->second.asked_at = executor.now();
  }

  client::Client& client;
  run::Executor& executor;
  run::Executor& jobs;
  std::function<void(const std::string&)> on_change;
  const Duration stale_after;
  mutable std::mutex mutex;
  std::map<Id, Entry> entries;
  uint64_t generations = 0;
  bool closed = false;
};

ObjectSource::ObjectSource(client::Client& client, run::Executor& executor, run::Executor& jobs,
                           std::function<void(const std::string&)> on_change, Duration stale_after)
    : state_(std::make_shared<State>(client, executor, jobs, std::move(on_change), stale_after)) {}

ObjectSource::~ObjectSource() {
  std::map<State::Id, State::Entry> gone;
  {
    std::lock_guard lock(state_->mutex);
    state_->closed = true;
    gone.swap(state_->entries);
  }
}

Result<schema::Object> ObjectSource::get(const client::Resource& resource, const client::Key& key,
                                         const std::string& user) {
  const State::Id id{resource.qualified(), key};
  {
    std::lock_guard lock(state_->mutex);
    State::Entry& entry = state_->entries[id];
    entry.resource = &resource;
    entry.users.insert(user);
    // An object that was not there may have come a moment ago: the caller is waiting for it, so ask.
    const bool fresh = entry.known && (entry.watched || state_->executor.now() - entry.asked_at < state_->stale_after);
    if (fresh && entry.object) return entry.object;
  }
  auto asked = state_->refresh(id);
  if (asked) return asked;
  // Somebody else may have had more luck meanwhile.
  std::lock_guard lock(state_->mutex);
  const auto found = state_->entries.find(id);
  if (found != state_->entries.end() && found->second.known) return found->second.object;
  return asked;
}

void ObjectSource::release(const std::string& user) {
  std::vector<State::Entry> gone;  // watches end outside the lock
  {
    std::lock_guard lock(state_->mutex);
    for (auto at = state_->entries.begin(); at != state_->entries.end();) {
      at->second.users.erase(user);
      if (!at->second.users.empty()) {
        ++at;
        continue;
      }
      gone.push_back(std::move(at->second));
      at = state_->entries.erase(at);
    }
  }
}

size_t ObjectSource::size() const {
  std::lock_guard lock(state_->mutex);
  return state_->entries.size();
}

}  // namespace dure::volumes
