#include "cmd/kubernetes_client.h"

#include <stdlib.h>

#include "bootstrap/settings.h"
#include "client/connect.h"
#include "os/disk.h"

namespace dure::cmd {

std::string default_kubeconfig() {
  const char* set = getenv("KUBECONFIG");
  return set && *set ? set : bootstrap::Places().admin_conf();
}

Result<client::Kubeconfig> read_kubeconfig(const std::string& kubeconfig, const std::string& context) {
  const auto disk = os::make_disk();
  const std::string path = kubeconfig.empty() ? default_kubeconfig() : kubeconfig;
  auto text = os::read_file(*disk, path);
  if (!text)
    return fail(Error{404, "NoKubeconfig", "cannot read " + path + ": " + text.error().message,
                      "--kubeconfig FILE, or on the server as root"});
  return client::parse_kubeconfig(
      *text, [&](std::string_view file) { return os::read_file(*disk, std::string(file)); }, context);
}

Result<std::unique_ptr<Administrator>> Administrator::open(const std::string& kubeconfig) {
  DURE_TRY(const client::Kubeconfig config, read_kubeconfig(kubeconfig));
  std::unique_ptr<Administrator> out(new Administrator);
  out->server_ = config.server;
  out->ca_pem_ = config.credentials.ca_pem;
  DURE_TRY(out->client_, client::connect(out->thread_.loop(), config.server, config.credentials));
  return out;
}

}  // namespace dure::cmd
