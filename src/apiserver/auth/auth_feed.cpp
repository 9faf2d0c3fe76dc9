#include "apiserver/auth/auth_feed.h"

#include "apiserver/peek.h"
#include "apiserver/stored.h"
#include "base/log.h"

namespace dure::apiserver {

Status Auth::Feed::start() {
  const std::string prefix = served_.key_prefix({});
  DURE_TRY(const store::Page page, api_.store().range({.start = prefix, .end = store::prefix_end(prefix)}));
  DURE_CHECK(load(page));
  subscription_.reset();
  WatchRequest request;
  request.served = &served_;
  request.after = page.revision;
  DURE_TRY(subscription_, api_.watch_unasked(std::move(request), executor_, *this));
  return {};
}

Status Auth::Feed::load(const store::Page& page) {
  if (row_.only_its_end) {
    auth_.authenticator_.objects_changed();
    return {};
  }
  std::set<std::string, std::less<>> gone = known_;
  for (const store::Entry& entry : page.entries) {
    gone.erase(entry.key);
    DURE_TRY(schema::Document document, decode(served_, entry));
    change(entry.key, schema::share(std::move(document)));
  }
  for (const std::string& key : gone) change(key, nullptr);
  return {};
}

void Auth::Feed::change(std::string_view key, const schema::Object& object) {
  const Served::Name name = served_.name_of(key);
  if (!row_.only_its_end && object)
    known_.emplace(key);
  else if (const auto found = known_.find(key); found != known_.end())
    known_.erase(found);
  auth_.on_change(row_.group, row_.resource, name.namespace_, name.name, object);
}

// Most writes are about status: they are told from the stored text, without decoding it.
bool Auth::Feed::matters(EventType type, const WatchItem& item) const {
  if (type == EventType::deleted) return true;
  const std::string_view json = stored_json(item.entry.value.view());
  if (!json_path(json, "metadata.deletionTimestamp").empty()) return true;
  if (row_.only_its_end) return false;
  if (row_.resource != "pods" || !item.previous) return true;
  return json_member(json, "spec") != json_member(stored_json(item.previous->value.view()), "spec");
}

bool Auth::Feed::deliver(EventType type, WatchItem& item) {
  if (matters(type, item)) change(item.entry.key, type == EventType::deleted ? nullptr : item.object(type, served_));
  return true;
}

void Auth::Feed::ended(Error why) {
  log(LogLevel::warn, "apiserver", "authorization reads its objects anew",
      {{"resource", std::string(row_.resource)}, {"why", why.message}});
  // Not from inside the subscription's own callback.
  again_ = later_.after(100ms, [this] {
    if (auto status = start(); !status) ended(status.error());
  });
}

Auth::~Auth() = default;

Status Auth::attach(Api& api, run::Executor& executor) {
  for (const Followed& row : followed()) {
    const Served* served = api.catalog().find(row.group, row.resource);
    if (!served || !served->stored) continue;
    feeds_.push_back(std::make_unique<Feed>(*this, api, executor, *served, row));
    DURE_CHECK(feeds_.back()->start());
  }
  return {};
}

ClusterState cluster_state_of(Api& api) {
  return {.get = [&api](std::string_view group, std::string_view resource, std::string_view ns,
                        std::string_view name) { return api.peek(group, resource, ns, name); },
          .list = [&api](std::string_view group, std::string_view resource,
                         std::string_view ns) { return api.peek_all(group, resource, ns); },
          .now = [&api] { return api.executor().wall_now(); }};
}

}  // namespace dure::apiserver
