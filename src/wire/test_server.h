// A server with certificates on an ephemeral port, and clients for it; for this room's tests and benchmarks.
#pragma once

#include "wire/http.h"
#include "wire/test_certificates.h"

namespace dure::wire {

struct TestServer {
  explicit TestServer(Handler handler, ServerLimits limits = {}, bool with_tls = true) {
    const auto pair = authority.issue("server", "DNS:localhost,IP:127.0.0.1");
    std::optional<TlsServerConfig> tls;
    if (with_tls) tls = TlsServerConfig{pair.certificate_pem, pair.key_pem, authority.ca_pem()};
    server =
        Server::listen("127.0.0.1:0", tls, {&server_thread.loop()}, std::move(handler), std::move(limits)).value();
  }
  std::string address() const { return "127.0.0.1:" + std::to_string(server->port()); }
  std::unique_ptr<HttpClient> client(TlsClientConfig tls = {}) {
    if (tls.ca_pem.empty() && !tls.insecure) tls.ca_pem = authority.ca_pem();
    return HttpClient::create(client_thread.loop(), "https://" + address(), tls).value();
  }
  std::unique_ptr<HttpClient> plain_client(const char* scheme) {
    return HttpClient::create(client_thread.loop(), scheme + ("://" + address())).value();
  }

  TestAuthority authority;
  run::LoopThread server_thread{"server"}, client_thread{"client"};
  std::unique_ptr<Server> server;
};

}  // namespace dure::wire
