#include <cstddef>
#include <cstdint>
#include <string_view>

#include "overlay/probe_packet.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace dure::overlay;
  static const ProbeKey key("a secret of thirty-two bytes ...");
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto probe = read_probe(bytes);
  if (!probe) return 0;
  (void)proven(bytes, *probe, key);
  // What was read and is written again reads the same, and is proven.
  if (probe->type == ProbeType::data) {
    const auto head = write_data_head(*probe, key);
    const std::string whole = std::string(head.data(), head.size()) + std::string(probe->body);
    const auto again = read_probe(whole);
    if (!again || again->other != probe->other || !proven(whole, *again, key)) __builtin_trap();
    return 0;
  }
  const std::string written = write_probe(*probe, key, size);
  const auto again = read_probe(written);
  if (!again || again->transaction != probe->transaction || again->observed != probe->observed ||
      again->punch != probe->punch)
    __builtin_trap();
  if (!proven(written, *again, key)) __builtin_trap();
  return 0;
}
