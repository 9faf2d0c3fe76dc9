#include <cstddef>
#include <cstdint>
#include <string_view>

#include "tunnel/mux_core.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using dure::tunnel::MuxCore;
  MuxCore core(false);
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  while (!bytes.empty()) {
    const size_t part = std::min<size_t>(bytes.size(), 1 + static_cast<uint8_t>(bytes[0]));
    if (!core.feed(bytes.substr(0, part))) break;
    bytes.remove_prefix(part);
    MuxCore::Event event;
    while (core.next_event(event))
      if (event.kind == MuxCore::Event::Kind::data) core.consumed(event.stream, event.data.size());
    core.take_output();
  }
  return 0;
}
