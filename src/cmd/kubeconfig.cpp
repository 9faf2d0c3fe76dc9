#include <cstdio>
#include <memory>

#include "bootstrap/settings.h"
#include "cmd/door.h"
#include "os/disk.h"

namespace dure::cmd {

Door kubeconfig_door() {
  return {.name = "kubeconfig",
          .summary = "Print the administrator's kubeconfig of this server",
          .run = []() -> Result<int> {
            const auto disk = os::make_disk();
            const bootstrap::Places places;
            if (!disk->exists(places.admin_conf()))
              return fail(Error{404, "NotInitialized",
                                places.admin_conf() + " is not there: no control plane was started on this machine",
                                "dure init, or copy admin.conf from the server"});
            DURE_TRY(const std::string text, os::read_file(*disk, places.admin_conf()));
            fwrite(text.data(), 1, text.size(), stdout);
            return 0;
          },
          .notes = "Use it as:  dure kubeconfig > ~/.kube/config"};
}

}  // namespace dure::cmd
