#include <unistd.h>

#include <cstdio>
#include <memory>

#include "base/ip.h"
#include "bootstrap/first_start.h"
#include "cmd/door.h"
#include "cmd/node_flags.h"
#include "os/clock.h"
#include "os/disk.h"

namespace dure::cmd {
namespace {

struct InitFlags {
  bootstrap::InitOptions options;
  bool skip_start = false;
};

Status check_network(std::string_view network) {
  for (std::string_view known : {"wireguard", "vxlan", "none"})
    if (network == known) return {};
  return fail(bad_request("--network: \"" + std::string(network) + "\" is none of wireguard, vxlan, none"));
}

Status check_ranges(const bootstrap::ServerSettings& server) {
  const auto pods = IpPrefix::parse(server.pod_cidr), services = IpPrefix::parse(server.service_cidr);
  if (!pods)
    return fail(bad_request("--pod-network-cidr: \"" + server.pod_cidr + "\" is not a range such as 10.244.0.0/16"));
  if (!services)
    return fail(bad_request("--service-cidr: \"" + server.service_cidr + "\" is not a range such as 10.96.0.0/12"));
  if (pods->overlaps(*services))
    return fail(Error{400, "RangesOverlap",
                      "the pod range " + server.pod_cidr + " and the service range " + server.service_cidr + " overlap",
                      "choose another with --pod-network-cidr or --service-cidr"});
  const auto nodes = IpPrefix::parse(server.node_cidr);
  if (!nodes)
    return fail(bad_request("--node-network-cidr: \"" + server.node_cidr + "\" is not a range such as 10.245.0.0/16"));
  if (nodes->overlaps(*pods) || nodes->overlaps(*services))
    return fail(Error{400, "RangesOverlap",
                      "the node range " + server.node_cidr + " overlaps the pod or the service range",
                      "choose another with --node-network-cidr"});
  const auto address = Ip::parse(server.advertise_address);
  for (const auto& [range, flag] : {std::pair{*pods, "--pod-network-cidr"}, std::pair{*services, "--service-cidr"},
                                    std::pair{*nodes, "--node-network-cidr"}})
    if (address && range.contains(*address))
      return fail(
          Error{400, "RangeHoldsNode",
                std::string(flag) + " " + range.text() + " contains this machine's own address " + address->text(),
                "choose another range for " + std::string(flag)});
  return {};
}

Result<int> init(InitFlags& flags) {
  if (geteuid() != 0)
    return fail(Error{403, "NotRoot", "dure init changes the machine and needs root", "sudo dure init"});
  bootstrap::ServerSettings& server = flags.options.server;
  bootstrap::AgentSettings& agent = flags.options.agent;
  if (server.advertise_address.empty()) {
    DURE_TRY(server.advertise_address, own_address(""));
  }
  DURE_CHECK(check_network(agent.network));
  DURE_CHECK(check_ranges(server));
  if (agent.node_ip.empty()) agent.node_ip = server.advertise_address;
  DURE_CHECK(complete_agent(agent, server.advertise_address));
  server.node_name = agent.node_name;
  agent.server_urls = {server.url()};
  agent.pod_cidr = server.pod_cidr;
  agent.service_cidr = server.service_cidr;
  agent.node_cidr = server.node_cidr;
  server.network = agent.network;
  agent.dns_domain = server.dns_domain;
  agent.cluster_dns = server.service_address(10);

  const auto disk = os::make_disk();
  const auto random = os::make_random();
  DURE_TRY(const bootstrap::InitReport report,
           bootstrap::prepare_server(*disk, *random, {}, flags.options, os::make_clock()->wall_now()));
  for (const std::string& file : report.written) printf("[certs] wrote %s\n", file.c_str());
  printf("[init] the control plane will answer at %s\n", server.url().c_str());
  if (flags.skip_start) return 0;
  printf("\nTo use it:            export KUBECONFIG=%s\n", bootstrap::Places().admin_conf().c_str());
  printf("To add a machine:     dure token create --print-join-command\n");
  printf("Running in the foreground; Ctrl-C stops. Start it again with: dure server & dure agent\n\n");
  fflush(stdout);
  return run_in_foreground(true);
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
      {"--pod-network-cidr", &server.pod_cidr, "Range of pod addresses"},
      {"--service-cidr", &server.service_cidr, "Range of service addresses"},
      {"--service-dns-domain", &server.dns_domain, "Domain of services"},
      {"--node-network-cidr", &server.node_cidr, "Range of the nodes' stable addresses, with --network wireguard"},
      {"--network", &flags->options.agent.network,
       "Pod network: wireguard, vxlan (one LAN only), or none for a third-party CNI"},
      {"--force", &flags->options.force, "Replace the settings of a control plane that is already here"},
      {"--skip-start", &flags->skip_start, "Only prepare; start with dure server and dure agent"}};
  for (Flag& flag : agent_flags(flags->options.agent)) table.push_back(std::move(flag));
  return {
      .name = "init", .summary = "Make this machine the first of a cluster", .flags = std::move(table), .run = [flags] {
        return init(*flags);
      }};
}

}  // namespace dure::cmd
