// Mux: streams over one connection, each a wire::Stream that HTTP/1.1 and everything else can be spoken on.
//
// Owner: shared; streams hold the Mux alive, the Mux holds the connection. When the connection ends every stream's
// on_close is called and `on_end` runs once. Pings go out every `ping_interval`; silence for three of them is death.
// Thread: methods any; callbacks the connection's loop. Bounds: a stream queues what the peer does not take yet (the
// writer sees `unsent`).
#pragma once

#include <functional>
#include <memory>

#include "base/result.h"
#include "wire/http.h"

namespace dure::tunnel {

class Mux : public std::enable_shared_from_this<Mux> {
 public:
  struct Callbacks {
    std::function<void(std::unique_ptr<wire::Stream>)> on_stream;  // the peer opened one
    std::function<void(const Error&)> on_end;
  };
  static constexpr Duration ping_interval = 5s;

  // Takes the connection over; `dialled`: this side made it.
  static std::shared_ptr<Mux> start(std::unique_ptr<wire::Stream> connection, bool dialled, Callbacks callbacks);
  virtual ~Mux() = default;
  // "TunnelClosed" when the connection is over.
  virtual Result<std::unique_ptr<wire::Stream>> open() = 0;
  virtual void close() = 0;
  virtual bool closed() const = 0;
};

}  // namespace dure::tunnel
