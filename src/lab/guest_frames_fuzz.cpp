#include <cstddef>
#include <cstdint>

#include "lab/guest_frames.h"

// In pieces of whatever size: every frame is bounded, and what was broken stays so.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace dure::lab;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  GuestReader reader;
  const size_t piece = size > 0 ? 1 + data[0] % 32 : 1;
  for (size_t at = 0; at < size; at += piece) {
    reader.feed(bytes.substr(at, piece));
    while (const auto frame = reader.next()) {
      if (frame->bytes.size() > guest_frame_bytes_max) __builtin_trap();
      if (const auto request = decode_request(frame->bytes); request && request->arguments.empty()) __builtin_trap();
    }
  }
  return 0;
}
