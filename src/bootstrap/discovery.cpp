#include "bootstrap/discovery.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>

#include <fmt/format.h>

#include "base/text.h"
#include "kinds/views/core_v1.h"
#include "pki/certificate.h"
#include "schema/json.h"
#include "schema/yaml.h"
#include "wire/http.h"
#include "wire/socket.h"

namespace dure::bootstrap {
namespace {

constexpr std::string_view new_token = "on the server: dure token create --print-join-command";
constexpr std::string_view cluster_info_path = "/api/v1/namespaces/kube-public/configmaps/cluster-info";
constexpr size_t addresses_max = 8;

// What a plain HTTP server says first; empty: nothing that begins like HTTP.
class FirstLine {
 public:
  void take(std::string_view bytes) {
    const std::lock_guard lock(mutex_);
    text_ += bytes.substr(0, 64);
    changed_.notify_all();
  }
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }
  bool is_http() {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, 3s, [&] { return closed_ || text_.size() >= 5; });
    return text_.starts_with("HTTP/");
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string text_;
  bool closed_ = false;
};

bool speaks_plain_http(run::Loop& loop, const std::string& address) {
  auto stream = wire::dial(loop, address, std::nullopt, 5s);
  if (!stream) return false;
  FirstLine line;
  (*stream)->start({.on_data = [&](std::string_view bytes) { line.take(bytes); },
                    .on_end = [&] { line.close(); },
                    .on_close = [&](const Error&) { line.close(); },
                    .on_drained = {}});
  (*stream)->write(SharedBytes(std::string("GET / HTTP/1.0\r\n\r\n")));
  const bool http = line.is_http();
  stream->reset();  // no callback follows
  return http;
}

// Tries each address that the name stands for, so that a refusal can say what each one did.
Status reach(run::Loop& loop, const ServerAddress& server, Duration timeout) {
  const auto found = wire::resolve({server.host, server.port}, false);
  if (!found)
    return fail(Error{503, "NameUnknown",
                      fmt::format("the name {} cannot be resolved: {}", server.host, found.error().message),
                      "check the name, and the name servers in /etc/resolv.conf; an address works as well"});
  wire::TlsClientConfig tls;
  tls.insecure = true;
  tls.server_name = server.host;
  std::string tried;
  size_t count = 0;
  for (const wire::SocketAddress& one : *found) {
    const std::string address = wire::address_text(one);
    if (++count > addresses_max) break;
    const auto stream = wire::dial(loop, address, tls, std::min<Duration>(timeout, 5s));
    if (stream) return {};
    if (stream.error().is("TlsFailed") && speaks_plain_http(loop, address))
      return fail(Error{502, "NotTls",
                        fmt::format("{} speaks plain HTTP, not TLS: not the API server, or a proxy before it", address),
                        "join by the server's own port (6443), or let the proxy pass TCP through untouched (nginx: "
                        "stream { server { listen 6443; proxy_pass SERVER:6443; } })"});
    tried += fmt::format("{}{}", tried.empty() ? "" : "; ", stream.error().message);
  }
  return fail(
      Error{503, "ServerUnreachable", fmt::format("no answer from {}: {}", server.text(), tried),
            "check that dure server runs there, the address and port, and that every firewall and router between "
            "lets this one TCP port through"});
}

Result<wire::Response> get(wire::HttpClient& http, const std::string& url, std::string_view path, Duration timeout) {
  wire::Request request;
  request.target = path;
  request.headers.set("accept", "application/json");
  auto response = http.call(std::move(request), {timeout});
  if (!response)
    return fail(Error{503, "ServerUnreachable", fmt::format("{} stopped answering: {}", url, response.error().message),
                      "try again; dure server may be starting"});
  return response;
}

Error not_dure(const std::string& url, std::string_view path, int status) {
  return Error{502, "NotDure",
               fmt::format("{} answered {} for {}: not the server of a dure cluster, or a proxy that does not reach it",
                           url, status, path),
               "join by the address and port that dure token create --print-join-command prints on the server"};
}

struct Hello {
  std::string version;
};

// Before anything encrypted is checked: a clock far off would make every certificate look wrong.
Result<Hello> hello(wire::HttpClient& http, const std::string& url, Duration timeout, WallTime now) {
  DURE_TRY(const wire::Response response, get(http, url, hello_path, timeout));
  const auto document = schema::decode_json(SharedBytes(response.body));
  const schema::Node* time = document ? document->root()->find("time") : nullptr;
  const auto server_now = time ? parse_time(time->string()) : std::nullopt;
  if (response.status != 200 || !server_now) return fail(not_dure(url, hello_path, response.status));
  if (auto clock = clock_verdict(now, *server_now)) return fail(*refusal({*clock}));
  const schema::Node* version = document->root()->find("version");
  return Hello{version ? std::string(version->string()) : std::string()};
}

struct ClusterInfo {
  std::string kubeconfig, signature;  // signature empty: none for this token
};

Result<ClusterInfo> fetch_cluster_info(wire::HttpClient& http, const std::string& url, const std::string& token_id,
                                       Duration timeout) {
  DURE_TRY(const wire::Response response, get(http, url, cluster_info_path, timeout));
  if (response.status != 200) return fail(not_dure(url, "kube-public/cluster-info", response.status));
  DURE_TRY(const schema::Document document,
           schema::decode_json(SharedBytes(response.body), kinds::core_v1::ConfigMap::schema_type()));
  const auto data = kinds::core_v1::ConfigMap(document).data();
  return ClusterInfo{std::string(data.get("kubeconfig")), std::string(data.get("jws-kubeconfig-" + token_id))};
}

Status check_hash_form(const std::vector<std::string>& hashes) {
  for (const std::string& hash : hashes)
    if (!hash.starts_with("sha256:") || hash.size() != 7 + 64 ||
        hash.find_first_not_of("0123456789abcdef", 7) != std::string::npos)
      return fail(
          Error{400, "BadCaHash",
                fmt::format("--discovery-token-ca-cert-hash: \"{}\" is not \"sha256:\" and 64 hex digits", hash),
                std::string(new_token)});
  return {};
}

// A cluster and nothing else: no user, no context.
Result<std::string> authority_in(const std::string& kubeconfig) {
  DURE_TRY(const schema::Document info, schema::decode_yaml(kubeconfig));
  const schema::Node* clusters = info.root()->find("clusters");
  const schema::Node* data =
      clusters && clusters->first() ? clusters->first()->find("cluster", "certificate-authority-data") : nullptr;
  if (!data)
    return fail(Error{502, "NoClusterInfo", "kube-public/cluster-info holds no certificate authority",
                      "kubectl -n kube-public get configmap cluster-info, on the server"});
  return base64_decode(data->string());
}

Status check_pin(const std::string& pin, const DiscoveryRequest& request) {
  if (request.skip_ca_verification || std::ranges::find(request.ca_hashes, pin) != request.ca_hashes.end()) return {};
  if (request.ca_hashes.empty())
    return fail(Error{401, "CaHashMissing",
                      "no --discovery-token-ca-cert-hash was given, so the server cannot be trusted",
                      std::string(new_token)});
  return fail(
      Error{401, "CaHashMismatch",
            fmt::format("the server's CA is {}, not the one in the join line: another cluster, a cluster that was "
                        "made anew, or somebody between",
                        pin),
            std::string(new_token)});
}

// Without a signature the token is unknown or expired: with a pinned CA the server can be asked which, without one the
// token must not be shown to whoever answers.
Status check_signature(const ClusterInfo& info, const DiscoveryRequest& request) {
  if (!info.signature.empty() && pki::verify_detached(request.token, info.kubeconfig, info.signature)) return {};
  if (!info.signature.empty())
    return fail(
        Error{401, "TokenRefused",
              fmt::format("the cluster knows a token {} with another secret: the token was mistyped, or made anew",
                          request.token.id),
              std::string(new_token)});
  if (!request.skip_ca_verification) return {};
  return fail(Error{401, "TokenRefused",
                    fmt::format("the cluster does not know the token {}, or it has expired", request.token.id),
                    std::string(new_token)});
}

Error connection_refused(const Discovery& discovery, const Error& error) {
  if (error.is("TlsFailed") || error.message.find("certificate") != std::string::npos)
    return Error{502, "TlsTerminated",
                 fmt::format("what answers at {} passes the cluster's data on but has no certificate of the cluster: a "
                             "proxy ends TLS there ({})",
                             discovery.url, error.message),
                 "let the proxy pass TCP through untouched (nginx: stream { server { listen 443; proxy_pass "
                 "SERVER:6443; } }), or join by the server's own port"};
  return Error{503, "ServerUnreachable", fmt::format("{} stopped answering: {}", discovery.url, error.message),
               "try again; dure server may be starting"};
}

}  // namespace

