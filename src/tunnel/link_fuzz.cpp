#include <cstddef>
#include <cstdint>
#include <string_view>

#include "tunnel/link_core.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using dure::tunnel::LinkCore;
  LinkCore core;
  core.keep("one");
  core.keep("two");
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  while (!bytes.empty()) {
    const size_t part = std::min<size_t>(bytes.size(), 1 + static_cast<uint8_t>(bytes[0]));
    size_t taken = 0;
    const auto take = [&](std::string_view payload) -> dure::Status {
      taken += payload.size();
      return {};
    };
    if (!core.feed(bytes.substr(0, part), take)) break;
    if (taken > size || core.kept().size() > 2) __builtin_trap();
    if (core.take_ping()) core.pong();
    bytes.remove_prefix(part);
  }
  return 0;
}
