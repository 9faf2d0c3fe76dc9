// The client of everything that runs inside the server process: the API server's own path without bytes on a wire.
#pragma once

#include <memory>

#include "apiserver/api.h"
#include "client/client.h"

namespace dure::plane {

// Acts as `user`. `api` outlives the client; `watches` is where watch sinks are called.
std::unique_ptr<client::Client> in_process_client(apiserver::Api& api,
                                                  std::shared_ptr<const apiserver::User> user,
                                                  run::Executor& watches);

}  // namespace dure::plane