Result<Discovery> discover(run::Loop& loop, const DiscoveryRequest& request, WallTime now) {
  DURE_CHECK(check_hash_form(request.ca_hashes));
  DURE_CHECK(reach(loop, request.server, request.timeout));
  Discovery out;
  out.url = request.server.url();
  wire::TlsClientConfig tls;
  tls.insecure = true;
  DURE_TRY(const auto http, wire::HttpClient::create(loop, out.url, tls));
  DURE_TRY(const Hello server, hello(*http, out.url, request.timeout, now));
  out.server_version = server.version;
  DURE_TRY(const ClusterInfo info, fetch_cluster_info(*http, out.url, request.token.id, request.timeout));
  DURE_TRY(out.ca_pem, authority_in(info.kubeconfig));
  DURE_TRY(const pki::Certificate ca, pki::Certificate::from_pem(out.ca_pem));
  out.ca_pin = ca.public_key().pin();
  DURE_CHECK(check_pin(out.ca_pin, request));
  DURE_CHECK(check_signature(info, request));
  out.credentials.ca_pem = out.ca_pem;
  out.credentials.token = request.token.text();
  out.credentials.server_name = api_server_name;
  return out;
}

Result<std::vector<Finding>> present(run::Loop& loop, const Discovery& discovery, const Newcomer& newcomer,
                                     Duration timeout) {
  wire::TlsClientConfig tls;
  tls.ca_pem = discovery.ca_pem;
  tls.server_name = discovery.credentials.server_name;
  DURE_TRY(const auto http, wire::HttpClient::create(loop, discovery.url, tls));
  wire::Request request;
  request.method = "POST";
  request.target = join_path;
  request.headers.set("authorization", "Bearer " + discovery.credentials.token);
  request.headers.set("content-type", "application/json");
  request.body = newcomer_json(newcomer);
  const auto response = http->call(std::move(request), {timeout});
  if (!response) return fail(connection_refused(discovery, response.error()));
  if (response->status != 200) return fail(not_dure(discovery.url, join_path, response->status));
  return parse_findings(response->body);
}

}  // namespace dure::bootstrap
