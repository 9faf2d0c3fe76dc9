// Doors that ask a cluster: status, verify, doctor.
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <memory>
#include <optional>
#include <thread>

#include "bootstrap/checks/checks.h"
#include "cli/doctor.h"
#include "cli/status.h"
#include "cli/verify.h"
#include "client/kubeconfig.h"
#include "cmd/door.h"
#include "cmd/kubernetes_client.h"
#include "cmd/signals.h"
#include "os/clock.h"
#include "os/disk.h"

namespace dure::cmd {
namespace {

struct ClusterFlags {
  std::string kubeconfig, context, output;
  std::vector<std::string> nodes;
  std::string timeout = "30s";
};

Result<std::unique_ptr<cli::Api>> open_api(const ClusterFlags& flags) {
  if (!flags.output.empty() && flags.output != "json")
    return fail(bad_request("-o: \"" + flags.output + "\" is not an output format; json is"));
  DURE_TRY(const client::Kubeconfig config, read_kubeconfig(flags.kubeconfig, flags.context));
  return cli::Api::open(config.server, config.credentials);
}

Result<int> status(const ClusterFlags& flags) {
  DURE_TRY(const auto api, open_api(flags));
  DURE_TRY(const cli::ClusterView view, cli::look_at_cluster(*api, os::make_clock()->wall_now()));
  const auto lines = cli::explain(view);
  if (flags.output == "json")
    printf("%s\n", cli::status_json(lines).c_str());
  else
    printf("%s", cli::status_text(view, lines).c_str());
  return lines.empty() ? 0 : 1;
}

Result<int> doctor(const ClusterFlags& flags) {
  DURE_TRY(const auto api, open_api(flags));
  DURE_TRY(const cli::Examination seen, cli::examine(*api));
  const auto findings = cli::diagnose(seen);
  if (flags.output == "json") {
    printf("%s\n", bootstrap::findings_json(findings).c_str());
  } else {
    printf("%s", bootstrap::check_report(findings, bootstrap::all_checks().size()).c_str());
    printf("%zu nodes asked\n", seen.answers.size());
  }
  return bootstrap::refusal(findings) ? 1 : 0;
}

// The work runs beside, so that Ctrl-C is heard here and the cluster is cleaned up all the same.
Result<cli::Matrix> verify_until_stopped(cli::Api& api, cli::VerifyOptions options, const StopSignals& stop) {
  std::atomic<bool> stopped = false, over = false;
  options.stopped = [&] { return stopped.load(); };
  std::optional<Result<cli::Matrix>> result;
  std::thread work([&] {
    result = cli::verify(api, options);
    over = true;
  });
  while (!over) {
    const timespec moment{0, 100'000'000};
    if (sigtimedwait(&stop.set, nullptr, &moment) > 0 && !stopped.exchange(true))
      fprintf(stderr, "stopping; removing what was made\n");
  }
  work.join();
  return *std::move(result);
}

Result<int> verify(const ClusterFlags& flags) {
  const StopSignals stop = block_stop_signals();  // before any thread is made
  DURE_TRY(const auto api, open_api(flags));
  const auto timeout = parse_duration(flags.timeout);
  if (!timeout || *timeout <= Duration::zero())
    return fail(bad_request("--timeout: \"" + flags.timeout + "\" is not a duration such as 20s"));
  cli::VerifyOptions options;
  options.nodes = flags.nodes;
  options.path_timeout = options.start_timeout = *timeout;
  if (isatty(STDERR_FILENO)) options.progress = [](const std::string& line) { fprintf(stderr, "%s\n", line.c_str()); };
  auto matrix = verify_until_stopped(*api, options, stop);
  if (!matrix && matrix.error().is("Stopped")) return 130;
  if (!matrix) return fail(matrix.error());
  printf("%s%s", (flags.output == "json" ? cli::matrix_json(*matrix) : cli::matrix_text(*matrix)).c_str(),
         flags.output == "json" ? "\n" : "");
  return matrix->is_green() ? 0 : 1;
}

std::vector<Flag> common_flags(ClusterFlags& flags) {
  return {{"--kubeconfig", &flags.kubeconfig, "Where the cluster is (default: $KUBECONFIG or admin.conf)"},
          {"--context", &flags.context, "Context of the kubeconfig"},
          {"-o,--output", &flags.output, "json"}};
}

}  // namespace

Door status_door() {
  auto flags = std::make_shared<ClusterFlags>();
  return {.name = "status",
          .summary = "Say in one line each why anything is Pending or NotReady",
          .flags = common_flags(*flags),
          .run = [flags] { return status(*flags); },
          .notes = "Ends with 1 when there is something to say."};
}

Door doctor_door() {
  auto flags = std::make_shared<ClusterFlags>();
  return {.name = "doctor",
          .summary = "Examine the whole cluster: every node's checks, clocks, versions, certificates, twins, status",
          .flags = common_flags(*flags),
          .run = [flags] { return doctor(*flags); },
          .notes = "Ends with 1 when there is an error."};
}

Door verify_door() {
  auto flags = std::make_shared<ClusterFlags>();
  std::vector<Flag> table = common_flags(*flags);
  table.push_back({"--node", &flags->nodes, "Only these nodes"});
  table.push_back({"--timeout", &flags->timeout, "How long pods may take to start, and then paths to work"});
  return {
      .name = "verify",
      .summary = "Prove the cluster with traffic: ping, Service and DNS between all nodes; logs, exec, port-forward",
      .flags = std::move(table),
      .run = [flags] { return verify(*flags); },
      .notes = "Makes one pod per node in the namespace dure-verify and removes them. Ends with 1 when a cell is red."};
}

}  // namespace dure::cmd
