#include <signal.h>

#include <string_view>

#include "cmd/cni.h"
#include "cmd/door.h"

int main(int argc, char** argv) {
  using namespace dure::cmd;
  const std::string_view called = argc > 0 ? argv[0] : "";
  const std::string_view name = called.substr(called.rfind('/') + 1);
  if (name == "dure-cni" || name == "loopback") return run_cni();
  const Door house{.name = "dure",
                   .summary = "dure: one Kubernetes cluster out of machines that were never meant to be one",
                   .doors = {init_door(), join_door(), check_door(), status_door(), doctor_door(), verify_door(),
                             path_door(), config_door(), server_door(), agent_door(), token_door(), certs_door(),
                             kubeconfig_door(), reset_door(), lab_door(), version_door()}};
  return enter(house, argc, argv);
}
