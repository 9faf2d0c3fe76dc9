// Texts that others wrote: /proc and /etc, what programs print, manifests.
#include <cstddef>
#include <cstdint>

#include "bootstrap/checks/fact_files.h"
#include "bootstrap/checks/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace dure::bootstrap;
  const std::string text(reinterpret_cast<const char*>(data), size);
  FirewallFacts firewall;
  RuntimeFacts runtime;
  listeners_of(text, "tcp");
  mount_of(text, "/var/lib/dure");
  resolver_of(text);
  assignments(text);
  meminfo_bytes(text, "MemTotal");
  take_ruleset(text, firewall);
  take_iptables(text, firewall);
  take_containerd_config(text, runtime);
  MachineFacts facts;
  facts.kernel_release = facts.hostname = text;
  facts.firewall = firewall;
  facts.firewall.ufw = true;
  facts.firewall.ufw_input = "DROP";
  facts.firewall.ufw_rules = lines_of(text);
  facts.runtime.program = "containerd";
  facts.runtime.version = text;
  facts.environment = {{"https_proxy", text}, {"no_proxy", text}};
  facts.resolver = resolver_of(text);
  check_machine(facts, {.role = Role::server});
  check_manifest(text, {});
  return 0;
}
