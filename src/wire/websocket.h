// WebSocket: messages over an upgraded connection (RFC 6455), server and client. Pings are answered by themselves.
// Thread: the stream's loop only, but for connect_websocket.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "wire/http.h"

namespace dure::wire {

class WebSocket {
 public:
  enum class Role { server, client };
  struct Callbacks {
    std::move_only_function<void(bool is_text, std::string_view message)> on_message;
    // Once, last: the peer closed (its code; 1006 without a close frame, 1005 without a code) or the connection
    // broke.
    std::move_only_function<void(int code, std::string_view reason)> on_close;
    std::move_only_function<void()> on_drained;
  };
  static std::unique_ptr<WebSocket> create(std::unique_ptr<Stream> stream, Role role,
                                           size_t message_bytes_max = 4 << 20);
  virtual ~WebSocket() = default;  // closes at once with 1001; no callback follows
  virtual void start(Callbacks callbacks) = 0;
  virtual void send(bool is_text, std::string_view message) = 0;
  virtual void ping(std::string_view payload = {}) = 0;
  // Says goodbye; on_close follows when the peer did so too, or after a moment. Nothing is sent afterwards.
  virtual void close(int code, std::string_view reason = {}) = 0;
  virtual size_t unsent() const = 0;
  virtual void pause(bool paused) = 0;
  virtual run::Loop& loop() = 0;
};

// Whether a request asks for a WebSocket at all.
bool wants_websocket(const Request& request);

struct AcceptedWebSocket {
  std::unique_ptr<WebSocket> socket;
  std::string protocol;  // the chosen one; empty: none
};
// The first of `protocols` (ours, best first) that the client offers; an empty string among ours accepts a client
// that offers none. On an error (400, 403 when no protocol fits) nothing was answered yet. Loop thread.
Result<AcceptedWebSocket> accept_websocket(Exchange& exchange, const std::vector<std::string>& protocols,
                                           size_t message_bytes_max = 4 << 20);

// Blocks; not on the client's loop. The socket is used on the client's loop afterwards.
Result<AcceptedWebSocket> connect_websocket(HttpClient& client, Request request,
                                            const std::vector<std::string>& protocols, Duration timeout = 30s,
                                            size_t message_bytes_max = 4 << 20);

// Binary messages as one byte stream: what a "SPDY/3.1+portforward.k8s.io" tunnel carries. Half close does not exist
// there: finish_writing closes.
std::unique_ptr<Stream> websocket_as_stream(std::unique_ptr<WebSocket> socket);

}  // namespace dure::wire
