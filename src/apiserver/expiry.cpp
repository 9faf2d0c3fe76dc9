#include "apiserver/expiry.h"

#include <algorithm>

#include "apiserver/peek.h"
#include "apiserver/stored.h"

namespace dure::apiserver {

namespace {

constexpr size_t page_entries = 500;

WallTime newest_of(std::string_view json, const std::vector<std::string_view>& paths) {
  WallTime newest;
  for (const std::string_view path : paths)
    if (const auto time = parse_time(json_text(json_path(json, path)))) newest = std::max(newest, *time);
  return newest;
}

}  // namespace

void Expiry::start() {
  timer_ = executor_.after(interval, [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self) return;
    self->sweep();
    self->start();
  });
}

size_t Expiry::sweep() {
  size_t found = 0;
  for (const Served& served : catalog_.all())
    if (served.stored && served.storage == &served && served.hooks->ttl_seconds > 0)
      found += sweep(served, executor_.wall_now());
  return found;
}

size_t Expiry::sweep(const Served& served, WallTime now) {
  size_t found = 0;
  std::string start = served.prefix;
  const std::string end = store::prefix_end(served.prefix);
  for (;;) {
    const auto page = store_.range({.start = start, .end = end, .limit = page_entries});
    if (!page) return found;
    for (const store::Entry& entry : page->entries) {
      const WallTime newest = newest_of(stored_json(entry.value.view()), served.hooks->ttl_from);
      if (newest + std::chrono::seconds(served.hooks->ttl_seconds) > now) continue;
      ++found;
      // renewed meanwhile: then it lives on
      store_.commit({{{entry.key, std::nullopt, entry.mod_revision, served.durability()}}},
                    [](Result<store::Revision>) {});
    }
    if (page->remaining == 0) return found;
    start = page->entries.back().key + '\0';
  }
}

}  // namespace dure::apiserver
