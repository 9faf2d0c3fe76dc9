// Mux: streams and packets between two processes, over one connection at a time (Link). A stream is a wire::Stream that
// HTTP/1.1 and everything else can be spoken on; a packet is sent once and may be lost.
//
// Owner: shared; streams hold the Mux alive, the Mux holds the connection. When a connection is lost `on_down` is
// called and the streams wait for `resume`; when none came within the patience of Link::Limits, or the Mux is closed,
// every stream's on_close is called and `on_end` runs once. Thread: methods any; callbacks the loop of the first
// connection.
//
// Turns: about 128 KB are given to the connection ahead of time; whatever has something to say then takes turns, a
// stream one frame, the packets one piece. A watch waits behind at most that much, however much else is on its way.
// Memory: what was received and not read is bounded by MuxCore (16 MB, then the stream that overflows is reset),
// packets by PacketQueue (512 KB, the oldest go), what the peer has not acknowledged by Link (2 MB), what is on its way
// out by the writers, who look at `unsent`.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "base/result.h"
#include "tunnel/link.h"
#include "tunnel/mux_core.h"
#include "wire/http.h"

namespace dure::tunnel {

class Mux : public std::enable_shared_from_this<Mux> {
 public:
  struct Callbacks {
    std::function<void(std::unique_ptr<wire::Stream>)> on_stream;  // the peer opened one
    std::function<void(const MuxCore::Packets&)> on_packets = {};  // all that one read brought
    std::function<void(const Error&)> on_end;
    std::function<void(const Error&)> on_down = {};  // the connection is lost
  };

  // Takes the connection over; `dialled`: this side made it.
  static std::shared_ptr<Mux> start(std::unique_ptr<wire::Stream> connection, bool dialled, Callbacks callbacks,
                                    Link::Limits limits = {});
  virtual ~Mux() = default;
  // Going on over another connection; each end has to say how much it has before anything is sent. `hold` gives the
  // present one up and tells how many records came; it tells nothing, and changes nothing, when this is closed or
  // cannot go on with a peer that has `peer_received` of ours. `then` runs on the loop.
  virtual void hold(std::optional<uint64_t> peer_received,
                    std::function<void(std::optional<uint64_t> received)> then) = 0;
  // `connection` may live on any loop.
  virtual void resume(std::unique_ptr<wire::Stream> connection, uint64_t peer_received) = 0;
  // The connection is no good: `on_down`.
  virtual void drop(Error why) = 0;
  // "TunnelClosed" when it is over.
  virtual Result<std::unique_ptr<wire::Stream>> open() = 0;
  // `frames`: `count` frames of MuxCore::append_packet.
  virtual void send_packets(std::string frames, size_t count) = 0;
  // The network changed: ask now, and do not wait long for the answer.
  virtual void suspect() = 0;
  virtual void close() = 0;
  virtual bool closed() const = 0;
  virtual bool up() const = 0;            // there is a connection
  virtual bool alive() const = 0;         // and the peer was heard lately
  virtual size_t held_bytes() const = 0;  // received and not read by anybody yet
  virtual run::Loop& loop() = 0;
};

}  // namespace dure::tunnel
