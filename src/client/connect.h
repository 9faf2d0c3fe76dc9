// connect: the Client over HTTPS. JSON on the wire; watches are streams with bookmarks.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "client/client.h"
#include "run/loop.h"
#include "wire/http.h"

namespace dure::client {

struct Credentials {
  std::string ca_pem;                    // empty only with insecure = true
  std::string certificate_pem, key_pem;  // client certificate, or empty
  std::string token;                     // bearer token, or empty
  std::string server_name;               // for verification; empty: the host in the URL
  bool insecure = false;                 // do not verify the server
  std::string user_agent = "dure";
};

wire::TlsClientConfig tls_of(const Credentials& credentials);

struct ConnectLimits {
  Duration timeout = 30s;
  std::optional<wire::Proxy> proxy = {};  // the way to the server goes through it
};

// `loop` runs the connection and outlives the client; calls block the calling thread, which must not be the loop's.
Result<std::unique_ptr<Client>> connect(run::Loop& loop, std::string server_url, Credentials credentials,
                                        ConnectLimits limits = {});

// The same over an HttpClient that somebody else made, for example over the streams of a tunnel, whose certificate says
// who one is.
std::unique_ptr<Client> connect_over(std::unique_ptr<wire::HttpClient> http, Credentials credentials,
                                     ConnectLimits limits = {});

// The path and query of a request: "/apis/apps/v1/namespaces/default/deployments/web/status". `namespace_` is ignored
// for cluster-scoped resources.
std::string path_of(const Resource& resource, std::string_view namespace_, std::string_view name = {},
                    std::string_view subresource = {});
std::string query_of(const ListOptions& options, bool watch);

}  // namespace dure::client
