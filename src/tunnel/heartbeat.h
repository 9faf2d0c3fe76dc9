// Heartbeat: whether the other end of a connection still lives, as a state machine without I/O. A connection whose peer
// vanished looks exactly like one that is quiet (half-open), so silence is asked about and not believed for long.
// Thread: one.
#pragma once

#include "base/time.h"

namespace dure::tunnel {

class Heartbeat {
 public:
  struct Limits {
    Duration quiet = 1s;    // without bytes both ways: ask
    Duration dead = 4s;     // without a byte from the peer: over
    Duration suspect = 2s;  // the same after `suspect`
  };
  enum class Act { nothing, ping, dead };

  // `asks`: this side sends pings; the other one only listens for them.
  Heartbeat(bool asks, Monotonic now, Limits limits)
      : limits_(limits), asks_(asks), heard_(now), sent_(now), due_(now + limits.dead) {}
  Heartbeat(bool asks, Monotonic now) : Heartbeat(asks, now, Limits()) {}

  void heard(Monotonic now);
  void sent(Monotonic now) { sent_ = now; }
  // Something happened to the network: the next `act` asks at once and waits only shortly for any answer.
  void suspect(Monotonic now);
  // What is to be done now. Call again at `due`, or earlier.
  Act act(Monotonic now);
  Monotonic due() const { return due_; }
  // The peer was heard within the time after which it counts as dead.
  bool alive(Monotonic now) const { return now - heard_ < limits_.dead; }

 private:
  Monotonic deadline() const { return suspected_ ? suspect_until_ : heard_ + limits_.dead; }
  Monotonic ask_at() const;

  Limits limits_;
  bool asks_;
  Monotonic heard_, sent_, due_;
  bool suspected_ = false, ask_now_ = false;
  Monotonic suspect_until_{};
};

}  // namespace dure::tunnel
