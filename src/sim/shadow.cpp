#include "sim/shadow.h"

#include <fmt/format.h>

#include "client/object_meta.h"
#include "kinds/views/core_v1.h"

namespace dure::sim {

using client::Key;
using client::WatchEvent;

std::string Shadow::about(const schema::Object& object) const {
  return fmt::format("{} {}", resource_.plural, client::key_of(object).text());
}

void Shadow::step_after(Duration delay) {
  timer_ = executor_.after(delay, [this] { step(); });
}

void Shadow::step() {
  const std::unique_ptr<run::Timer> spent = std::move(timer_);
  watch_.reset();
  if (must_list_ && !list()) return step_after(500ms);
  client::ListOptions options;
  options.resource_version = resource_version_;
  auto watch = client_.watch(resource_, options, *this);
  if (watch) {
    watch_ = std::move(*watch);
    return;
  }
  must_list_ = must_list_ || watch.error().code == 410;
  step_after(500ms);
}

Status Shadow::list() {
  DURE_TRY(const client::ObjectList list, client_.list(resource_));
  std::map<Key, schema::Object> now;
  for (const schema::Object& object : list.items) {
    const Key key = client::key_of(object);
    if (auto old = objects_.find(key); old != objects_.end() && client::uid_of(old->second) == client::uid_of(object) &&
                                       client::revision_of(old->second) != client::revision_of(object))
      judge(old->second, object);
    now[key] = object;
  }
  objects_ = std::move(now);
  resource_version_ = list.resource_version;
  must_list_ = false;
  return {};
}

void Shadow::on_event(WatchEvent event) {
  resource_version_ = std::string(client::resource_version_of(event.object));
  if (event.kind == WatchEvent::Kind::bookmark) return;
  const Key key = client::key_of(event.object);
  const auto old = objects_.find(key);
  const bool known = old != objects_.end();
  if (event.kind == WatchEvent::Kind::added) {
    if (known) journal_.violation(fmt::format("watch: ADDED of {}, which is there", about(event.object)));
    objects_[key] = event.object;
    return;
  }
  if (!known) {
    journal_.violation(fmt::format("watch: {} of {}, which is not there",
                                   event.kind == WatchEvent::Kind::deleted ? "DELETED" : "MODIFIED",
                                   about(event.object)));
    return;
  }
  if (client::uid_of(old->second) != client::uid_of(event.object))
    journal_.violation(fmt::format("watch: {} became another object without being deleted", about(event.object)));
  else
    judge(old->second, event.object);
  if (event.kind == WatchEvent::Kind::deleted)
    objects_.erase(old);
  else
    old->second = event.object;
}

void Shadow::on_end(Error why) {
  must_list_ = must_list_ || why.code == 410;
  step_after(100ms);
}

void Shadow::judge(const schema::Object& before, const schema::Object& after) {
  if (client::revision_of(after) <= client::revision_of(before))
    journal_.violation(fmt::format("{} went from revision {} to {}", about(after), client::revision_of(before),
                                   client::revision_of(after)));
  if (client::generation_of(after) < client::generation_of(before))
    journal_.violation(fmt::format("{}: the generation went back", about(after)));
  if (client::is_terminating(before) && !client::is_terminating(after))
    journal_.violation(fmt::format("{}: the deletionTimestamp is gone", about(after)));
  if (client::meta_string(before, "creationTimestamp") != client::meta_string(after, "creationTimestamp"))
    journal_.violation(fmt::format("{}: the creationTimestamp changed", about(after)));
  if (resource_.plural == "pods") judge_pod(before, after);
}

void Shadow::judge_pod(const schema::Object& before, const schema::Object& after) {
  const kinds::core_v1::Pod old(before), now(after);
  if (!old.spec().nodeName().empty() && old.spec().nodeName() != now.spec().nodeName())
    journal_.violation(
        fmt::format("{} moved from {} to {}", about(after), old.spec().nodeName(), now.spec().nodeName()));
  const std::string_view phase = old.status().phase();
  if ((phase == "Succeeded" || phase == "Failed") && now.status().phase() != phase)
    journal_.violation(fmt::format("{} went from {} to {}", about(after), phase, now.status().phase()));
  for (const auto& was : old.status().containerStatuses())
    for (const auto& is : now.status().containerStatuses())
      if (was.name() == is.name() && is.restartCount() < was.restartCount())
        journal_.violation(fmt::format("{}: the restart count of {} went from {} to {}", about(after), is.name(),
                                       was.restartCount(), is.restartCount()));
}

std::string Shadow::difference(client::Client& direct) const {
  auto list = direct.list(resource_);
  if (!list) return fmt::format("{} cannot be listed: {}", resource_.plural, list.error().message);
  std::map<Key, schema::Object> left = objects_;
  for (const schema::Object& object : list->items) {
    const auto found = left.find(client::key_of(object));
    if (found == left.end()) return fmt::format("a watcher misses {}", about(object));
    if (client::revision_of(found->second) != client::revision_of(object))
      return fmt::format("a watcher has {} at revision {}, it is at {}", about(object),
                         client::revision_of(found->second), client::revision_of(object));
    left.erase(found);
  }
  return left.empty() ? "" : fmt::format("a watcher still has {}", about(left.begin()->second));
}

}  // namespace dure::sim
