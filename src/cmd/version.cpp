#include "cmd/version.h"

#include <cstdio>
#include <memory>

#include "cmd/door.h"

namespace dure::cmd {
namespace {

struct VersionFlags {
  bool is_short = false;
  std::string output;
};

Result<int> print_version(const VersionFlags& flags) {
  if (flags.output == "json")
    printf("{\"dureVersion\":\"%s\",\"kubernetesVersion\":\"%s\"}\n", kDureVersion, kKubernetesVersion);
  else if (flags.output == "yaml")
    printf("dureVersion: %s\nkubernetesVersion: %s\n", kDureVersion, kKubernetesVersion);
  else if (!flags.output.empty())
    return fail(bad_request("-o: \"" + flags.output + "\" is not an output format; json and yaml are"));
  else if (flags.is_short)
    printf("%s\n", kDureVersion);
  else
    printf("dure %s (Kubernetes API %s)\n", kDureVersion, kKubernetesVersion);
  return 0;
}

}  // namespace

Door version_door() {
  auto flags = std::make_shared<VersionFlags>();
  return {.name = "version",
          .summary = "Print the version of dure and of the Kubernetes API it serves",
          .flags = {{"--short", &flags->is_short, "Only the version of dure"},
                    {"-o,--output", &flags->output, "json or yaml"}},
          .run = [flags] { return print_version(*flags); }};
}

}  // namespace dure::cmd
