// The WebSocket frame reader in both roles, with the bytes whole and in pieces.
#include <cstdlib>

#include "wire/websocket_frames.h"

namespace {

using namespace dure::wire;

struct Sink : WebSocketSink {
  std::string log;
  void on_message(bool is_text, std::string_view message) override {
    (log += is_text ? 't' : 'b') += message;
  }
  void on_ping(std::string_view payload) override { (log += 'p') += payload; }
  void on_pong(std::string_view payload) override { (log += 'q') += payload; }
  void on_close(int code, std::string_view reason) override {
    (log += 'c' + std::to_string(code)) += reason;
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  for (const bool server : {false, true}) {
    WebSocketReader whole(server, 4096), pieces(server, 4096);
    Sink whole_sink, pieces_sink;
    const bool good = bool(whole.feed(bytes, whole_sink));
    bool good_pieces = true;
    for (size_t at = 0; at < bytes.size() && good_pieces; ++at)
      good_pieces = bool(pieces.feed(bytes.substr(at, 1), pieces_sink));
    if (good != good_pieces || whole_sink.log != pieces_sink.log) abort();
    Sink sink;
    WebSocketReader reader(server, size + 1);
    const std::string mask = server ? "\x11\x22\x33\x44" : "";
    if (!reader.feed(websocket_frame(WebSocketOp::binary, bytes, mask), sink) ||
        sink.log != "b" + std::string(bytes))
      abort();
  }
  return 0;
}
