#include <unistd.h>

#include <cstdio>
#include <memory>

#include "bootstrap/join.h"
#include "cmd/door.h"
#include "cmd/node_flags.h"
#include "os/disk.h"
#include "run/loop.h"

namespace dure::cmd {
namespace {

struct JoinFlags {
  bootstrap::JoinOptions options;
  bool skip_start = false;
};

std::string host_of(std::string server) {
  if (server.starts_with("https://")) server.erase(0, 8);
  return server.substr(0, server.rfind(':'));
}

Result<int> join(JoinFlags& flags) {
  if (geteuid() != 0)
    return fail(Error{403, "NotRoot", "dure join changes the machine and needs root", "sudo dure join ..."});
  take_proxy_from_environment(flags.options.agent);
  DURE_CHECK(complete_agent(flags.options.agent, host_of(flags.options.server)));
  run::LoopThread thread("dure-join");
  const auto disk = os::make_disk();
  DURE_TRY(const bootstrap::JoinReport report, bootstrap::prepare_node(thread.loop(), *disk, {}, flags.options));
  printf("[join] this machine is now %s of the cluster at %s\n", flags.options.agent.node_name.c_str(),
         report.server_url.c_str());
  if (flags.skip_start) return 0;
  printf("Running in the foreground; Ctrl-C stops. Start it again with: dure agent\n\n");
  fflush(stdout);
  return run_in_foreground(false);
}

}  // namespace

Door join_door() {
  auto flags = std::make_shared<JoinFlags>();
  std::vector<Flag> table = {
      {"server", &flags->options.server, "HOST:PORT of the server", true},
      {"--token", &flags->options.token, "Bootstrap token of the cluster", true},
      {"--discovery-token-ca-cert-hash", &flags->options.ca_hashes, "Pinned hash of the cluster's CA: sha256:..."},
      {"--discovery-token-unsafe-skip-ca-verification", &flags->options.skip_ca_verification,
       "Trust whoever answers (unsafe)"},
      {"--force", &flags->options.force, "Leave the cluster this machine belongs to without asking"},
      {"--skip-start", &flags->skip_start, "Only prepare; start with dure agent"}};
  for (Flag& flag : uplink_flags(flags->options.agent)) table.push_back(std::move(flag));
  for (Flag& flag : agent_flags(flags->options.agent)) table.push_back(std::move(flag));
  return {.name = "join", .summary = "Add this machine to a cluster", .flags = std::move(table), .run = [flags] {
            return join(*flags);
          }};
}

}  // namespace dure::cmd
