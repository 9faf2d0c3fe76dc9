// WebSocket frames as bytes (RFC 6455), both roles, and the handshake's arithmetic. No I/O.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace dure::wire {

enum class WebSocketOp : uint8_t { continuation = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 };

class WebSocketSink {
 public:
  virtual ~WebSocketSink() = default;
  virtual void on_message(bool is_text, std::string_view message) = 0;
  virtual void on_ping(std::string_view payload) = 0;
  virtual void on_pong(std::string_view payload) = 0;
  virtual void on_close(int code, std::string_view reason) = 0;  // 1005: none was given
};

// Puts messages together from frames. The error's `code` is the close code to answer (1002, 1007, 1009).
class WebSocketReader {
 public:
  // `expects_masks`: the reader is a server's.
  WebSocketReader(bool expects_masks, size_t message_bytes_max)
      : expects_masks_(expects_masks), message_bytes_max_(message_bytes_max) {}
  Status feed(std::string_view bytes, WebSocketSink& sink);

 private:
  Status head_complete();
  Status frame_complete(WebSocketSink& sink);
  size_t head_size() const;

  const bool expects_masks_;
  const size_t message_bytes_max_;
  std::string head_;  // of the frame being read
  bool in_payload_ = false;
  uint64_t left_ = 0;  // of its payload
  uint8_t mask_[4] = {};
  size_t mask_at_ = 0;
  bool final_ = false;
  WebSocketOp op_ = WebSocketOp::continuation;
  std::string control_;  // payload of a control frame
  std::string message_;  // payload of the data frames so far
  bool in_message_ = false, message_is_text_ = false, closed_ = false;
};

// One unfragmented frame. `mask`: four random bytes for a client's frame, empty for a server's.
std::string websocket_frame(WebSocketOp op, std::string_view payload, std::string_view mask = {});
std::string websocket_close_payload(int code, std::string_view reason);
// Sec-WebSocket-Accept for a key.
std::string websocket_accept_key(std::string_view key);
bool valid_utf8(std::string_view text);

}  // namespace dure::wire
