#include "bootstrap/discovery.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/text.h"
#include "kinds/views/core_v1.h"
#include "pki/certificate.h"
#include "schema/json.h"
#include "schema/yaml.h"
#include "wire/http.h"

namespace dure::bootstrap {
namespace {

constexpr std::string_view new_token = "on the server: dure token create --print-join-command";
constexpr std::string_view cluster_info_path = "/api/v1/namespaces/kube-public/configmaps/cluster-info";

wire::Request get_request(std::string_view path) {
  wire::Request request;
  request.target = path;
  request.headers.set("accept", "application/json");
  return request;
}

// Asked in plain words, does it answer with HTTP? An error that TLS made does not tell.
bool speaks_plain_http(run::Loop& loop, const wire::Way& way) {
  const std::string address = wire::server_address(way.url);
  const auto http = wire::HttpClient::create(loop, "http://" + address, {}, way.proxy);
  return http && (*http)->call(get_request("/"), {5s, 1 << 20});
}

Error stopped_answering(const wire::Way& way, const Error& error) {
  return Error{503, "ServerUnreachable", fmt::format("{} stopped answering: {}", way.text(), error.message),
               "try again; dure server may be starting"};
}

Error not_dure(const wire::Way& way, std::string_view path, int status) {
  return Error{502, "NotDure",
               fmt::format("{} answered {} for {}: not the server of a dure cluster, or a proxy that does not reach it",
                           way.text(), status, path),
               "join by the address and port that dure token create --print-join-command prints on the server"};
}

// The version. Read before anything encrypted is checked: a clock far off would make every certificate look wrong.
Result<std::string> read_hello(const wire::DialRace::Answer& hello, WallTime now) {
  const auto document = schema::decode_json(SharedBytes(hello.response.body));
  const schema::Node* time = document ? document->root()->find("time") : nullptr;
  const auto server_now = time ? parse_time(time->string()) : std::nullopt;
  if (hello.response.status != 200 || !server_now)
    return fail(not_dure(hello.way, hello_path, hello.response.status));
  if (auto clock = clock_verdict(now, *server_now)) return fail(*refusal({*clock}));
  const schema::Node* version = document->root()->find("version");
  return version ? std::string(version->string()) : std::string();
}

struct ClusterInfo {
  std::string kubeconfig, signature;  // signature empty: none for this token
};

Result<ClusterInfo> fetch_cluster_info(const wire::DialRace::Answer& server, const DiscoveryRequest& request) {
  const auto response = server.http->call(get_request(cluster_info_path), {request.timeout});
  if (!response) return fail(stopped_answering(server.way, response.error()));
  if (response->status != 200) return fail(not_dure(server.way, "kube-public/cluster-info", response->status));
  DURE_TRY(const schema::Document document,
           schema::decode_json(SharedBytes(response->body), kinds::core_v1::ConfigMap::schema_type()));
  const auto data = kinds::core_v1::ConfigMap(document).data();
  return ClusterInfo{std::string(data.get("kubeconfig")), std::string(data.get("jws-kubeconfig-" + request.token.id))};
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
Status read_kubeconfig(const std::string& kubeconfig, Discovery& out) {
  DURE_TRY(const schema::Document info, schema::decode_yaml(kubeconfig));
  const schema::Node* clusters = info.root()->find("clusters");
  const schema::Node* first = clusters ? clusters->first() : nullptr;
  const schema::Node* data = first ? first->find("cluster", "certificate-authority-data") : nullptr;
  if (!data)
    return fail(Error{502, "NoClusterInfo", "kube-public/cluster-info holds no certificate authority",
                      "kubectl -n kube-public get configmap cluster-info, on the server"});
  DURE_TRY(out.ca_pem, base64_decode(data->string()));
  if (const schema::Node* server = first->find("cluster", "server")) out.told_server = server->string();
  return {};
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
                             wire::server_address(discovery.way.url), error.message),
                 "let the proxy pass TCP through untouched (nginx: stream { server { listen 443; proxy_pass "
                 "SERVER:6443; } }), or join by the server's own port"};
  return stopped_answering(discovery.way, error);
}

}  // namespace

wire::Request hello_question() { return get_request(hello_path); }

Error not_reached(run::Loop& loop, const wire::Way& way, const Error& error) {
  if (error.is("NameNotResolved"))
    return Error{503, "NameUnknown", fmt::format("cannot {}", error.message),
                 "check the name, and the name servers in /etc/resolv.conf; an address works as well"};
  if (error.is("ProxyRefused"))
    return Error{503, "ProxyRefused", error.message,
                 error.remedy.empty()
                     ? "let the proxy pass CONNECT to this port, or give the server another one that it "
                       "passes, such as 443; NO_PROXY takes hosts out"
                     : error.remedy};
  if (error.is("TlsFailed") && speaks_plain_http(loop, way))
    return Error{502, "NotTls",
                 fmt::format("{} speaks plain HTTP, not TLS: not the API server, or a proxy before it",
                             wire::server_address(way.url)),
                 "join by the server's own port (6443), or let the proxy pass TCP through untouched (nginx: "
                 "stream { server { listen 6443; proxy_pass SERVER:6443; } })"};
  return Error{503, "ServerUnreachable", fmt::format("no answer from {}: {}", way.text(), error.message),
               "check that dure server runs there, the address and port, and that every firewall and router between "
               "lets this one TCP port through"};
}

bool nobody_there(const Error& error) {
  return error.is("NameUnknown") || error.is("ServerUnreachable") || error.is("ProxyRefused");
}

Result<Discovery> discover(const wire::DialRace::Answer& hello, const DiscoveryRequest& request, WallTime now) {
  DURE_CHECK(check_hash_form(request.ca_hashes));
  Discovery out;
  out.way = hello.way;
  DURE_TRY(out.server_version, read_hello(hello, now));
  DURE_TRY(const ClusterInfo info, fetch_cluster_info(hello, request));
  DURE_CHECK(read_kubeconfig(info.kubeconfig, out));
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
  DURE_TRY(const auto http, wire::HttpClient::create(loop, discovery.way.url, tls, discovery.way.proxy));
  wire::Request request;
  request.method = "POST";
  request.target = join_path;
  request.headers.set("authorization", "Bearer " + discovery.credentials.token);
  request.headers.set("content-type", "application/json");
  request.body = newcomer_json(newcomer);
  const auto response = http->call(std::move(request), {timeout});
  if (!response) return fail(connection_refused(discovery, response.error()));
  if (response->status != 200) return fail(not_dure(discovery.way, join_path, response->status));
  return parse_findings(response->body);
}

}  // namespace dure::bootstrap
