#include "client/reflected_cache.h"

#include <algorithm>

#include "base/log.h"
#include "base/text.h"
#include "client/object_meta.h"

namespace dure::client {
namespace {

constexpr int64_t list_page_items = 500;
constexpr Duration retry_first = 200ms, retry_max = 30s;
// A watch that lived this long was healthy: the next break starts the back-off from its beginning.
constexpr Duration watch_healthy = 5s;
// Connections notice their own death (HTTP/2 pings); this is for a watch that was lost behind a healthy one. Long,
// because a server need not send bookmarks while nothing changes.
constexpr Duration silence_max = 15min;

Duration back_off(int failures) {
  Duration delay = retry_first;
  for (int i = 1; i < failures && delay < retry_max; ++i) delay *= 2;
  return std::min(delay, retry_max);
}

schema::Object marked_terminating(const schema::Object& object, WallTime now) {
  schema::Document copy = object->clone();
  schema::Node* metadata = copy.member(copy.root(), "metadata");
  copy.set(copy.member(metadata, "deletionTimestamp"), std::string_view(format_time(now)));
  return schema::share(std::move(copy));
}

}  // namespace

ReflectedCache::ReflectedCache(Client& client, run::Executor& executor, const Resource& resource, ListOptions options)
    : client_(client), executor_(executor), resource_(resource), options_(std::move(options)) {}

void ReflectedCache::start() {
  executor_.post([self = shared_from_this()] { self->step(); });
}

void ReflectedCache::stop() {
  {
    std::lock_guard lock(data_mutex_);
    stopped_ = true;
  }
  {
    std::lock_guard lock(step_mutex_);
    watch_.reset();
    retry_.reset();
    guard_.reset();
  }
  // Handlers may refer to things that end with us.
  std::lock_guard delivery(delivery_mutex_);
  handlers_.clear();
  std::lock_guard lock(data_mutex_);
  new_handlers_.clear();
  new_sync_callbacks_.clear();
  for (auto& [name, index] : indexes_)
    index.function = [](const schema::Object&) { return std::vector<std::string>{}; };
}

// --- Reading

bool ReflectedCache::synced() const {
  std::lock_guard lock(data_mutex_);
  return synced_;
}

schema::Object ReflectedCache::get(const Key& key) const {
  std::lock_guard lock(data_mutex_);
  auto at = items_.find(key);
  return at == items_.end() ? nullptr : at->second.object;
}

std::vector<schema::Object> ReflectedCache::list(std::string_view namespace_) const {
  std::vector<schema::Object> objects;
  std::lock_guard lock(data_mutex_);
  if (namespace_.empty()) objects.reserve(items_.size());
  for (auto at = items_.lower_bound(Key{std::string(namespace_), {}}); at != items_.end(); ++at) {
    if (!namespace_.empty() && at->first.namespace_ != namespace_) break;
    objects.push_back(at->second.object);
  }
  return objects;
}

std::vector<schema::Object> ReflectedCache::by_index(std::string_view index, std::string_view value) const {
  std::vector<schema::Object> objects;
  std::lock_guard lock(data_mutex_);
  auto at = indexes_.find(index);
  DURE_ASSERT(at != indexes_.end());
  auto keys = at->second.keys.find(std::string(value));
  if (keys == at->second.keys.end()) return objects;
  objects.reserve(keys->second.size());
  for (const Key& key : keys->second) objects.push_back(items_.at(key).object);
  return objects;
}

size_t ReflectedCache::size() const {
  std::lock_guard lock(data_mutex_);
  return items_.size();
}

int64_t ReflectedCache::revision() const {
  std::lock_guard lock(data_mutex_);
  return revision_;
}

void ReflectedCache::add_index(std::string name, IndexFunction function) {
  std::lock_guard lock(data_mutex_);
  auto [at, is_new] = indexes_.try_emplace(std::move(name));
  if (!is_new) return;
  at->second.function = std::move(function);
  for (const auto& [key, item] : items_)
    for (std::string& value : at->second.function(item.object)) at->second.keys[std::move(value)].insert(key);
}

void ReflectedCache::add_handler(Handler handler) {
  std::lock_guard lock(data_mutex_);
  new_handlers_.push_back(std::move(handler));
  schedule_delivery();
}

void ReflectedCache::when_synced(std::function<void()> callback) {
  std::lock_guard lock(data_mutex_);
  new_sync_callbacks_.push_back(std::move(callback));
  if (synced_) schedule_delivery();
}

// --- Changing; all under data_mutex_

void ReflectedCache::unindex(const Key& key, const schema::Object& object) {
  for (auto& [name, index] : indexes_)
    for (const std::string& value : index.function(object)) {
      auto at = index.keys.find(value);
      if (at == index.keys.end()) continue;
      at->second.erase(key);
      if (at->second.empty()) index.keys.erase(at);
    }
}

void ReflectedCache::index(const Key& key, const schema::Object& object) {
  for (auto& [name, index] : indexes_)
    for (std::string& value : index.function(object)) index.keys[std::move(value)].insert(key);
}

void ReflectedCache::note(const Key& key, schema::Object before, schema::Object after) {
  auto [at, is_new] = waiting_.try_emplace(key, first_change_ + changes_.size());
  if (is_new) {
    changes_.push_back({std::move(before), std::move(after)});
  } else {
    // The handlers have not seen `before` yet: what they compare with stays. Without one (made and gone again) the last
    // state is still shown, so that nobody misses that there was something.
    Change& change = changes_[at->second - first_change_];
    if (!change.before && !after) change.before = std::move(before);
    change.after = std::move(after);
  }
  schedule_delivery();
}

void ReflectedCache::schedule_delivery() {
  if (delivery_scheduled_ || stopped_) return;
  delivery_scheduled_ = true;
  executor_.post([self = shared_from_this()] { self->deliver(); });
}

void ReflectedCache::put(const Key& key, schema::Object object, int64_t revision) {
  auto [at, is_new] = items_.try_emplace(key);
  schema::Object before = std::move(at->second.object);
  if (before) unindex(key, before);
  at->second = {object, revision};
  index(key, object);
  note(key, std::move(before), std::move(object));
}

void ReflectedCache::erase(Items::iterator at) {
  const Key key = at->first;
  schema::Object before = std::move(at->second.object);
  unindex(key, before);
  items_.erase(at);
  note(key, std::move(before), nullptr);
}

void ReflectedCache::replace_all(const std::vector<schema::Object>& objects, int64_t revision) {
  std::set<Key> listed;
  for (const schema::Object& object : objects) {
    Key key = key_of(object);
    auto at = items_.find(key);
    const int64_t object_revision = revision_of(object);
    if (at == items_.end() || at->second.revision < object_revision || object_revision == 0)
      put(key, object, object_revision);
    listed.insert(std::move(key));
  }
  std::vector<Key> gone;
  for (const auto& [key, item] : items_)
    // Newer than the list: our own write, which the list could not see.
    if (!listed.contains(key) && item.revision <= revision) gone.push_back(key);
  for (const Key& key : gone) erase(items_.find(key));
  revision_ = std::max(revision_, revision);
}

void ReflectedCache::assume(schema::Object object) {
  const Key key = key_of(object);
  const int64_t revision = revision_of(object);
  std::lock_guard lock(data_mutex_);
  if (!synced_ || stopped_) return;
  auto at = items_.find(key);
  // An absent object that the watch is already past was deleted meanwhile.
  const bool stale = at == items_.end() ? revision <= revision_ : revision <= at->second.revision;
  if (!stale) put(key, std::move(object), revision);
}

void ReflectedCache::assume_removed(const Key& key, std::string_view uid) {
  std::lock_guard lock(data_mutex_);
  if (!synced_ || stopped_) return;
  auto at = items_.find(key);
  if (at == items_.end() || (!uid.empty() && uid_of(at->second.object) != uid)) return;
  if (is_terminating(at->second.object)) return;
  put(key, marked_terminating(at->second.object, executor_.wall_now()), at->second.revision);
}

// --- The watch

void ReflectedCache::on_event(WatchEvent event) {
  const int64_t revision = revision_of(event.object);
  std::lock_guard lock(data_mutex_);
  last_news_ = executor_.now();
  revision_ = std::max(revision_, revision);
  resource_version_ = std::string(resource_version_of(event.object));
  if (event.kind == WatchEvent::Kind::bookmark) return;
  const Key key = key_of(event.object);
  auto at = items_.find(key);
  if (event.kind == WatchEvent::Kind::deleted) {
    // A newer one that was made under the same name is not meant.
    if (at != items_.end() && (revision == 0 || at->second.revision <= revision)) erase(at);
    return;
  }
  // Our own write coming back, or older than it.
  if (at != items_.end() && revision != 0 && at->second.revision >= revision) return;
  put(key, std::move(event.object), revision);
}

void ReflectedCache::on_end(Error why) {
  std::lock_guard lock(data_mutex_);
  watch_ended_ = true;
  if (why.code == 410 || why.is("Expired") || why.is("Gone")) must_list_ = true;
  if (!stopped_) executor_.post([self = shared_from_this()] { self->step(); });
}

void ReflectedCache::step() {
  std::lock_guard step_lock(step_mutex_);
  bool must_list = false;
  {
    std::lock_guard lock(data_mutex_);
    if (stopped_ || !watch_ended_) return;
    must_list = must_list_;
  }
  if (watch_ && executor_.now() - watch_started_ > watch_healthy) failures_ = 0;
  const bool watch_broke_early = watch_ != nullptr && executor_.now() - watch_started_ <= watch_healthy;
  watch_.reset();
  if (watch_broke_early && !must_list) {
    // Servers that close every watch at once must not make us spin.
    step_later(back_off(++failures_));
    return;
  }
  Status done = must_list ? relist() : Status{};
  if (done) done = rewatch();
  if (done) {
    if (must_list) failures_ = 0;
    return;
  }
  const Error& error = done.error();
  std::lock_guard lock(data_mutex_);
  if (error.code == 410) must_list_ = true;
  log(LogLevel::debug, "client", "list or watch failed",
      {{"resource", resource_.qualified()}, {"error", error.message}});
  // Who says when to come again is believed: a tunnel that is down costs nothing to ask.
  ++failures_;
  step_later(error.retry_after_seconds > 0 ? Duration(std::chrono::seconds(error.retry_after_seconds))
                                           : back_off(failures_));
}

void ReflectedCache::step_later(Duration delay) {
  retry_ = executor_.after(delay, [self = shared_from_this()] { self->step(); });
}

void ReflectedCache::guard_silence(Duration delay) {
  guard_ = executor_.after(delay, [self = shared_from_this()] {
    std::lock_guard step_lock(self->step_mutex_);
    Duration left = Duration::zero();
    {
      std::lock_guard lock(self->data_mutex_);
      if (self->stopped_ || self->watch_ended_) return;
      left = silence_max - (self->executor_.now() - self->last_news_);
      if (left <= Duration::zero()) {
        self->watch_ended_ = true;
        self->executor_.post([self] { self->step(); });
        return;
      }
    }
    self->guard_silence(left);
  });
}

Status ReflectedCache::relist() {
  ListOptions page_options = options_;
  page_options.limit = list_page_items;
  std::vector<schema::Object> objects;
  std::string resource_version;
  do {
    DURE_TRY(ObjectList page, client_.list(resource_, page_options));
    std::move(page.items.begin(), page.items.end(), std::back_inserter(objects));
    if (!page.resource_version.empty()) resource_version = page.resource_version;
    page_options.continue_token = page.continue_token;
  } while (!page_options.continue_token.empty());

  std::lock_guard lock(data_mutex_);
  replace_all(objects, parse_int(resource_version).value_or(0));
  resource_version_ = resource_version;
  synced_ = true;
  must_list_ = false;
  schedule_delivery();
  return {};
}

Status ReflectedCache::rewatch() {
  ListOptions watch_options = options_;
  {
    std::lock_guard lock(data_mutex_);
    watch_options.resource_version = resource_version_;
    watch_ended_ = false;
    last_news_ = executor_.now();
  }
  watch_started_ = executor_.now();
  auto watch = client_.watch(resource_, watch_options, *this);
  if (watch) {
    watch_ = std::move(*watch);
    guard_silence(silence_max);
    return {};
  }
  std::lock_guard lock(data_mutex_);
  watch_ended_ = true;
  return fail(std::move(watch).error());
}

// --- Delivery

void ReflectedCache::deliver() {
  std::lock_guard delivery(delivery_mutex_);
  for (;;) {
    std::deque<Change> changes;
    std::vector<Handler> joining;
    std::vector<std::function<void()>> sync_callbacks;
    std::vector<schema::Object> replay;
    {
      std::lock_guard lock(data_mutex_);
      if (synced_) std::swap(sync_callbacks, new_sync_callbacks_);
      if (stopped_ || (changes_.empty() && new_handlers_.empty() && sync_callbacks.empty())) {
        delivery_scheduled_ = false;
        return;
      }
      std::swap(changes, changes_);
      first_change_ += changes.size();
      waiting_.clear();
      std::swap(joining, new_handlers_);
      if (!joining.empty())
        for (const auto& [key, item] : items_) replay.push_back(item.object);
    }
    for (const Change& change : changes)
      for (const Handler& handler : handlers_) handler(change.before, change.after);
    for (const schema::Object& object : replay)
      for (const Handler& handler : joining) handler(nullptr, object);
    std::move(joining.begin(), joining.end(), std::back_inserter(handlers_));
    for (const auto& callback : sync_callbacks) callback();
  }
}

}  // namespace dure::client
