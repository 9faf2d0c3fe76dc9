// The readers of the rendezvous and the server's state machine, fed with whatever comes: nothing may break, and what is
// accepted must survive being written and read again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "tunnel/rendezvous.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace dure::tunnel;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (const auto named = decode_report(bytes)) {
    const auto again = decode_report(encode_report(named->node, named->report));
    if (!again || !(again->report == named->report) || again->node != named->node) abort();
  }
  if (const auto update = decode_update(bytes)) {
    const auto again = decode_update(encode_update(*update));
    if (!again || again->rows.size() != update->rows.size() || again->servers != update->servers) abort();
    NodeTable table;
    if (table.apply(bytes) && table.views().size() > update->rows.size()) abort();
  }
  MessageReader reader;
  RendezvousCore core({"192.0.2.1:6443"});
  if (!core.connect("a", dure::Ip::v4(1), false)) abort();
  for (std::string_view rest = bytes; !rest.empty();) {
    const size_t part = std::min<size_t>(rest.size(), 1 + static_cast<uint8_t>(rest[0]));
    if (!reader.feed(rest.substr(0, part))) break;
    rest.remove_prefix(part);
    std::string message;
    while (reader.next(message))
      if (!core.report("a", message)) core.disconnect("a");
    for (const std::string& told : core.take_messages("a"))
      if (!decode_update(told)) abort();
  }
  return 0;
}
