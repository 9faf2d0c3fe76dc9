#include "apiserver/watch_hub.h"

#include <algorithm>
#include <atomic>
#include <list>

#include <fmt/format.h>

#include "apiserver/codec.h"
#include "apiserver/stored.h"
#include "base/metric.h"

namespace dure::apiserver {

std::string_view event_name(EventType type) {
  switch (type) {
    case EventType::added:
      return "ADDED";
    case EventType::modified:
      return "MODIFIED";
    case EventType::deleted:
      return "DELETED";
  }
  return {};
}

// --- WatchItem

WatchItem::WatchItem(store::Revision revision, store::Event event)
    : revision(revision),
      removed(event.kind == store::Event::Kind::remove),
      entry(std::move(event.entry)),
      previous(std::move(event.previous)) {}

WatchItem::WatchItem(store::Entry entry) : revision(entry.mod_revision), removed(false), entry(std::move(entry)) {}

const SharedBytes& WatchItem::shown(EventType type) const {
  return type == EventType::deleted && previous ? previous->value : entry.value;
}

const LabelList& WatchItem::labels(bool before) {
  const std::scoped_lock lock(mutex_);
  std::optional<LabelList>& cached = before ? labels_before_ : labels_;
  if (!cached) {
    const SharedBytes* value = before ? (previous ? &previous->value : nullptr) : &entry.value;
    cached = value ? labels_of(stored_json(value->view())) : LabelList{};
  }
  return *cached;
}

std::shared_ptr<const std::string> WatchItem::encoded(EventType type, std::string_view output,
                                                      const std::function<void(std::string&)>& make) {
  const std::scoped_lock lock(mutex_);
  for (Encoding& e : encodings_) {
    if (e.type != type || e.output != output) continue;
    if (!e.strong) e.strong = e.weak.lock();
    if (e.strong) return e.strong;
    auto made = std::make_shared<std::string>();
    make(*made);
    e.weak = e.strong = made;
    return made;
  }
  auto made = std::make_shared<std::string>();
  make(*made);
  encodings_.push_back({std::string(output), type, made, made});
  return made;
}

schema::Object WatchItem::object(EventType type, const Served& served) {
  const std::scoped_lock lock(mutex_);
  for (Decoded& d : objects_) {
    if (d.served != &served || d.type != type) continue;
    if (auto held = d.weak.lock()) return held;
  }
  auto document = decode_object(served.storage->resource->type, shown(type), revision);
  if (!document) return nullptr;
  if (served.conversion) {
    schema::Document converted(*served.resource->type);
    if (!served.conversion->from_storage(*document, converted)) return nullptr;
    *document = std::move(converted);
  }
  schema::Object object = schema::share(std::move(*document));
  std::erase_if(objects_, [](const Decoded& d) { return d.weak.expired(); });
  objects_.push_back({&served, type, object, object});
  return object;
}

void WatchItem::forget() {
  const std::scoped_lock lock(mutex_);
  for (Encoding& e : encodings_) e.strong.reset();
  for (Decoded& d : objects_) d.strong.reset();
}

// --- WatchHub

namespace {

using ItemPtr = std::shared_ptr<WatchItem>;

// The events of one stored resource, oldest first, and the lanes that read them.
struct Lane;
struct History {
  const Served* served = nullptr;
  std::deque<ItemPtr> items;
  store::Revision floor = 0;  // events up to here are not (no longer) in `items`
  std::vector<std::shared_ptr<Lane>> lanes;
};

struct Entry;

struct Lane : std::enable_shared_from_this<Lane> {
  Lane(run::Executor& executor, History* history) : executor(executor), history(history) {}
  run::Executor& executor;
  History* const history;
  // Recursive: a watcher may end its own subscription from inside a callback.
  std::recursive_mutex mutex;
  std::list<std::shared_ptr<Entry>> entries;  // under mutex
  bool drain_wanted = false;                  // under the hub's mutex
};

// One watcher.
struct Entry {
  WatchRequest request;
  std::string key_prefix;
  Watcher* watcher = nullptr;  // null: ended or destroyed
  store::Revision cursor = 0;  // everything up to here was delivered or did not match
  store::Revision told = 0;    // revision of the last delivery or bookmark
  size_t initial_at = 0;
  bool initial_done = false, paused = false;
  std::shared_ptr<Lane> lane;
};

bool selected(const Selector& selector, WatchItem& item, bool before) {
  if (selector.empty()) return true;
  const SharedBytes& value = before ? item.previous->value : item.entry.value;
  if (!selector.fields.empty() && !selector.fields.matches(stored_json(value.view()))) return false;
  return selector.labels.empty() || selector.labels.matches(item.labels(before));
}

// What this change is to somebody who sees only the selected objects.
std::optional<EventType> seen_as(const Selector& selector, WatchItem& item) {
  const bool now = !item.removed && selected(selector, item, false);
  const bool before = item.previous && selected(selector, item, true);
  if (now) return before ? EventType::modified : EventType::added;
  if (before) return EventType::deleted;
  return std::nullopt;
}

bool key_matches(const Entry& entry, const std::string& key) {
  if (!entry.request.name.empty() && !entry.key_prefix.ends_with('/')) return key == entry.key_prefix;
  return key.starts_with(entry.key_prefix);
}

Error too_old(store::Revision after, store::Revision floor) {
  return gone(fmt::format("too old resource version: {} ({})", after, floor));
}

}  // namespace

class WatchHub::Impl : public store::WatchSink, public std::enable_shared_from_this<WatchHub::Impl> {
 public:
  Impl(store::Store& store, const Catalog& catalog, run::Executor& executor, WatchLimits limits)
      : store_(store), catalog_(catalog), executor_(executor), limits_(limits) {
    for (const Served& served : catalog.all())
      if (served.stored && served.storage == &served) histories_[&served].served = &served;
  }

