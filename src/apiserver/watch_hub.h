// WatchHub: one watch on the store feeds every watcher of every resource.
//
// The store's events go into one bounded history per resource. Watchers that share an executor and a resource form a
// lane; new events cost the commit thread one `post` per lane, and the lane hands them to its watchers, each event
// encoded once per kind of output for all of them. A watcher is a table entry with a cursor into the history: one that
// cannot take more is skipped and catches up from the history when it can; one that the history has passed is ended
// with 410 Expired. Nothing is queued per watcher.
//
// Owner: the Api; outlives every Subscription. Thread: any; a watcher's callbacks run on its executor, one at a time.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "apiserver/catalog.h"
#include "apiserver/selector.h"
#include "base/result.h"
#include "run/loop.h"
#include "schema/document.h"
#include "store/store.h"

namespace dure::apiserver {

enum class EventType : uint8_t { added, modified, deleted };
std::string_view event_name(EventType type);  // "ADDED"

// One change of one object, with whatever was made of it for watchers so far.
class WatchItem {
 public:
  WatchItem(store::Revision revision, store::Event event);
  explicit WatchItem(store::Entry entry);  // of an initial list: an addition at its own revision

  const store::Revision revision;
  const bool removed;
  const store::Entry entry;
  const std::optional<store::Entry> previous;

  // The state to show: the last one for deletions (and for objects that left the selection).
  const SharedBytes& shown(EventType type) const;
  const LabelList& labels(bool before);
  // Made once and shared while anybody holds it. `make` fills the string.
  std::shared_ptr<const std::string> encoded(EventType type, std::string_view output,
                                             const std::function<void(std::string&)>& make);
  schema::Object object(EventType type, const Served& served);
  void forget();  // the hub's own hold on encodings ends; watchers keep theirs

 private:
  struct Encoding {
    std::string output;
    EventType type;
    std::weak_ptr<const std::string> weak;
    std::shared_ptr<const std::string> strong;
  };
  struct Decoded {
    const Served* served;
    EventType type;
    std::weak_ptr<const schema::Document> weak;
    schema::Object strong;
  };
  std::mutex mutex_;
  std::vector<Encoding> encodings_;
  std::vector<Decoded> objects_;
  std::optional<LabelList> labels_, labels_before_;
};

class Watcher {
 public:
  virtual ~Watcher() = default;
  // False: no more for now; call Subscription::resume when there is room again. The event itself was taken.
  virtual bool deliver(EventType type, WatchItem& item) = 0;
  // Everything up to `revision` was delivered. `initial_end`: the initial list is complete.
  virtual bool bookmark(store::Revision revision, bool initial_end) = 0;
  virtual void ended(Error why) = 0;  // called once, last
};

struct WatchRequest {
  const Served* served = nullptr;
  std::string namespace_, name;  // empty: all
  Selector selector;
  store::Revision after = 0;          // events later than this
  std::vector<store::Entry> initial;  // delivered first as ADDED
  bool bookmarks = false, mark_initial_end = false;
};

class Subscription {  // ends the watch; no callback runs after the destructor returned
 public:
  virtual ~Subscription() = default;
  virtual void resume() = 0;  // thread: any
};

struct WatchLimits {
  size_t events_max = 16384;  // overflow act: the oldest is forgotten; watchers behind it get 410
  size_t bytes_max = 8 << 20;
  Duration bookmark_interval = 60s;
};

class WatchHub {
 public:
  WatchHub(store::Store& store, const Catalog& catalog, run::Executor& executor, WatchLimits limits = {});
  ~WatchHub();

  // 410 when `after` is older than the history. The first delivery happens later on `executor`.
  Result<std::unique_ptr<Subscription>> subscribe(WatchRequest request, run::Executor& executor, Watcher& watcher);
  store::Revision seen() const;  // events up to here are in the history
  size_t watchers() const;

  class Impl;  // in the source

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace dure::apiserver
