#include <unistd.h>

#include <cstdio>
#include <memory>

#include "bootstrap/join.h"
#include "bootstrap/snapshot.h"
#include "cmd/door.h"
#include "cmd/kubeadm_flags.h"
#include "cmd/machine.h"
#include "cmd/node_flags.h"
#include "cmd/version.h"
#include "os/clock.h"
#include "os/disk.h"
#include "run/loop.h"
#include "wire/socket.h"

namespace dure::cmd {
namespace {

struct JoinFlags {
  std::string server, site;
  bootstrap::JoinOptions options;
  KubeadmFlags kubeadm;
  StartWishes start;
};

// The host that packets to the server go to first.
std::string first_hop(const wire::DialPlan& plan) {
  const wire::Way way = plan.ways().at(0);
  const auto host = wire::parse_host_port(way.proxy ? way.proxy->address : wire::server_address(way.url));
  return host ? host->host : std::string();
}

Result<int> join(JoinFlags& flags) {
  if (geteuid() != 0)
    return fail(Error{403, "NotRoot", "dure join changes the machine and needs root", "sudo dure join ..."});
  take_proxy_from_environment(flags.options.agent);
  DURE_CHECK(judge_kubeadm_flags("join", flags.kubeadm));
  DURE_TRY(OpenMachine machine, OpenMachine::open());
  bootstrap::AgentSettings& agent = flags.options.agent;
  agent.server_urls.insert(agent.server_urls.begin(), flags.server);
  DURE_TRY(const wire::DialPlan ways, bootstrap::plan_dialling(agent));
  DURE_CHECK(complete_agent(agent, flags.site, first_hop(ways)));
  flags.options.version = kKubernetesVersion;
  run::LoopThread thread("dure-join");
  const bootstrap::Places places;
  DURE_TRY(const bootstrap::JoinPlan plan,
           bootstrap::plan_join(thread.loop(), *machine.disk, places, flags.options, os::make_clock()->wall_now()));
  fprintf(stderr, "%s", bootstrap::findings_text(plan.findings).c_str());
  if (bootstrap::refusal(plan.findings)) {
    fprintf(stderr, "Nothing was changed on this machine.\n");
    return 1;
  }
  if (!machine.disk->exists(places.agent_conf())) DURE_CHECK(bootstrap::begin_journal(machine.view(), places));
  DURE_CHECK(bootstrap::prepare_node(*machine.disk, places, plan));
  printf("[join] this machine is now %s of the cluster at %s\n", plan.agent.node_name.c_str(),
         plan.discovery.way.text().c_str());
  fflush(stdout);
  return start_for_good(machine, false, flags.start);
}

}  // namespace

Door join_door() {
  auto flags = std::make_shared<JoinFlags>();
  std::vector<Flag> table = {
      {"server", &flags->server, "HOST:PORT of the server", true},
      {"--token", &flags->options.token, "Bootstrap token of the cluster", true},
      {"--discovery-token-ca-cert-hash", &flags->options.ca_hashes, "Pinned hash of the cluster's CA: sha256:..."},
      {"--discovery-token-unsafe-skip-ca-verification", &flags->options.skip_ca_verification,
       "Trust whoever answers (unsafe)"},
      {"--force", &flags->options.force, "Leave the cluster this machine belongs to without asking"},
      {"--ignore-preflight-errors", &flags->options.ignored, "Codes of refusals that only warn, or all"},
      {"--foreground", &flags->start.foreground, "Run here instead of installing a systemd unit"},
      {"--skip-start", &flags->start.skip_start, "Only prepare; start with dure agent"}};
  for (Flag& flag : kubeadm_flags("join", flags->kubeadm)) table.push_back(std::move(flag));
  for (Flag& flag : uplink_flags(flags->options.agent)) table.push_back(std::move(flag));
  for (Flag& flag : agent_flags(flags->options.agent, flags->site)) table.push_back(std::move(flag));
  return {.name = "join", .summary = "Add this machine to a cluster", .flags = std::move(table), .run = [flags] {
            return join(*flags);
          }};
}

}  // namespace dure::cmd