  void start() {
    store::Revision from = store_.compacted();
    set_floor(from);
    auto watch = store_.watch("/registry/", from, *this);
    if (!watch) {  // compacted in between: begin with what comes now
      from = store_.revision();
      set_floor(from);
      watch = store_.watch("/registry/", from, *this);
    }
    if (watch) watch_ = std::move(*watch);
  }

  void stop() {
    watch_.reset();
    const std::scoped_lock lock(mutex_);
    stopped_ = true;
    bookmark_timer_.reset();
  }

  void on_events(store::Revision revision, std::span<const store::Event> events) override {
    std::vector<std::shared_ptr<Lane>> wake;
    {
      const std::scoped_lock lock(mutex_);
      for (const store::Event& event : events) append(revision, event, wake);
      seen_ = std::max(seen_, revision);
      trim();
    }
    for (auto& lane : wake) post_drain(std::move(lane));
  }

  Result<std::unique_ptr<Subscription>> subscribe(WatchRequest request, run::Executor& executor, Watcher& watcher);

  store::Revision seen() const {
    const std::scoped_lock lock(mutex_);
    return std::max(seen_, base_);
  }
  size_t watchers() const { return count_.load(); }

  void pump(Entry& entry) {  // with the lane's mutex held
    std::vector<ItemPtr> touched;
    pump(entry, touched);
    forget(touched);
  }
  void post_drain(std::shared_ptr<Lane> lane) {
    run::Executor& on = lane->executor;
    on.post([self = shared_from_this(), lane = std::move(lane)] { self->drain(*lane); });
  }
  void leave(const std::shared_ptr<Entry>& entry);

 private:
  void set_floor(store::Revision revision) {
    const std::scoped_lock lock(mutex_);
    base_ = revision;
    for (auto& [served, history] : histories_) history.floor = revision;
  }

  void append(store::Revision revision, const store::Event& event, std::vector<std::shared_ptr<Lane>>& wake) {
    const Served* served = catalog_.by_key(event.entry.key);
    if (!served) return;
    History& history = histories_[served];
    auto item = std::make_shared<WatchItem>(revision, event);
    bytes_ += item->entry.value.size() + 200;
    history.items.push_back(std::move(item));
    order_.push_back(&history);
    for (auto& lane : history.lanes) {
      if (lane->drain_wanted) continue;
      lane->drain_wanted = true;
      wake.push_back(lane);
    }
  }

  void trim() {
    while (!order_.empty() && (order_.size() > limits_.events_max || bytes_ > limits_.bytes_max)) {
      History& history = *order_.front();
      order_.pop_front();
      bytes_ -= history.items.front()->entry.value.size() + 200;
      history.floor = history.items.front()->revision;
      history.items.pop_front();
    }
  }

  void drain(Lane& lane) {
    const std::scoped_lock lane_lock(lane.mutex);
    {
      const std::scoped_lock lock(mutex_);
      lane.drain_wanted = false;
    }
    std::vector<ItemPtr> touched;
    for (auto at = lane.entries.begin(); at != lane.entries.end();) {
      const std::shared_ptr<Entry> entry = *at++;  // a callback may remove it
      if (entry->watcher && !entry->paused) pump(*entry, touched);
    }
    forget(touched);
  }

