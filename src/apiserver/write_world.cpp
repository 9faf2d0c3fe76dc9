#include "apiserver/write_world.h"

#include <algorithm>

#include "apiserver/metadata.h"
#include "apiserver/peek.h"
#include "base/text.h"

namespace dure::apiserver {

namespace {

std::string claim_key(std::string_view claim) { return "/registry/dure/claims/" + std::string(claim); }

}  // namespace

ApiWriteWorld::ApiWriteWorld(Api::State& state, const User* user) : state_(state), now_(state.executor.wall_now()) {
  if (!user) return;
  writer_ = {user->name, user->uid, user->groups, user->extra};
}

schema::Object ApiWriteWorld::get(std::string_view group, std::string_view resource, std::string_view ns,
                                  std::string_view name) const {
  const Served* served = state_.catalog.find(group, resource);
  if (!served || !served->stored) return nullptr;
  const auto entry = state_.store.get(served->key(ns, name));
  if (!entry) return nullptr;
  auto document = decode(*served, *entry);
  return document ? schema::share(std::move(*document)) : nullptr;
}

std::vector<schema::Object> ApiWriteWorld::list(std::string_view group, std::string_view resource,
                                                std::string_view ns) const {
  std::vector<schema::Object> objects;
  const Served* served = state_.catalog.find(group, resource);
  if (!served || !served->stored) return objects;
  const std::string prefix = served->key_prefix(ns);
  const auto page = state_.store.range({.start = prefix, .end = store::prefix_end(prefix)});
  if (!page) return objects;
  for (const store::Entry& entry : page->entries)
    if (auto document = decode(*served, entry)) objects.push_back(schema::share(std::move(*document)));
  return objects;
}

bool ApiWriteWorld::claimed(std::string_view claim) const {
  const std::string key = claim_key(claim);
  for (const store::Write& write : writes_)
    if (write.key == key) return write.value.has_value();
  return state_.store.get(key).has_value();
}

void ApiWriteWorld::claim(std::string claim, std::string owner) {
  std::string value = "{\"owner\":";
  append_json_string(value, owner);
  std::string key = claim_key(claim);
  // given back and taken again in one write: nothing changes
  const auto same = std::find_if(writes_.begin(), writes_.end(), [&](const auto& w) { return w.key == key; });
  if (same != writes_.end())
    writes_.erase(same);
  else
    writes_.push_back({std::move(key), SharedBytes(value + "}"), 0});
}

void ApiWriteWorld::release(std::string claim) {
  std::string key = claim_key(claim);
  if (!state_.store.get(key)) return;
  const auto same = std::find_if(writes_.begin(), writes_.end(), [&](const auto& w) { return w.key == key; });
  if (same != writes_.end())
    writes_.erase(same);
  else
    writes_.push_back({std::move(key), std::nullopt, std::nullopt});
}

void ApiWriteWorld::also_update(std::string_view group, std::string_view resource, const schema::Document& seen,
                                const schema::Document& changed) {
  const Served* served = state_.catalog.find(group, resource);
  DURE_ASSERT(served && served->stored && !served->conversion);
  schema::Document copy = changed.clone();
  const auto revision = parse_int(metadata_text(seen, "resourceVersion"));
  writes_.push_back({served->key(metadata_text(seen, "namespace"), name_of(seen)), make_stored(copy),
                     revision.value_or(0), served->durability()});
}

void ApiWriteWorld::add_to(store::Transaction& transaction) {
  for (store::Write& write : writes_) transaction.writes.push_back(std::move(write));
  writes_.clear();
}

}  // namespace dure::apiserver
