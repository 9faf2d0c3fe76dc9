#include <algorithm>
#include <cstdio>
#include <memory>

#include <fmt/format.h>

#include "bootstrap/first_start.h"
#include "bootstrap/settings.h"
#include "cmd/door.h"
#include "os/clock.h"
#include "os/disk.h"
#include "pki/folder.h"

namespace dure::cmd {
namespace {

Result<int> renew_certificates(const std::string& name) {
  const auto disk = os::make_disk();
  const auto random = os::make_random();
  DURE_TRY(const auto settings, bootstrap::read_server_settings(*disk, {}));
  DURE_TRY(const auto files,
           bootstrap::renew_pki(*disk, *random, {}, settings, name == "all" ? "" : name, os::make_clock()->wall_now()));
  for (const std::string& file : files) printf("[renew] wrote %s\n", file.c_str());
  printf("The server takes them when it starts: systemctl restart dure-server\n");
  return 0;
}

Error no_control_plane() {
  return {404, "NoControlPlane",
          fmt::format("{} holds no certificate of a control plane", bootstrap::Places().kubernetes),
          "run it on the server; a node's own certificate is renewed by its agent"};
}

}  // namespace

Door certs_door() {
  Door check{.name = "check-expiration",
             .summary = "Show when each certificate of this control plane ends",
             .run = []() -> Result<int> {
               const auto disk = os::make_disk();
               const auto random = os::make_random();
               const pki::Folder folder(*disk, *random, bootstrap::Places().kubernetes);
               DURE_TRY(const auto rows, folder.check_expiration());
               if (std::ranges::all_of(rows, &pki::ExpirationRow::missing)) return fail(no_control_plane());
               printf("%s", pki::expiration_table(rows, os::make_clock()->wall_now()).c_str());
               return 0;
             }};
  auto name = std::make_shared<std::string>();
  Door renew{.name = "renew",
             .summary = "Make certificates of this control plane anew",
             .flags = {{"name", name.get(), "all, or a name that check-expiration lists", true}},
             .run = [name]() -> Result<int> { return renew_certificates(*name); }};
  return {.name = "certs", .summary = "Certificates of the control plane", .doors = {check, renew}};
}

}  // namespace dure::cmd
