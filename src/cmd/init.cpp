#include <unistd.h>

#include <cstdio>
#include <memory>

#include "base/ip.h"
#include "bootstrap/checks/preflight.h"
#include "bootstrap/finding.h"
#include "bootstrap/first_start.h"
#include "bootstrap/networks.h"
#include "bootstrap/node_identity.h"
#include "bootstrap/ranges.h"
#include "bootstrap/server_address.h"
#include "bootstrap/snapshot.h"
#include "cmd/door.h"
#include "cmd/kubeadm_flags.h"
#include "cmd/machine.h"
#include "cmd/node_flags.h"
#include "kernel/links.h"
#include "os/clock.h"
#include "os/disk.h"

namespace dure::cmd {
namespace {

struct InitFlags {
  bootstrap::InitOptions options;
  KubeadmFlags kubeadm;
  StartWishes start;
  std::vector<std::string> ignored;
  std::string site;
  std::string pod_cidr, service_cidr, node_cidr;  // empty: chosen
};

Status check_network(std::string_view network) {
  for (std::string_view known : {"wireguard", "vxlan", "none"})
    if (network == known) return {};
  return fail(bad_request("--network: \"" + std::string(network) + "\" is none of wireguard, vxlan, none"));
}

// Chooses the ranges and says what moved; what was asked for and cannot be is refused.
Status choose_ranges(const InitFlags& flags, bootstrap::ServerSettings& server, OpenMachine& machine) {
  DURE_TRY(const auto networks,
           bootstrap::read_networks(*machine.links, *machine.disk, bootstrap::own_links(*machine.disk, {})));
  const auto wanted = [](const std::string& flag, const std::string& usual) {
    return bootstrap::WantedRange{flag.empty() ? usual : flag, !flag.empty()};
  };
  bootstrap::RangePlan plan = bootstrap::pick_ranges(
      networks, {wanted(flags.pod_cidr, server.pod_cidr), wanted(flags.service_cidr, server.service_cidr),
                 wanted(flags.node_cidr, server.node_cidr), flags.options.agent.network == "wireguard"});
  bootstrap::ignore_refusals(plan.findings, flags.ignored);
  if (auto error = bootstrap::refusal(plan.findings)) return fail(std::move(*error));
  printf("%s", bootstrap::findings_text(plan.findings).c_str());
  server.pod_cidr = plan.pods.text();
  server.service_cidr = plan.services.text();
  if (plan.nodes.length > 0) server.node_cidr = plan.nodes.text();
  return {};
}

// The checks of `dure check`, for a server with these ranges; notes are for `dure check`.
Status check_machine(const InitFlags& flags, const bootstrap::ServerSettings& server, os::Disk& disk) {
  bootstrap::CheckOptions options;
  options.role = bootstrap::Role::server;
  options.network = server.network;
  options.dns_domain = server.dns_domain;
  options.node_name = server.node_name;
  options.api_port = static_cast<uint16_t>(server.bind_port);
  if (flags.options.agent.wireguard_port)
    options.wireguard_port = static_cast<uint16_t>(flags.options.agent.wireguard_port);
  options.ranges.clear();
  for (const auto& [what, text] : {std::pair{"pod", server.pod_cidr}, std::pair{"service", server.service_cidr},
                                   std::pair{"node", server.node_cidr}})
    if (const auto range = IpPrefix::parse(text)) options.ranges.emplace_back(what, *range);
  const bootstrap::Preflight preflight =
      bootstrap::preflight(disk, options, {}, flags.options.agent.runtime_endpoint, flags.ignored);
  fprintf(stderr, "%s", preflight.text.c_str());
  if (preflight.refusal) return fail(*preflight.refusal);
  return {};
}

Result<int> init(InitFlags& flags) {
  if (geteuid() != 0)
    return fail(Error{403, "NotRoot", "dure init changes the machine and needs root", "sudo dure init"});
  DURE_CHECK(judge_kubeadm_flags("init", flags.kubeadm));
  DURE_TRY(OpenMachine machine, OpenMachine::open());
  bootstrap::ServerSettings& server = flags.options.server;
  bootstrap::AgentSettings& agent = flags.options.agent;
  if (server.advertise_address.empty()) {
    DURE_TRY(server.advertise_address, own_address(""));
  }
  DURE_CHECK(check_network(agent.network));
  DURE_CHECK(bootstrap::check_own_address("--apiserver-advertise-address", server.advertise_address));
  DURE_CHECK(choose_ranges(flags, server, machine));
  if (!server.control_plane_endpoint.empty()) {
    DURE_TRY(const auto endpoint, bootstrap::parse_server_address(server.control_plane_endpoint));
    server.control_plane_endpoint = endpoint.text();
    server.extra_names.push_back(endpoint.host);
  }
  if (agent.node_ip.empty()) agent.node_ip = server.advertise_address;
  DURE_CHECK(complete_agent(agent, flags.site, server.advertise_address));
  server.node_name = agent.node_name;
  agent.server_urls = {server.url()};
  agent.pod_cidr = server.pod_cidr;
  agent.service_cidr = server.service_cidr;
  agent.node_cidr = server.node_cidr;
  server.network = agent.network;
  agent.dns_domain = server.dns_domain;
  agent.cluster_dns = server.service_address(10);
  if (agent.network == "wireguard")
    agent.wireguard_port = bootstrap::default_wireguard_port(*machine.disk, agent.node_name);

  const auto random = os::make_random();
  const bootstrap::Places places;
  // With settings there is a cluster already, and the checks would find it.
  if (!machine.disk->exists(places.server_conf())) DURE_CHECK(check_machine(flags, server, *machine.disk));
  if (!machine.disk->exists(places.server_conf())) DURE_CHECK(bootstrap::begin_journal(machine.view(), places));
  DURE_TRY(const bootstrap::InitReport report,
           bootstrap::prepare_server(*machine.disk, *random, {}, flags.options, os::make_clock()->wall_now()));
  for (const std::string& file : report.written) printf("[certs] wrote %s\n", file.c_str());
  printf("[init] the control plane will answer at %s\n", server.url().c_str());
  printf("\nTo use it:            export KUBECONFIG=%s\n", bootstrap::Places().admin_conf().c_str());
  printf("To add a machine:     dure token create --print-join-command\n");
  fflush(stdout);
  return start_for_good(machine, true, flags.start);
}

}  // namespace

Door init_door() {
  auto flags = std::make_shared<InitFlags>();
  bootstrap::ServerSettings& server = flags->options.server;
  std::vector<Flag> table = {
      {"--apiserver-advertise-address", &server.advertise_address,
       "Address that members reach this server by (default: that of the default route)"},
      {"--apiserver-bind-port", &server.bind_port, "Port of the API server"},
      {"--apiserver-cert-extra-sans", &server.extra_names,
       "Further names and addresses for the API server's certificate"},
      {"--pod-network-cidr", &flags->pod_cidr,
       "Range of pod addresses (default: 10.244.0.0/16, or one that nothing here uses)"},
      {"--service-cidr", &flags->service_cidr,
       "Range of service addresses (default: 10.96.0.0/12, or one that nothing here uses)"},
      {"--node-network-cidr", &flags->node_cidr,
       "Range of the nodes' stable addresses, with --network wireguard (default: 10.245.0.0/16, or a free one)"},
      {"--service-dns-domain", &server.dns_domain, "Domain of services"},
      {"--network", &flags->options.agent.network,
       "Pod network: wireguard, vxlan (one LAN only), or none for a third-party CNI"},
      {"--force", &flags->options.force, "Replace the settings of a control plane that is already here"},
      {"--control-plane-endpoint", &server.control_plane_endpoint,
       "NAME:PORT that members reach this server by, such as a dynamic DNS name; goes into join lines"},
      {"--ignore-preflight-errors", &flags->ignored, "Codes that only warn, or all"},
      {"--foreground", &flags->start.foreground, "Run here instead of installing systemd units"},
      {"--skip-start", &flags->start.skip_start, "Only prepare; start with dure server and dure agent"}};
  for (Flag& flag : kubeadm_flags("init", flags->kubeadm)) table.push_back(std::move(flag));
  for (Flag& flag : agent_flags(flags->options.agent, flags->site)) table.push_back(std::move(flag));
  return {
      .name = "init", .summary = "Make this machine the first of a cluster", .flags = std::move(table), .run = [flags] {
        return init(*flags);
      }};
}

}  // namespace dure::cmd
