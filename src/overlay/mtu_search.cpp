#include "overlay/mtu_search.h"

#include <algorithm>

namespace dure::overlay {
namespace {

int index_of(uint16_t size) {
  return static_cast<int>(std::ranges::lower_bound(MtuSearch::sizes, size) - MtuSearch::sizes.begin());
}

}  // namespace

int MtuSearch::next_index() const { return first_ ? high_ - 1 : (low_ + high_) / 2; }

std::optional<uint16_t> MtuSearch::due(Monotonic now) const {
  if (!searching() || now < when_) return std::nullopt;
  return sizes[static_cast<size_t>(next_index())];
}

void MtuSearch::sent(Monotonic now, Duration round_trip) {
  ++tried_;
  when_ = now + std::max(patience, round_trip * 3);
}

void MtuSearch::unanswered() {
  if (tried_ >= tries) too_large(sizes[static_cast<size_t>(next_index())]);
}

void MtuSearch::passed(uint16_t size) {
  const int index = index_of(size);
  if (index >= static_cast<int>(sizes.size()) || index <= low_) return;
  low_ = index;
  high_ = std::max(high_, low_ + 1);
  tried_ = 0;
  first_ = false;
  when_ = {};
}

void MtuSearch::too_large(uint16_t size) {
  const int index = index_of(size);
  if (index >= high_ || index <= low_) return;
  high_ = index;
  tried_ = 0;
  first_ = false;
  when_ = {};
}

void MtuSearch::restart(Monotonic now) {
  *this = {};
  when_ = now;
}

}  // namespace dure::overlay
