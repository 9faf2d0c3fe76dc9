#include "overlay/observations.h"

#include <algorithm>

namespace dure::overlay {

void Observations::add(NodeId observer, const os::Endpoint& from, const os::Endpoint& seen, Monotonic now) {
  const auto same = std::ranges::find(all_, observer, &One::observer);
  if (same != all_.end()) {
    *same = {observer, from, seen, now};
    return;
  }
  if (all_.size() >= observers_max) all_.erase(std::ranges::min_element(all_, {}, &One::when));
  all_.push_back({observer, from, seen, now});
}

std::vector<os::Endpoint> Observations::candidates(const std::vector<IpPrefix>& own, Monotonic now) const {
  struct Count {
    os::Endpoint seen;
    size_t observers;
    Monotonic latest;
  };
  std::vector<Count> counts;
  for (const One& one : all_) {
    if (now - one.when > lifetime) continue;
    if (std::ranges::any_of(own, [&](const IpPrefix& mine) { return mine.ip == one.seen.ip; })) continue;
    const auto same = std::ranges::find(counts, one.seen, &Count::seen);
    if (same == counts.end()) {
      counts.push_back({one.seen, 1, one.when});
      continue;
    }
    ++same->observers;
    same->latest = std::max(same->latest, one.when);
  }
  std::ranges::sort(counts, [](const Count& a, const Count& b) {
    return a.observers != b.observers ? a.observers > b.observers
           : a.latest != b.latest     ? a.latest > b.latest
                                      : a.seen < b.seen;
  });
  std::vector<os::Endpoint> out;
  for (size_t i = 0; i < std::min(counts.size(), candidates_max); ++i) out.push_back(counts[i].seen);
  std::ranges::sort(out);  // an order that does not change with every pong
  return out;
}

bool Observations::symmetric(Monotonic now) const {
  for (const One& a : all_)
    for (const One& b : all_)
      if (now - a.when <= lifetime && now - b.when <= lifetime && a.from != b.from && a.seen.ip == b.seen.ip &&
          a.seen.port != b.seen.port)
        return true;
  return false;
}

}  // namespace dure::overlay
