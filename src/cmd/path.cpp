// `dure path`: which way packets take between nodes, and why not a better one.
#include <cstdio>
#include <memory>

#include "cli/path.h"
#include "client/kubeconfig.h"
#include "cmd/door.h"
#include "cmd/kubernetes_client.h"

namespace dure::cmd {
namespace {

struct PathFlags {
  std::string kubeconfig, context, output;
  std::vector<std::string> nodes;
};

Result<int> path(const PathFlags& flags) {
  if (!flags.output.empty() && flags.output != "json")
    return fail(bad_request("-o: \"" + flags.output + "\" is not an output format; json is"));
  if (flags.nodes.size() == 1 || flags.nodes.size() > 2)
    return fail(bad_request("dure path takes two nodes, or none for all of them"));
  DURE_TRY(const client::Kubeconfig config, read_kubeconfig(flags.kubeconfig, flags.context));
  DURE_TRY(const auto api, cli::Api::open(config.server, config.credentials));
  DURE_TRY(const auto answers, cli::ask_paths(*api, flags.nodes, 10s));
  if (flags.output == "json") {
    printf("%s\n", cli::paths_json(answers).c_str());
  } else if (flags.nodes.empty()) {
    printf("%s", cli::path_matrix_text(answers).c_str());
  } else {
    DURE_TRY(const std::string text, cli::pair_text(answers, flags.nodes[0], flags.nodes[1]));
    printf("%s", text.c_str());
  }
  return 0;
}

}  // namespace

Door path_door() {
  auto flags = std::make_shared<PathFlags>();
  return {.name = "path",
          .summary = "Show which way packets take between nodes, and why not a better one",
          .flags = {{"--kubeconfig", &flags->kubeconfig, "Where the cluster is (default: $KUBECONFIG or admin.conf)"},
                    {"--context", &flags->context, "Context of the kubeconfig"},
                    {"-o,--output", &flags->output, "json"},
                    {"node", &flags->nodes, "Two nodes; none: the matrix of all"}},
          .run = [flags] { return path(*flags); }};
}

}  // namespace dure::cmd
