// Api: the cluster as a person with a kubeconfig reaches it: objects, and what the typed Client has no words for: logs,
// exec, port-forward and the nodes' own pages. Thread: any but the loop's; calls block until answered or `timeout`.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "client/client.h"
#include "client/connect.h"
#include "run/loop.h"
#include "wire/http.h"

namespace dure::cli {

class Api {
 public:
  static Result<std::unique_ptr<Api>> open(const std::string& server, const client::Credentials& credentials);

  client::Client& client() { return *client_; }
  // The body of a 200; otherwise the Status' sentence as an error.
  Result<std::string> get(const std::string& path, Duration timeout);
  // stdout of a command in a pod; "CommandFailed" with the runtime's sentence when it did not end with 0.
  Result<std::string> exec(const std::string& ns, const std::string& pod, const std::vector<std::string>& command,
                           Duration timeout);
  // What `request` is answered through a port-forward, until the other side closes or something came.
  Result<std::string> ask_port(const std::string& ns, const std::string& pod, uint16_t port, std::string_view request,
                               Duration timeout);

 private:
  Api() : thread_("dure-cli") {}
  wire::Request request(std::string method, std::string target) const;
  struct Channels;
  Result<std::shared_ptr<Channels>> open_channels(std::string target, std::vector<std::string> protocols,
                                                  Duration timeout);

  run::LoopThread thread_;
  std::unique_ptr<client::Client> client_;
  std::unique_ptr<wire::HttpClient> http_;
  std::string token_;
};

}  // namespace dure::cli
