#include "tunnel/heartbeat.h"

#include <algorithm>

namespace dure::tunnel {
namespace {

// A look that comes this late means that we slept, not that the peer did.
constexpr Duration kOverslept = 1s;

}  // namespace

void Heartbeat::heard(Monotonic now) {
  heard_ = now;
  suspected_ = false;
}

void Heartbeat::suspect(Monotonic now) {
  ask_now_ = true;
  due_ = now;
  if (suspected_) return;
  suspected_ = true;
  suspect_until_ = std::min(now + limits_.suspect, heard_ + limits_.dead);
}

// The older of the two directions counts: the peer must hear of us as we of it.
Monotonic Heartbeat::ask_at() const { return std::min(heard_, sent_) + limits_.quiet; }

Heartbeat::Act Heartbeat::act(Monotonic now) {
  if (now - due_ > kOverslept && now >= deadline()) {
    // What the peer said meanwhile may lie unread: one more question before it is given up.
    suspected_ = true;
    suspect_until_ = now + limits_.suspect;
    ask_now_ = true;
  }
  if (now >= deadline()) {
    due_ = now;
    return Act::dead;
  }
  const bool ask = ask_now_ || (asks_ && now >= ask_at());
  ask_now_ = false;
  if (ask) sent_ = now;
  // Asked and not answered: again a while later.
  due_ = asks_ ? std::min(deadline(), std::max(ask_at(), now + limits_.quiet / 2)) : deadline();
  return ask ? Act::ping : Act::nothing;
}

}  // namespace dure::tunnel
