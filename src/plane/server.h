// Server: the control plane of one machine in one object.
//
// Owner: main. `start` returns when the API listens and the bootstrap objects are there; destroying it stops everything
// in reverse. Thread: one.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "bootstrap/settings.h"

namespace dure::plane {

struct ServerOptions {
  bootstrap::Places places;
  bootstrap::ServerSettings settings;
  std::string git_version = "v1.34.0+dure";
  int io_threads = 2, worker_threads = 4;
};

class Server {
 public:
  static Result<std::unique_ptr<Server>> start(ServerOptions options);
  virtual ~Server() = default;
  virtual int port() const = 0;
};

}  // namespace dure::plane
