#include "cmd/version.h"

#include <cstdio>
#include <memory>

#include "cmd/door.h"

namespace dure::cmd {

Door version_door() {
  auto is_short = std::make_shared<bool>(false);
  return {.name = "version",
          .summary = "Print the version of dure and of the Kubernetes API it serves",
          .flags = {{"--short", is_short.get(), "Only the version of dure"}},
          .run = [is_short]() -> Result<int> {
            if (*is_short)
              printf("%s\n", kDureVersion);
            else
              printf("dure %s (Kubernetes API %s)\n", kDureVersion, kKubernetesVersion);
            return 0;
          }};
}

}  // namespace dure::cmd
