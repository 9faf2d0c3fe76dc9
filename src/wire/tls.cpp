#include "wire/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <cstring>

namespace dure::wire {
namespace {

constexpr unsigned char alpn_protocols[] = "\x02h2\x08http/1.1";

std::string openssl_reason() {
  const unsigned long code = ERR_peek_last_error();
  const char* text = code ? ERR_reason_error_string(code) : nullptr;
  std::string out = text ? text : "no further reason";
  ERR_clear_error();
  return out;
}
Error tls_config_error(std::string_view what) {
  return Error{.reason = "TlsConfigInvalid",
               .message = std::string(what) + ": " + openssl_reason()};
}

struct BioFree {
  void operator()(BIO* bio) const { BIO_free(bio); }
};
std::unique_ptr<BIO, BioFree> bio_of(const std::string& pem) {
  return std::unique_ptr<BIO, BioFree>(BIO_new_mem_buf(pem.data(), int(pem.size())));
}

// Reads every certificate of a PEM text; calls `take` with ownership.
template <class Take>
Status each_certificate(const std::string& pem, std::string_view what, Take take) {
  const auto bio = bio_of(pem);
  int count = 0;
  while (X509* certificate = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)) {
    ++count;
    take(certificate);
  }
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  if (count == 0 || !at_end) return fail(tls_config_error(what));
  ERR_clear_error();
  return {};
}

Status use_certificate(SSL_CTX* context, const std::string& certificate_pem,
                       const std::string& key_pem) {
  bool first = true, good = true;
  DURE_CHECK(each_certificate(certificate_pem, "certificate", [&](X509* certificate) {
    if (first)
      good = SSL_CTX_use_certificate(context, certificate) == 1;
    else if (SSL_CTX_add1_chain_cert(context, certificate) != 1)
      good = false;
    first = false;
    X509_free(certificate);
  }));
  if (!good) return fail(tls_config_error("certificate"));
  EVP_PKEY* key = PEM_read_bio_PrivateKey(bio_of(key_pem).get(), nullptr, nullptr, nullptr);
  if (!key) return fail(tls_config_error("private key"));
  good = SSL_CTX_use_PrivateKey(context, key) == 1 && SSL_CTX_check_private_key(context) == 1;
  EVP_PKEY_free(key);
  if (!good) return fail(tls_config_error("private key"));
  return {};
}

Status trust(SSL_CTX* context, const std::string& ca_pem, bool announce) {
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  return each_certificate(ca_pem, "certificate authority", [&](X509* certificate) {
    X509_STORE_add_cert(store, certificate);
    if (announce) SSL_CTX_add_client_CA(context, certificate);
    X509_free(certificate);
  });
}

// "failed" is remembered in the session, because OpenSSL's own result may be that of a later step.
int remember_failure(int good, X509_STORE_CTX* store) {
  if (!good) {
    auto* session =
        static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
    SSL_set_app_data(session, const_cast<char*>("failed"));
  }
  return 1;
}

int choose_protocol(SSL*, const unsigned char** out, unsigned char* out_size,
                    const unsigned char* in, unsigned in_size, void*) {
  unsigned char* chosen = nullptr;
  const int answer = SSL_select_next_proto(&chosen, out_size, alpn_protocols,
                                           sizeof alpn_protocols - 1, in, in_size);
  *out = chosen;
  return answer == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

TlsContext make_context(const SSL_METHOD* method) {
  SSL_CTX* context = SSL_CTX_new(method);
  DURE_ASSERT(context);
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  // Buffers are given back while a connection is idle: 16 KB instead of 52 KB each.
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  // HTTP says itself how long a message is; a peer that skips close_notify is ordinary.
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                   SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_TICKET |
                                   SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  // One read call per wake-up instead of two per record.
  SSL_CTX_set_read_ahead(context, 1);
  return TlsContext(context, SSL_CTX_free);
}

bool is_ip_address(const std::string& name) {
  unsigned char buffer[16];
  return inet_pton(AF_INET, name.c_str(), buffer) == 1 ||
         inet_pton(AF_INET6, name.c_str(), buffer) == 1;
}

}  // namespace

Result<TlsContext> make_server_context(const TlsServerConfig& config) {
  TlsContext context = make_context(TLS_server_method());
  SSL_CTX_set_num_tickets(context.get(), 0);
  SSL_CTX_set_alpn_select_cb(context.get(), choose_protocol, nullptr);
  DURE_CHECK(use_certificate(context.get(), config.certificate_pem, config.key_pem));
  if (!config.client_ca_pem.empty()) {
    DURE_CHECK(trust(context.get(), config.client_ca_pem, true));
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, remember_failure);
  }
  return context;
}

