#include "wire/websocket_frames.h"

#include <openssl/evp.h>

#include <algorithm>

#include "base/text.h"

namespace dure::wire {
namespace {

constexpr int protocol_error = 1002, not_utf8 = 1007, too_large = 1009;

std::unexpected<Error> broken(int code, std::string_view why) {
  return fail(Error{.code = code,
                    .reason = "WebSocketProtocolError",
                    .message = "WebSocket: " + std::string(why)});
}
bool is_control(WebSocketOp op) { return uint8_t(op) >= 8; }
bool valid_close_code(int code) {
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
         (code >= 3000 && code <= 4999);
}

}  // namespace

size_t WebSocketReader::head_size() const {
  if (head_.size() < 2) return 2;
  const uint8_t length = uint8_t(head_[1]) & 0x7f;
  return 2 + (length == 126 ? 2 : length == 127 ? 8 : 0) + (uint8_t(head_[1]) & 0x80 ? 4 : 0);
}

Status WebSocketReader::feed(std::string_view bytes, WebSocketSink& sink) {
  while (!closed_) {
    if (!in_payload_) {
      if (bytes.empty()) return {};
      const auto part = bytes.substr(0, head_size() - head_.size());
      head_ += part;
      bytes.remove_prefix(part.size());
      if (head_.size() < head_size()) continue;
      DURE_CHECK(head_complete());
      in_payload_ = true;
    }
    const auto part = bytes.substr(0, size_t(std::min<uint64_t>(left_, bytes.size())));
    std::string& target = is_control(op_) ? control_ : message_;
    const size_t start = target.size();
    target += part;
    bytes.remove_prefix(part.size());
    left_ -= part.size();
    if (expects_masks_)
      for (size_t i = start; i < target.size(); ++i)
        target[i] = char(uint8_t(target[i]) ^ mask_[mask_at_++ & 3]);
    if (left_ > 0) return {};
    in_payload_ = false;
    head_.clear();
    DURE_CHECK(frame_complete(sink));
  }
  return {};
}

Status WebSocketReader::head_complete() {
  const auto byte = [&](size_t at) { return uint8_t(head_[at]); };
  if (byte(0) & 0x70) return broken(protocol_error, "reserved bits are set");
  final_ = byte(0) & 0x80;
  op_ = WebSocketOp(byte(0) & 0x0f);
  const bool masked = byte(1) & 0x80;
  if (masked != expects_masks_)
    return broken(protocol_error,
                  expects_masks_ ? "client frame is not masked" : "server frame is masked");
  left_ = byte(1) & 0x7f;
  size_t at = 2;
  if (left_ >= 126) {
    const size_t count = left_ == 126 ? 2 : 8;
    left_ = 0;
    for (size_t i = 0; i < count; ++i) left_ = left_ << 8 | byte(at++);
    if (left_ < (count == 2 ? 126u : 65536u) || left_ >> 63)
      return broken(protocol_error, "length is not in its shortest form");
  }
  if (masked)
    for (auto& part : mask_) part = byte(at++);
  mask_at_ = 0;
  switch (op_) {
    case WebSocketOp::continuation:
      if (!in_message_) return broken(protocol_error, "continuation of nothing");
      break;
    case WebSocketOp::text:
    case WebSocketOp::binary:
      if (in_message_) return broken(protocol_error, "new message inside a fragmented one");
      break;
    case WebSocketOp::close:
    case WebSocketOp::ping:
    case WebSocketOp::pong:
      if (!final_ || left_ > 125)
        return broken(protocol_error, "control frame is fragmented or too long");
      break;
    default:
      return broken(protocol_error, "unknown opcode");
  }
  if (!is_control(op_) && left_ > message_bytes_max_ - message_.size())
    return broken(too_large, "message is too large");
  return {};
}

Status WebSocketReader::frame_complete(WebSocketSink& sink) {
  if (is_control(op_)) {
    const std::string payload = std::exchange(control_, {});
    if (op_ == WebSocketOp::ping) sink.on_ping(payload);
    if (op_ == WebSocketOp::pong) sink.on_pong(payload);
    if (op_ != WebSocketOp::close) return {};
    closed_ = true;
    if (payload.empty()) {
      sink.on_close(1005, {});
      return {};
    }
    const int code = payload.size() < 2 ? 0 : uint8_t(payload[0]) << 8 | uint8_t(payload[1]);
    if (!valid_close_code(code)) return broken(protocol_error, "invalid close code");
    if (!valid_utf8(std::string_view(payload).substr(2)))
      return broken(not_utf8, "close reason is not UTF-8");
    sink.on_close(code, std::string_view(payload).substr(2));
    return {};
  }
  if (op_ != WebSocketOp::continuation) message_is_text_ = op_ == WebSocketOp::text;
  in_message_ = !final_;
  if (!final_) return {};
  const std::string message = std::exchange(message_, {});
  if (message_is_text_ && !valid_utf8(message)) return broken(not_utf8, "text is not UTF-8");
  sink.on_message(message_is_text_, message);
  return {};
}

std::string websocket_frame(WebSocketOp op, std::string_view payload, std::string_view mask) {
  std::string out;
  out.reserve(payload.size() + 14);
  out += char(0x80 | uint8_t(op));
  const uint8_t masked = mask.empty() ? 0 : 0x80;
  if (payload.size() < 126) {
    out += char(masked | payload.size());
  } else {
    const bool small = payload.size() < 65536;
    out += char(masked | (small ? 126 : 127));
    for (int shift = small ? 8 : 56; shift >= 0; shift -= 8)
      out += char(uint64_t(payload.size()) >> shift & 0xff);
  }
  out += mask;
  const size_t start = out.size();
  out += payload;
  if (!mask.empty())
    for (size_t i = 0; i < payload.size(); ++i) out[start + i] = char(out[start + i] ^ mask[i & 3]);
  return out;
}

std::string websocket_close_payload(int code, std::string_view reason) {
  std::string out;
  out += char(code >> 8 & 0xff);
  out += char(code & 0xff);
  return out.append(reason.substr(0, 123));
}

std::string websocket_accept_key(std::string_view key) {
  const std::string text = std::string(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  EVP_Digest(text.data(), text.size(), digest, &size, EVP_sha1(), nullptr);
  return base64_encode(std::string_view(reinterpret_cast<char*>(digest), size));
}

bool valid_utf8(std::string_view text) {
  const auto* at = reinterpret_cast<const unsigned char*>(text.data());
  const auto* const end = at + text.size();
  while (at < end) {
    if (*at < 0x80) {
      ++at;
      continue;
    }
    const int more = *at >= 0xc2 && *at <= 0xdf   ? 1
                     : *at >= 0xe0 && *at <= 0xef ? 2
                     : *at >= 0xf0 && *at <= 0xf4 ? 3
                                                  : 0;
    if (more == 0 || end - at <= more) return false;
    // The second byte's range excludes overlong forms, surrogates and what lies beyond Unicode.
    const unsigned char low = *at == 0xe0   ? 0xa0
                              : *at == 0xf0 ? 0x90
                                            : 0x80,
                        high = *at == 0xed   ? 0x9f
                               : *at == 0xf4 ? 0x8f
                                             : 0xbf;
    if (at[1] < low || at[1] > high) return false;
    for (int i = 2; i <= more; ++i)
      if (at[i] < 0x80 || at[i] > 0xbf) return false;
    at += more + 1;
  }
  return true;
}

}  // namespace dure::wire
