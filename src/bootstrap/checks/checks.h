// Checks: everything about one machine that keeps a node from working, as pure functions over MachineFacts. One row and
// one small function each; the codes are stable, for people look them up and pass them to --ignore-preflight-errors.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bootstrap/checks/machine_facts.h"
#include "bootstrap/finding.h"

namespace dure::bootstrap {

enum class Role { worker, server };  // a server is a worker, too

struct CheckOptions {
  Role role = Role::worker;
  std::string network = "wireguard";                        // or "vxlan", or "none": a third-party CNI
  std::vector<std::pair<std::string, IpPrefix>> ranges = {  // what for, and the range
      {"pod", {Ip::v4(0x0af40000), 16}},
      {"service", {Ip::v4(0x0a600000), 12}},
      {"node", {Ip::v4(0x0af50000), 16}}};
  std::string dns_domain = "cluster.local";
  std::string node_name = {};  // empty: the host name
  uint16_t api_port = 6443, wireguard_port = 51820, vxlan_port = 8472;
};

// What a check says; severity empty: the row's.
struct Verdict {
  std::string sentence, fix;
  std::vector<FixAction> actions = {};
  std::optional<Finding::Severity> severity = {};
};

struct Check {
  std::string_view code;
  Finding::Severity severity;
  bool server_only;
  std::string_view why;  // why it matters, one sentence: for `dure check --list` and the documentation
  std::optional<Verdict> (*look)(const MachineFacts&, const CheckOptions&);
};

std::span<const Check> kernel_checks();
std::span<const Check> machine_checks();
std::span<const Check> network_checks();
std::span<const Check> firewall_checks();
std::span<const Check> runtime_checks();
std::span<const Check> leftover_checks();
std::vector<Check> all_checks();

// One finding per check that has something to say; in the order of the table.
std::vector<Finding> check_machine(const MachineFacts& facts, const CheckOptions& options);

// `dure check`'s table: a line "SEVERITY  CODE  sentence" each, worst first, the fix indented below; and one line that
// counts (checks = 0: without it).
std::string check_report(const std::vector<Finding>& findings, size_t checks);
std::string findings_json(const std::vector<Finding>& findings);

}  // namespace dure::bootstrap