  // What was made of an event for one watcher serves the others of the lane, and no one after them.
  static void forget(const std::vector<ItemPtr>& touched) {
    for (const ItemPtr& item : touched) item->forget();
  }
  void pump(Entry& entry, std::vector<ItemPtr>& touched);
  bool pump_initial(Entry& entry);
  std::vector<ItemPtr> later_than(const History& history, store::Revision after, size_t limit) const;
  void end(Entry& entry, Error why);
  void arm_bookmarks();
  void send_bookmarks();

  store::Store& store_;
  const Catalog& catalog_;
  run::Executor& executor_;
  const WatchLimits limits_;

  mutable std::mutex mutex_;  // taken after a lane's mutex, never before
  std::unordered_map<const Served*, History> histories_;
  std::deque<History*> order_;  // of all items, oldest first
  size_t bytes_ = 0;
  store::Revision seen_ = 0, base_ = 0;
  std::unique_ptr<run::Timer> bookmark_timer_;
  bool stopped_ = false;

  std::atomic<size_t> count_{0};
  Metric deliveries_{Metric::Kind::counter, "apiserver_watch_events_total", {}, "watch events delivered"};
  std::unique_ptr<store::Watch> watch_;
};

namespace {

class HubSubscription : public Subscription {
 public:
  HubSubscription(std::shared_ptr<WatchHub::Impl> hub, std::shared_ptr<Entry> entry);
  ~HubSubscription() override;
  void resume() override;

