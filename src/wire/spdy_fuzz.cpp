// The SPDY frame reader, header decompression included, with the bytes whole and in pieces.
#include <cstdlib>

#include "wire/spdy_frames.h"

namespace {

using namespace dure::wire;

struct Sink : SpdySink {
  size_t events = 0, bytes = 0, headers = 0;
  void on_syn_stream(uint32_t, bool, Headers h) override { ++events, headers += h.items.size(); }
  void on_syn_reply(uint32_t, bool, Headers h) override { ++events, headers += h.items.size(); }
  void on_headers(uint32_t, bool, Headers h) override { ++events, headers += h.items.size(); }
  void on_data(uint32_t, std::string_view piece) override { bytes += piece.size(); }
  void on_fin(uint32_t) override { ++events; }
  void on_reset(uint32_t, uint32_t) override { ++events; }
  void on_ping(uint32_t) override { ++events; }
  void on_goaway(uint32_t) override { ++events; }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  SpdyReader whole, pieces;
  Sink whole_sink, pieces_sink;
  const bool good = bool(whole.feed(bytes, whole_sink));
  bool good_pieces = true;
  for (size_t at = 0; at < bytes.size() && good_pieces; at += 3)
    good_pieces = bool(pieces.feed(bytes.substr(at, 3), pieces_sink));
  if (good != good_pieces || whole_sink.events != pieces_sink.events ||
      whole_sink.headers != pieces_sink.headers || whole_sink.bytes != pieces_sink.bytes)
    abort();
  // The same bytes as a header block: wrapped into a SYN_STREAM of ours they must come back.
  Headers headers;
  headers.add("x", bytes.substr(0, 1000));
  SpdyWriter writer;
  SpdyReader reader;
  Sink sink;
  if (!reader.feed(writer.syn_stream(1, headers), sink) || sink.events != 1) abort();
  return 0;
}
