// Link: what a Mux sends and receives on. It has one connection at a time, or for a while none: then what is sent is
// kept, and goes out on the next one. Streams on top of it notice nothing but the pause, so that `kubectl logs -f` and
// `exec`, watches and downloads outlive a roam, a NAT that restarts, a cut of a few seconds.
//
// Owner: the Mux; one thread, the loop's. Callbacks are made without anything held; the owner may end the link inside.
// The side that dialled asks when it is quiet; silence takes the connection down (Heartbeat). After `patience` without
// a connection the link is over. Memory: `kept_bytes_max` and what the connection holds; then `room` is false.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "tunnel/heartbeat.h"
#include "tunnel/link_core.h"
#include "wire/http.h"

namespace dure::tunnel {

class Link {
 public:
  struct Limits {
    Heartbeat::Limits heartbeat = {};
    Duration patience = 30s;
  };
  struct Callbacks {
    // Payloads of what one read brought, in order; an Error ends the link. Then `on_read` once.
    std::function<Status(std::string_view)> on_payload;
    std::function<void()> on_read;
    std::function<void()> on_room;  // there may be room again
    std::function<void(const Error&)> on_down, on_over;
  };
  static constexpr size_t kept_bytes_max = 2 << 20;

  Link(run::Loop& loop, bool dialled, Limits limits)
      : loop_(loop), dialled_(dialled), limits_(limits), heart_(dialled, loop.now(), limits.heartbeat) {}
  // `owner` holds this Link: calls that come later are dropped when it is gone.
  void start(std::weak_ptr<void> owner, Callbacks callbacks);

  // A connection, which lives on `loop`; the former one is closed. `peer_received`: how many of our records the other
  // end has (0 at first); `can_resume` must be true.
  void attach(std::unique_ptr<wire::Stream> connection, uint64_t peer_received);
  bool can_resume(uint64_t peer_received) const { return core_.can_resume(peer_received); }
  uint64_t received() const { return core_.received(); }
  // The connection is no good; nothing when there is none.
  void down(Error why);
  // No callback follows.
  void close();

  bool up() const { return up_; }        // there is a connection; any thread
  bool alive() const { return alive_; }  // and the other end was heard lately; any thread
  // The network changed: ask now, and do not wait long for the answer.
  void suspect();

  void send(std::string_view payload);        // kept
  void send_loose(std::string_view payload);  // lost when there is no connection
  // Less than `ahead` bytes wait in the connection, and what is kept is not too much.
  bool room(size_t ahead) const;

 private:
  void received(std::string_view bytes);
  void write(SharedBytes bytes);
  void answer();
  void beat();
  void let_go();
  void over(const Error& why);

  run::Loop& loop_;
  const bool dialled_;
  const Limits limits_;
  std::weak_ptr<void> owner_;
  std::shared_ptr<const Callbacks> callbacks_;  // shared with a call that is running when the end comes
  std::unique_ptr<wire::Stream> connection_;
  LinkCore core_;
  Heartbeat heart_;
  std::unique_ptr<run::Timer> timer_;           // the next beat, or the end of patience
  std::atomic<bool> up_ = true, alive_ = true;  // the first connection comes at once
};

}  // namespace dure::tunnel