Result<TlsContext> make_client_context(const TlsClientConfig& config) {
  TlsContext context = make_context(TLS_client_method());
  if (!config.certificate_pem.empty()) {
    DURE_CHECK(use_certificate(context.get(), config.certificate_pem, config.key_pem));
  }
  if (!config.ca_pem.empty()) {
    DURE_CHECK(trust(context.get(), config.ca_pem, false));
  } else if (!config.insecure) {
    return fail(Error{.reason = "TlsConfigInvalid",
                      .message = "no certificate authority to verify the server with"});
  }
  return context;
}

Result<ssl_st*> make_server_session(const TlsContext& context, int fd) {
  SSL* session = SSL_new(context.get());
  if (!session || SSL_set_fd(session, fd) != 1) {
    SSL_free(session);
    return fail(tls_config_error("TLS session"));
  }
  SSL_set_accept_state(session);
  return session;
}

Result<ssl_st*> make_client_session(const TlsContext& context, int fd,
                                    const std::string& server_name, bool insecure,
                                    const std::vector<std::string>& alpn) {
  SSL* session = SSL_new(context.get());
  bool good = session && SSL_set_fd(session, fd) == 1;
  if (good && is_ip_address(server_name)) {
    if (!insecure)
      good = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session), server_name.c_str()) == 1;
  } else if (good && !server_name.empty()) {
    good = SSL_set_tlsext_host_name(session, server_name.c_str()) == 1;
    if (good && !insecure) good = SSL_set1_host(session, server_name.c_str()) == 1;
  }
  std::string offered;
  for (const auto& protocol : alpn) offered += char(protocol.size()) + protocol;
  if (good && !offered.empty())
    good = SSL_set_alpn_protos(session, reinterpret_cast<const unsigned char*>(offered.data()),
                               unsigned(offered.size())) == 0;
  if (!good) {
    SSL_free(session);
    return fail(tls_config_error("TLS session for " + server_name));
  }
  SSL_set_verify(session, insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, nullptr);
  SSL_set_connect_state(session);
  return session;
}

std::string alpn_of(ssl_st* session) {
  const unsigned char* name = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(session, &name, &size);
  return std::string(reinterpret_cast<const char*>(name), size);
}

void describe_peer(ssl_st* session, Peer& peer) {
  X509* certificate = SSL_get0_peer_certificate(session);
  if (!certificate) return;
  unsigned char* der = nullptr;
  const int size = i2d_X509(certificate, &der);
  if (size > 0) peer.certificate_der.assign(reinterpret_cast<char*>(der), size_t(size));
  OPENSSL_free(der);
  peer.certificate_verified = SSL_get_verify_mode(session) != SSL_VERIFY_NONE &&
                              SSL_get_app_data(session) == nullptr &&
                              SSL_get_verify_result(session) == X509_V_OK;
}

Error tls_error(ssl_st* session, std::string_view what) {
  const long verify = SSL_get_verify_result(session);
  const bool verify_failed = ERR_GET_REASON(ERR_peek_error()) == SSL_R_CERTIFICATE_VERIFY_FAILED;
  Error error{
      .code = 503, .reason = "TlsFailed", .message = std::string(what) + ": " + openssl_reason()};
  if (verify_failed) {
    error.reason = "TlsVerifyFailed";
    error.message = std::string(what) +
                    ": the certificate was not accepted: " + X509_verify_cert_error_string(verify);
  }
  return error;
}

}  // namespace dure::wire
