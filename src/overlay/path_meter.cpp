#include "overlay/path_meter.h"

#include <algorithm>
#include <bit>

namespace dure::overlay {

void PathMeter::sent(Monotonic now) {
  last_ping_ = now;
  ++unanswered_;
  if (!silent_since_) silent_since_ = now;
}

void PathMeter::answered(Monotonic now, Monotonic sent_at) {
  const Duration trip = now - sent_at;
  latency_ = latency_ == Duration::zero() ? trip : latency_ + (trip - latency_) / 8;
  last_pong_ = now;
  ++good_;
  record(false);
  if (newest_ && sent_at < *newest_) return;  // overtaken by a later one
  newest_ = sent_at;
  // Pings that left after the answered one are still on their way.
  const bool later = last_ping_ && *last_ping_ > sent_at;
  unanswered_ = later ? 1 : 0;
  silent_since_ = later ? last_ping_ : std::nullopt;
}

void PathMeter::doubt(Monotonic now) {
  good_ = 0;
  if (last_pong_ && !silent_since_) silent_since_ = now;
}

void PathMeter::record(bool lost) {
  window_ = window_ << 1 | (lost ? 1 : 0);
  window_size_ = static_cast<uint8_t>(std::min(64, window_size_ + 1));
  if (lost) good_ = 0;
}

double PathMeter::loss() const {
  if (window_size_ == 0) return 0;
  const uint64_t mask = window_size_ == 64 ? ~uint64_t{0} : (uint64_t{1} << window_size_) - 1;
  return static_cast<double>(std::popcount(window_ & mask)) / window_size_;
}

}  // namespace dure::overlay
