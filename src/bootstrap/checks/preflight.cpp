#include "bootstrap/checks/preflight.h"

#include "base/text.h"
#include "os/disk.h"

namespace dure::bootstrap {
namespace {

using Severity = Finding::Severity;

void take_range(CheckOptions& options, std::string_view what, const std::string& text) {
  const auto range = IpPrefix::parse(text);
  if (!range) return;
  for (auto& [name, known] : options.ranges)
    if (name == what) known = *range;
}

}  // namespace

CheckOptions options_of_member(os::Disk& disk, const Places& places) {
  CheckOptions out;
  if (const auto agent = read_agent_settings(disk, places)) {
    out.network = agent->network;
    out.dns_domain = agent->dns_domain;
    out.node_name = agent->node_name;
    take_range(out, "pod", agent->pod_cidr);
    take_range(out, "service", agent->service_cidr);
    take_range(out, "node", agent->node_cidr);
    if (agent->wireguard_port) out.wireguard_port = static_cast<uint16_t>(agent->wireguard_port);
  }
  if (const auto server = read_server_settings(disk, places)) {
    out.role = Role::server;
    out.api_port = static_cast<uint16_t>(server->bind_port);
  }
  return out;
}

std::vector<Finding> check_this_machine(os::Disk& disk, const CheckOptions& options, const Places& places,
                                        const std::string& runtime_socket) {
  const auto probe = open_machine_probe();
  FactPlaces where{.data = places.data, .settings = places.settings};
  if (!runtime_socket.empty()) where.runtime_socket = runtime_socket;
  return check_machine(read_machine_facts(disk, *probe, where), options);
}

Preflight judge(std::vector<Finding> findings, const std::vector<std::string>& ignored) {
  Preflight out;
  ignore_refusals(findings, ignored);
  std::vector<std::string> codes;
  std::string first;
  for (const Severity severity : {Severity::refuse, Severity::warn})
    for (const Finding& finding : findings)
      if (finding.severity == severity) out.text += finding_text(finding);
  for (const Finding& finding : findings)
    if (finding.severity == Severity::refuse) codes.push_back(finding.code);
  if (codes.empty()) return out;
  out.refusal = Error{412, "PreflightFailed", "this machine cannot be a node yet: " + join(codes, ", "),
                      "do what is said above, or --ignore-preflight-errors=" + join(codes, ",")};
  return out;
}

Preflight preflight(os::Disk& disk, const CheckOptions& options, const Places& places,
                    const std::string& runtime_socket, const std::vector<std::string>& ignored) {
  return judge(check_this_machine(disk, options, places, runtime_socket), ignored);
}

}  // namespace dure::bootstrap
