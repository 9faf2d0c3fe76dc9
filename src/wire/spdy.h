// Spdy: a SPDY/3.1 connection over a Stream, as kubectl, containerd and CRI-O use it for exec, attach and
// port-forward.
//
// Either side may open streams; each is a Stream of its own. Nobody in that world uses SPDY's flow control, so
// back-pressure is the connection's: a paused stream pauses everything, and `unsent` of any stream counts the whole
// connection. Thread: the loop's only, everything here.
#pragma once

#include <functional>
#include <memory>

#include "wire/http.h"

namespace dure::wire {

class SpdyStream : public Stream {
 public:
  virtual uint32_t id() const = 0;
  virtual const Headers& headers() const = 0;  // of the one who opened it
  virtual void reset() = 0;                    // tells the peer; then as close
};

class Spdy {
 public:
  enum class Role { client, server };
  struct Callbacks {
    // The peer opened a stream (it was answered already). Keep it or it is reset.
    std::function<void(std::unique_ptr<SpdyStream>)> on_stream;
    std::function<void(Error)> on_close;  // once, last; every stream heard its own on_close before
  };
  static std::unique_ptr<Spdy> create(std::unique_ptr<Stream> stream, Role role, Callbacks callbacks);
  virtual ~Spdy() = default;  // says GOAWAY and closes; no callback follows, streams included
  // Null when the connection is over or the peer is going away.
  virtual std::unique_ptr<SpdyStream> open(const Headers& headers) = 0;
  virtual void pause(bool paused) = 0;  // stops reading the whole connection
  virtual size_t unsent() const = 0;
  virtual size_t streams() const = 0;
};

}  // namespace dure::wire
