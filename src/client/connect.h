// connect: the Client over HTTPS. JSON on the wire; watches are streams with bookmarks.
#pragma once

#include <memory>
#include <string>

#include "client/client.h"
#include "run/loop.h"

namespace dure::client {

struct Credentials {
  std::string ca_pem;                    // empty only with insecure = true
  std::string certificate_pem, key_pem;  // client certificate, or empty
  std::string token;                     // bearer token, or empty
  std::string server_name;               // for verification; empty: the host in the URL
  bool insecure = false;                 // do not verify the server
  std::string user_agent = "dure";
};

struct ConnectLimits {
  Duration timeout = 30s;
};

// `loop` runs the connection and outlives the client; calls block the calling thread, which must not be the loop's.
Result<std::unique_ptr<Client>> connect(run::Loop& loop, std::string server_url, Credentials credentials,
                                        ConnectLimits limits = {});

// The path and query of a request: "/apis/apps/v1/namespaces/default/deployments/web/status". `namespace_` is ignored
// for cluster-scoped resources.
std::string path_of(const Resource& resource, std::string_view namespace_, std::string_view name = {},
                    std::string_view subresource = {});
std::string query_of(const ListOptions& options, bool watch);

}  // namespace dure::client
