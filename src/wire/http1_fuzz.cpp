// The HTTP/1.1 reader: heads and bodies of both directions, and the same bytes whole and in pieces
// must read alike.
#include <cstdlib>

#include "wire/http1_parser.h"

namespace {

using namespace dure::wire;

std::string read_body(std::string_view bytes, Http1Framing framing, size_t step, bool& good,
                      size_t& used) {
  Http1BodyReader reader(framing);
  std::string out;
  good = true;
  used = 0;
  for (size_t at = 0; at < bytes.size() && !reader.done(); at += step) {
    auto part = bytes.substr(at, step);
    const size_t size = part.size();
    while (!part.empty() && !reader.done()) {
      std::string_view piece;
      if (!reader.read(part, piece)) {
        good = false;
        return out;
      }
      out += piece;
    }
    used += size - part.size();
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const size_t head_size = http1_head_size(bytes);
  if (head_size == std::string_view::npos) return 0;
  const auto rest = bytes.substr(head_size);
  Http1Head head;
  if (parse_http1_request(bytes.substr(0, head_size), head)) {
    // What was accepted can be written and read again with the same meaning.
    std::string again;
    write_http1_request_head(again, head.method, head.target, head.headers);
    Http1Head second;
    if (head.minor_version == 1 &&
        (!parse_http1_request(again, second) || second.target != head.target ||
         second.headers.items != head.headers.items))
      abort();
    if (const auto framing = request_framing(head)) {
      bool good_whole, good_pieces;
      size_t used_whole, used_pieces;
      const auto whole = read_body(rest, *framing, rest.size() + 1, good_whole, used_whole);
      const auto pieces = read_body(rest, *framing, 1, good_pieces, used_pieces);
      if (good_whole != good_pieces ||
          (good_whole && (whole != pieces || used_whole != used_pieces)))
        abort();
    }
  }
  Http1Head response;
  if (parse_http1_response(bytes.substr(0, head_size), response))
    if (const auto framing = response_framing(response, "GET")) {
      bool good;
      size_t used;
      read_body(rest, *framing, 7, good, used);
    }
  return 0;
}
