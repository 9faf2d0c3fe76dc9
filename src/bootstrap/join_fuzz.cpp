// Fuzz target: everything of joining that reads what strangers sent.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "bootstrap/join_verdicts.h"
#include "bootstrap/networks.h"
#include "bootstrap/server_address.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  using namespace dure::bootstrap;
  if (const auto newcomer = parse_newcomer(text)) {
    const auto again = parse_newcomer(newcomer_json(*newcomer));
    if (!again) __builtin_trap();
    (void)join_verdicts(*newcomer, {"v1.34.0", newcomer->now, "10.244.0.0/16", "10.96.0.0/12", "10.245.0.0/16", {}});
  }
  if (const auto findings = parse_findings(text)) (void)findings_text(*findings);
  if (const auto print = parse_fingerprint(text)) (void)fingerprint_text(*print);
  if (const auto address = parse_server_address(text))
    if (parse_server_address(address->text()) != *address) __builtin_trap();
  (void)check_plain_text(text);
  (void)name_servers(text);
  return 0;
}
