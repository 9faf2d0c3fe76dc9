// A client for the doors that talk to the cluster as its administrator: --kubeconfig, $KUBECONFIG, or admin.conf.
#pragma once

#include <memory>
#include <string>

#include "client/client.h"
#include "client/kubeconfig.h"
#include "run/loop.h"

namespace dure::cmd {

class Administrator {
 public:
  static Result<std::unique_ptr<Administrator>> open(const std::string& kubeconfig);
  client::Client& api() { return *client_; }
  const std::string& server() const { return server_; }
  const std::string& ca_pem() const { return ca_pem_; }

 private:
  Administrator() : thread_("dure-client") {}
  run::LoopThread thread_;
  std::unique_ptr<client::Client> client_;
  std::string server_, ca_pem_;
};

// What --kubeconfig falls back to.
std::string default_kubeconfig();
// `context` empty: current-context. "NoKubeconfig" when the file cannot be read.
Result<client::Kubeconfig> read_kubeconfig(const std::string& kubeconfig, const std::string& context = {});

}  // namespace dure::cmd
