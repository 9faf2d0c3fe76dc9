// TLS contexts from PEM texts, and what a finished handshake says. The one place that knows OpenSSL's set-up; the
// stream drives the handshake and the records (wire/socket_stream.h).
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "wire/http.h"

struct ssl_ctx_st;
struct ssl_st;

namespace dure::wire {

using TlsContext = std::shared_ptr<ssl_ctx_st>;

// Client certificates are asked for when client_ca_pem is not empty; one that does not verify is let in and marked
// so, because the answer to it is an HTTP 401, not a broken handshake.
Result<TlsContext> make_server_context(const TlsServerConfig& config);
Result<TlsContext> make_client_context(const TlsClientConfig& config);

// A session on `fd`; the caller frees it (SSL_free). `alpn`: protocols offered, in order.
Result<ssl_st*> make_server_session(const TlsContext& context, int fd);
Result<ssl_st*> make_client_session(const TlsContext& context, int fd, const std::string& server_name, bool insecure,
                                    const std::vector<std::string>& alpn);

std::string alpn_of(ssl_st* session);             // "h2", "http/1.1" or empty
void describe_peer(ssl_st* session, Peer& peer);  // fills the certificate fields
// Why the last operation on this session failed, in one sentence; clears the thread's error queue.
Error tls_error(ssl_st* session, std::string_view what);

}  // namespace dure::wire
