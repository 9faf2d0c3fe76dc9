// Front: the API over HTTP. Turns an Exchange into an ApiRequest, asks who it is, and writes what the Api answers.
//
// Owner: the wiring; everything handed in outlives the Front, and the Front outlives the servers that use its handler.
// Thread: the handler runs on the connection's loop and does not block.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "apiserver/api.h"
#include "wire/http.h"

namespace dure::apiserver {

// Opens a byte stream to the kubelet API of a node (HTTP/1.1). Does not block. Errors explain why the node is out of
// reach.
class NodeDialer {
 public:
  virtual ~NodeDialer() = default;
  virtual Result<std::unique_ptr<wire::Stream>> dial(std::string_view node) = 0;
};

struct HealthCheck {
  std::string name;
  std::function<Status()> check;  // quick, from any thread
  bool readyz_only = false;       // not part of /livez and /healthz
};

// One served path outside the resources (tunnels, /openapi). Authenticated, and authorized unless `open`.
struct ExtraRoute {
  std::string path;  // exact, or a prefix when it ends with a slash
  std::function<void(std::shared_ptr<wire::Exchange>, std::shared_ptr<const User>)> serve;
  bool open = false;  // the route judges by itself
};

struct FrontOptions {
  Authenticate authenticate;    // absent: everybody is system:anonymous
  NodeDialer* nodes = nullptr;  // absent: streams to nodes answer 501
  std::vector<HealthCheck> checks;
  std::vector<ExtraRoute> routes;
  size_t unsent_bytes_max = 256 << 10;  // of one response; then it is paused until the client has read
  Duration watch_timeout_min = 30min;   // watches without timeoutSeconds live this long, up to twice as long
};

class Front {
 public:
  Front(Api& api, FrontOptions options);
  ~Front();
  wire::Handler handler();
  // Answers for requests that never reach the handler, as Status objects: ServerLimits::refusal.
  static wire::Response refusal(int status, std::string_view why);

  struct State;  // front_state.h

 private:
  std::shared_ptr<State> state_;
};

}  // namespace dure::apiserver
