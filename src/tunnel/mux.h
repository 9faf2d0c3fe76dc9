// Mux: streams and packets over one connection. A stream is a wire::Stream that HTTP/1.1 and everything else can be
// spoken on; a packet is sent once and may be lost.
//
// Owner: shared; streams hold the Mux alive, the Mux holds the connection. When the connection ends every stream's
// on_close is called and `on_end` runs once. The side that dialled asks when it is quiet; silence is death (Heartbeat).
// Thread: methods any; callbacks the connection's loop.
//
// Turns: about 128 KB are given to the connection ahead of time; whatever has something to say then takes turns, a
// stream one frame, the packets one piece. A watch waits behind at most that much, however much else is on its way.
// Memory: what was received and not read is bounded by MuxCore (16 MB, then the stream that overflows is reset),
// packets by PacketQueue (512 KB, the oldest go), what is on its way out by the writers, who look at `unsent`.
#pragma once

#include <functional>
#include <memory>

#include "base/result.h"
#include "tunnel/heartbeat.h"
#include "tunnel/mux_core.h"
#include "wire/http.h"

namespace dure::tunnel {

class Mux : public std::enable_shared_from_this<Mux> {
 public:
  struct Callbacks {
    std::function<void(std::unique_ptr<wire::Stream>)> on_stream;  // the peer opened one
    std::function<void(const MuxCore::Packets&)> on_packets = {};  // all that one read brought
    std::function<void(const Error&)> on_end;
  };

  // Takes the connection over; `dialled`: this side made it.
  static std::shared_ptr<Mux> start(std::unique_ptr<wire::Stream> connection, bool dialled, Callbacks callbacks,
                                    Heartbeat::Limits limits = {});
  virtual ~Mux() = default;
  // "TunnelClosed" when the connection is over.
  virtual Result<std::unique_ptr<wire::Stream>> open() = 0;
  // `frames`: `count` frames of MuxCore::append_packet.
  virtual void send_packets(std::string frames, size_t count) = 0;
  // The network changed: ask now, and do not wait long for the answer.
  virtual void suspect() = 0;
  virtual void close() = 0;
  virtual bool closed() const = 0;
  virtual bool alive() const = 0;         // not closed, and the peer was heard lately
  virtual size_t held_bytes() const = 0;  // received and not read by anybody yet
  virtual run::Loop& loop() = 0;
};

}  // namespace dure::tunnel