 private:
  std::shared_ptr<WatchHub::Impl> hub_;
  std::shared_ptr<Entry> entry_;
};

}  // namespace

std::vector<ItemPtr> WatchHub::Impl::later_than(const History& history, store::Revision after, size_t limit) const {
  auto at = std::upper_bound(history.items.begin(), history.items.end(), after,
                             [](store::Revision r, const ItemPtr& item) { return r < item->revision; });
  std::vector<ItemPtr> items;
  // whole revisions only: the cursor moves from revision to revision
  for (; at != history.items.end(); ++at) {
    if (items.size() >= limit && (*at)->revision != items.back()->revision) break;
    items.push_back(*at);
  }
  return items;
}

bool WatchHub::Impl::pump_initial(Entry& entry) {
  while (entry.initial_at < entry.request.initial.size()) {
    WatchItem item(std::move(entry.request.initial[entry.initial_at++]));
    deliveries_.add();
    if (!entry.watcher->deliver(EventType::added, item)) entry.paused = true;
    if (!entry.watcher || entry.paused) return false;
  }
  entry.request.initial = {};
  entry.initial_done = true;
  if (entry.request.mark_initial_end && entry.watcher) {
    entry.told = entry.cursor;
    if (!entry.watcher->bookmark(entry.cursor, true)) entry.paused = true;
  }
  return entry.watcher && !entry.paused;
}

void WatchHub::Impl::pump(Entry& entry, std::vector<ItemPtr>& touched) {
  if (!entry.initial_done && !pump_initial(entry)) return;
  for (;;) {
    std::vector<ItemPtr> items;
    store::Revision reached, floor;
    {
      const std::scoped_lock lock(mutex_);
      const History& history = *entry.lane->history;
      floor = history.floor;
      if (entry.cursor >= floor) items = later_than(history, entry.cursor, 256);
      reached = items.size() >= 256 ? items.back()->revision : std::max(seen_, entry.cursor);
    }
    if (entry.cursor < floor) return end(entry, too_old(entry.cursor, floor));
    for (ItemPtr& item : items) {
      if (item->revision > entry.cursor && entry.paused) return;  // stop between revisions only
      if (!key_matches(entry, item->entry.key)) continue;
      const auto type = seen_as(entry.request.selector, *item);
      if (!type) continue;
      deliveries_.add();
      entry.told = item->revision;
      entry.cursor = std::max(entry.cursor, item->revision);
      if (!entry.watcher->deliver(*type, *item)) entry.paused = true;
      touched.push_back(item);
      if (!entry.watcher) return;
    }
    if (entry.paused) return;
    entry.cursor = std::max(entry.cursor, reached);
    if (items.size() < 256) return;
  }
}

void WatchHub::Impl::end(Entry& entry, Error why) {
  Watcher* watcher = std::exchange(entry.watcher, nullptr);
  if (watcher) watcher->ended(std::move(why));
}

Result<std::unique_ptr<Subscription>> WatchHub::Impl::subscribe(WatchRequest request, run::Executor& executor,
                                                                Watcher& watcher) {
  auto entry = std::make_shared<Entry>();
  const Served& served = *request.served;
  entry->key_prefix = request.name.empty() || (served.resource->namespaced && request.namespace_.empty())
                          ? served.key_prefix(served.resource->namespaced ? request.namespace_ : "")
                          : served.key(request.namespace_, request.name);
  entry->cursor = entry->told = request.after;
  entry->watcher = &watcher;
  entry->request = std::move(request);
  {
    const std::scoped_lock lock(mutex_);
    History& history = histories_[served.storage];
    if (entry->cursor < history.floor) return fail(too_old(entry->cursor, history.floor));
    for (auto& lane : history.lanes)
      if (&lane->executor == &executor) entry->lane = lane;
    if (!entry->lane) {
      entry->lane = std::make_shared<Lane>(executor, &history);
      history.lanes.push_back(entry->lane);
    }
  }
  {
    const std::scoped_lock lane_lock(entry->lane->mutex);
    entry->lane->entries.push_back(entry);
    // the lane's last watcher may have left, and the lane with it, since it was found
    const std::scoped_lock lock(mutex_);
    auto& lanes = entry->lane->history->lanes;
    if (std::find(lanes.begin(), lanes.end(), entry->lane) == lanes.end()) lanes.push_back(entry->lane);
  }
  ++count_;
  if (entry->request.bookmarks) arm_bookmarks();
  auto subscription = std::make_unique<HubSubscription>(shared_from_this(), entry);
  entry->lane->executor.post([self = shared_from_this(), entry] {
    const std::scoped_lock lane_lock(entry->lane->mutex);
    if (entry->watcher && !entry->paused) self->pump(*entry);
  });
  return subscription;
}

void WatchHub::Impl::leave(const std::shared_ptr<Entry>& entry) {
  const std::shared_ptr<Lane> lane = entry->lane;
  const std::scoped_lock lane_lock(lane->mutex);
  entry->watcher = nullptr;
  lane->entries.remove(entry);
  --count_;
  if (!lane->entries.empty()) return;
  const std::scoped_lock lock(mutex_);
  std::erase(lane->history->lanes, lane);
}

void WatchHub::Impl::arm_bookmarks() {
  const std::scoped_lock lock(mutex_);
  if (bookmark_timer_ || stopped_) return;
  bookmark_timer_ = executor_.after(limits_.bookmark_interval, [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->send_bookmarks();
  });
}

void WatchHub::Impl::send_bookmarks() {
  std::vector<std::shared_ptr<Lane>> lanes;
  std::unique_ptr<run::Timer> old;
  {
    const std::scoped_lock lock(mutex_);
    old = std::move(bookmark_timer_);
    // In the catalog's order, not in that of addresses: one seed is one history.
    for (const Served& served : catalog_.all())
      if (const auto at = histories_.find(&served); at != histories_.end())
        lanes.insert(lanes.end(), at->second.lanes.begin(), at->second.lanes.end());
  }
  for (auto& lane : lanes) {
    run::Executor& on = lane->executor;
    on.post([self = shared_from_this(), lane] {
      const std::scoped_lock lane_lock(lane->mutex);
      for (auto at = lane->entries.begin(); at != lane->entries.end();) {
        const std::shared_ptr<Entry> entry = *at++;
        if (!entry->watcher || entry->paused || !entry->request.bookmarks) continue;
        self->pump(*entry);
        if (!entry->watcher || entry->paused || !entry->initial_done || entry->told == entry->cursor) continue;
        entry->told = entry->cursor;
        if (!entry->watcher->bookmark(entry->cursor, false)) entry->paused = true;
      }
    });
  }
  if (!lanes.empty()) arm_bookmarks();
}

namespace {

HubSubscription::HubSubscription(std::shared_ptr<WatchHub::Impl> hub, std::shared_ptr<Entry> entry)
    : hub_(std::move(hub)), entry_(std::move(entry)) {}

HubSubscription::~HubSubscription() { hub_->leave(entry_); }

void HubSubscription::resume() {
  entry_->lane->executor.post([hub = hub_, entry = entry_] {
    const std::scoped_lock lane_lock(entry->lane->mutex);
    entry->paused = false;
    if (entry->watcher) hub->pump(*entry);
  });
}

}  // namespace

WatchHub::WatchHub(store::Store& store, const Catalog& catalog, run::Executor& executor, WatchLimits limits)
    : impl_(std::make_shared<Impl>(store, catalog, executor, limits)) {
  impl_->start();
}

WatchHub::~WatchHub() { impl_->stop(); }

Result<std::unique_ptr<Subscription>> WatchHub::subscribe(WatchRequest request, run::Executor& executor,
                                                          Watcher& watcher) {
  return impl_->subscribe(std::move(request), executor, watcher);
}

store::Revision WatchHub::seen() const { return impl_->seen(); }
size_t WatchHub::watchers() const { return impl_->watchers(); }

}  // namespace dure::apiserver
