// PathMeter: is this path alive, how far is it, how much does it lose. Fed with pings sent and pongs received. Pure.
//
// Alive: a pong came, and no ping since then has been waiting for longer than the patience. Latency is a moving average
// of round trips (an eighth of each new one); loss counts the last 64 pings that had their time to be answered.
#pragma once

#include <cstdint>
#include <optional>

#include "base/time.h"

namespace dure::overlay {

class PathMeter {
 public:
  void sent(Monotonic now);
  void answered(Monotonic now, Monotonic sent_at);
  void heard(Monotonic now) { last_pong_ = now; }  // an answer to something that was not counted as sent
  void lost() { record(true); }                    // one ping had its time and was not answered
  // A new network: what was measured before says nothing any more; a path that was alive has to show it again.
  void doubt(Monotonic now);
  void reset() { *this = {}; }

  bool ever_answered() const { return last_pong_.has_value(); }
  bool ever_tried() const { return last_ping_.has_value(); }
  std::optional<Monotonic> last_ping() const { return last_ping_; }
  std::optional<Monotonic> last_pong() const { return last_pong_; }
  // Since when pings have been going unanswered.
  std::optional<Monotonic> silent_since() const { return silent_since_; }
  Duration silence(Monotonic now) const { return silent_since_ ? now - *silent_since_ : Duration::zero(); }
  int unanswered() const { return unanswered_; }
  // Pongs since the last silence or loss.
  int good() const { return good_; }
  Duration latency() const { return latency_; }
  double loss() const;  // 0 to 1

 private:
  void record(bool lost);

  std::optional<Monotonic> last_ping_, last_pong_, silent_since_,
      newest_;  // newest_: sending time of the newest ping answered
  Duration latency_ = Duration::zero();
  uint64_t window_ = 0;  // a bit per ping, 1: lost
  uint8_t window_size_ = 0;
  int unanswered_ = 0, good_ = 0;
};

}  // namespace dure::overlay
