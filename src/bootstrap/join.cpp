#include "bootstrap/join.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/text.h"
#include "bootstrap/journal.h"
#include "client/connect.h"
#include "kinds/views/core_v1.h"
#include "os/disk.h"
#include "pki/bootstrap_token.h"
#include "pki/certificate.h"
#include "pki/kubeconfig.h"
#include "schema/json.h"
#include "schema/yaml.h"
#include "wire/http.h"

namespace dure::bootstrap {
namespace {

constexpr std::string_view kNewToken = "on the server: dure token create --print-join-command";

std::string url_of(std::string_view server) {
  if (server.starts_with("https://")) return std::string(server);
  return "https://" + std::string(server) + (server.find(':') == std::string_view::npos ? ":6443" : "");
}

Result<std::string> fetch_cluster_info(run::Loop& loop, const std::string& url, Duration timeout) {
  wire::TlsClientConfig tls;
  tls.insecure = true;
  DURE_TRY(const auto http, wire::HttpClient::create(loop, url, tls));
  wire::Request request;
  request.target = "/api/v1/namespaces/kube-public/configmaps/cluster-info";
  request.headers.set("accept", "application/json");
  auto response = http->call(std::move(request), {timeout});
  if (!response)
    return fail(Error{503, "ServerUnreachable", fmt::format("{} does not answer: {}", url, response.error().message),
                      "check the address and port, and that a firewall between lets TCP through"});
  if (response->status != 200)
    return fail(
        Error{502, "NoClusterInfo",
              fmt::format("{} answered {} for kube-public/cluster-info: not a dure or kubeadm server, or not ready yet",
                          url, response->status)});
  DURE_TRY(const schema::Document document,
           schema::decode_json(SharedBytes(std::move(response->body)), kinds::core_v1::ConfigMap::type()));
  return std::string(kinds::core_v1::ConfigMap(document).data().get("kubeconfig"));
}

Result<std::string> verified_ca(const std::string& cluster_info, const JoinOptions& options) {
  // A cluster and nothing else: no user, no context.
  DURE_TRY(const schema::Document info, schema::decode_yaml(cluster_info));
  const schema::Node* clusters = info.root()->find("clusters");
  const schema::Node* data =
      clusters && clusters->first() ? clusters->first()->find("cluster", "certificate-authority-data") : nullptr;
  if (!data) return fail(Error{502, "NoClusterInfo", "kube-public/cluster-info holds no certificate authority"});
  DURE_TRY(const std::string ca_pem, base64_decode(data->string()));
  DURE_TRY(const pki::Certificate ca, pki::Certificate::from_pem(ca_pem));
  const std::string pin = ca.public_key().pin();
  if (!options.skip_ca_verification &&
      std::find(options.ca_hashes.begin(), options.ca_hashes.end(), pin) == options.ca_hashes.end())
    return fail(Error{
        401, "CaHashMismatch",
        options.ca_hashes.empty()
            ? "no --discovery-token-ca-cert-hash was given, so the server cannot be trusted"
            : fmt::format("the server's CA is {}, which is not the pinned one: another cluster, or somebody between",
                          pin),
        std::string(kNewToken)});
  return ca_pem;
}

// Ranges and domain of the cluster, from kube-system/kubeadm-config, which bootstrap tokens may read.
Status learn_settings(client::Client& client, AgentSettings& agent) {
  auto config = client.get(kinds::core_v1::configmaps, {"kube-system", "kubeadm-config"});
  if (!config) {
    if (config.error().is("Unauthorized"))
      return fail(
          Error{401, "TokenRefused", "the server does not know this token, or it has expired", std::string(kNewToken)});
    return fail(std::move(config.error()).with_context("read kube-system/kubeadm-config"));
  }
  const std::string yaml(kinds::core_v1::ConfigMap(*config).data().get("ClusterConfiguration"));
  DURE_TRY(const schema::Document cluster, schema::decode_yaml(yaml));
  auto text = [&](const char* key, std::string& out) {
    if (const schema::Node* node = cluster.root()->find("networking", key); node && !node->string().empty())
      out = std::string(node->string());
  };
  text("podSubnet", agent.pod_cidr);
  text("serviceSubnet", agent.service_cidr);
  text("dnsDomain", agent.dns_domain);
  text("dureNetwork", agent.network);
  text("dureNodeSubnet", agent.node_cidr);
  ServerSettings ranges;
  ranges.service_cidr = agent.service_cidr;
  agent.cluster_dns = ranges.service_address(10);
  return {};
}

}  // namespace

Result<JoinReport> prepare_node(run::Loop& loop, os::Disk& disk, const Places& places, JoinOptions options) {
  if (disk.exists(places.agent_conf()) && !options.force)
    return fail(Error{409, "AlreadyJoined",
                      fmt::format("this machine already belongs to a cluster ({} is there)", places.agent_conf()),
                      "dure agent to start it again, or dure reset to leave"});
  if (auto token = pki::parse_bootstrap_token(options.token); !token)
    return fail(Error{400, "BadToken", token.error().message, std::string(kNewToken)});
  const std::string url = url_of(options.server);
  DURE_TRY(const std::string cluster_info, fetch_cluster_info(loop, url, options.timeout));
  DURE_TRY(const std::string ca, verified_ca(cluster_info, options));

  client::Credentials credentials;
  credentials.ca_pem = ca;
  credentials.token = options.token;
  DURE_TRY(const auto api, client::connect(loop, url, credentials, {options.timeout}));
  DURE_CHECK(learn_settings(*api, options.agent));
  options.agent.server_urls.insert(options.agent.server_urls.begin(), url);

  DURE_CHECK(disk.make_directories(places.data, 0755));
  Journal journal(disk, places.journal());
  DURE_CHECK(record_places(disk, journal, places));
  for (const std::string& folder : {places.kubernetes + "/pki", places.settings, places.data, places.kubelet})
    DURE_CHECK(disk.make_directories(folder, 0755));
  pki::Kubeconfig config;
  config.server = url;
  config.ca_pem = ca;
  config.user_name = "tls-bootstrap-token-user";
  config.token = options.token;
  DURE_CHECK(os::write_file_atomic(disk, places.ca_certificate(), ca, 0644));
  DURE_CHECK(os::write_file_atomic(disk, places.bootstrap_conf(), pki::kubeconfig_text(config), 0600));
  // A proxy's address may hold a password.
  const int mode = options.agent.proxy.find('@') == std::string::npos ? 0644 : 0600;
  DURE_CHECK(os::write_file_atomic(disk, places.agent_conf(), to_text(options.agent), mode));
  return JoinReport{url};
}

}  // namespace dure::bootstrap
