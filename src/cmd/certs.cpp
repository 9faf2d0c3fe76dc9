#include <cstdio>
#include <memory>

#include "bootstrap/settings.h"
#include "cmd/door.h"
#include "os/clock.h"
#include "os/disk.h"
#include "pki/folder.h"

namespace dure::cmd {

Door certs_door() {
  Door check{.name = "check-expiration",
             .summary = "Show when each certificate of this control plane ends",
             .run = []() -> Result<int> {
               const auto disk = os::make_disk();
               const auto random = os::make_random();
               const pki::Folder folder(*disk, *random, bootstrap::Places().kubernetes);
               DURE_TRY(const auto rows, folder.check_expiration());
               printf("%s", pki::expiration_table(rows, os::make_clock()->wall_now()).c_str());
               return 0;
             }};
  return {.name = "certs", .summary = "Certificates of the control plane", .doors = {check}};
}

}  // namespace dure::cmd
