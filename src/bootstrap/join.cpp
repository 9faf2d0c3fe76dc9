#include "bootstrap/join.h"

#include <algorithm>
#include <array>
#include <functional>

#include <fmt/format.h>

#include "bootstrap/checks/checks.h"
#include "bootstrap/checks/machine_facts.h"
#include "bootstrap/journal.h"
#include "bootstrap/networks.h"
#include "bootstrap/node_identity.h"
#include "bootstrap/server_address.h"
#include "kernel/links.h"
#include "kinds/views/core_v1.h"
#include "os/disk.h"
#include "pki/kubeconfig.h"
#include "schema/yaml.h"

namespace dure::bootstrap {
namespace {

constexpr std::string_view new_token = "on the server: dure token create --print-join-command";
constexpr Duration patience_with_one_way = 10s;

// Ranges, domain and network of the cluster, from kube-system/kubeadm-config, which bootstrap tokens may read.
Status learn_settings(client::Client& client, AgentSettings& agent) {
  auto config = client.get(kinds::core_v1::configmaps, {"kube-system", "kubeadm-config"});
  if (!config) return fail(std::move(config.error()).with_context("read kube-system/kubeadm-config"));
  const kinds::core_v1::ConfigMap map(*config);
  const auto read = [&](const char* part, std::initializer_list<std::pair<const char*, std::string*>> rows) -> Status {
    const std::string yaml(map.data().get(part));
    if (yaml.empty()) return {};
    DURE_TRY(const schema::Document text, schema::decode_yaml(yaml));
    for (const auto& [key, out] : rows)
      if (const schema::Node* node = text.root()->find("networking", key); node && !node->string().empty())
        *out = std::string(node->string());
    return {};
  };
  DURE_CHECK(
      read("ClusterConfiguration",
           {{"podSubnet", &agent.pod_cidr}, {"serviceSubnet", &agent.service_cidr}, {"dnsDomain", &agent.dns_domain}}));
  DURE_CHECK(read("DureConfiguration", {{"nodeSubnet", &agent.node_cidr}, {"backend", &agent.network}}));
  ServerSettings ranges;
  ranges.service_cidr = agent.service_cidr;
  agent.cluster_dns = ranges.service_address(10);
  return {};
}

MachineFacts read_facts(os::Disk& disk, const Places& places, const AgentSettings& agent) {
  const auto probe = open_machine_probe();
  return read_machine_facts(disk, *probe, {places.data, places.settings, agent.runtime_endpoint});
}

// Codes of what this kernel lacks and no node can do without.
std::vector<std::string> kernel_missing(const MachineFacts& facts, const CheckOptions& options) {
  std::vector<std::string> out;
  for (const Check& check : kernel_checks()) {
    const auto verdict = check.look(facts, options);
    if (verdict && verdict->severity.value_or(check.severity) == Finding::Severity::refuse)
      out.emplace_back(check.code);
  }
  return out;
}

CheckOptions check_options(const AgentSettings& agent) {
  CheckOptions out;
  out.network = agent.network;
  out.dns_domain = agent.dns_domain;
  out.node_name = agent.node_name;
  if (agent.wireguard_port) out.wireguard_port = static_cast<uint16_t>(agent.wireguard_port);
  out.ranges.clear();
  for (const auto& [what, text] :
       {std::pair{"pod", agent.pod_cidr}, std::pair{"service", agent.service_cidr}, std::pair{"node", agent.node_cidr}})
    if (const auto range = IpPrefix::parse(text)) out.ranges.emplace_back(what, *range);
  return out;
}

Result<Newcomer> read_newcomer(os::Disk& disk, const Places& places, const JoinOptions& options,
                               const MachineFacts& facts, const std::string& ca_pin, WallTime now) {
  DURE_TRY(const auto links, kernel::open_links());
  const auto own = own_links(disk, places);
  Newcomer out;
  out.node_name = options.agent.node_name;
  out.version = options.version;
  out.machine = fingerprint_of(read_machine_identity(*links, disk, own), ca_pin);
  DURE_TRY(out.networks, read_networks(*links, disk, own));
  out.wireguard_key = public_wireguard_key(disk, places);
  out.kernel_missing = kernel_missing(facts, check_options(options.agent));
  out.now = now;
  return out;
}

// Another way may lead to the right server; a wrong token or clock is wrong on all of them.
bool may_be_the_way(const Error& error) {
  constexpr std::array codes = {"NotTls", "NotDure", "NoClusterInfo", "CaHashMismatch", "TlsTerminated"};
  return nobody_there(error) || std::ranges::any_of(codes, [&](const char* code) { return error.is(code); });
}

using Told = std::vector<std::pair<wire::Way, Error>>;

// Who answered, though not as hoped, says more than those who did not; when nobody did, each says why.
Error told_by(const wire::DialPlan& plan, const Told& told) {
  std::optional<Error> answered, silent;
  for (const wire::Way& way : plan.ways()) {
    const auto found = std::ranges::find(told, way, &Told::value_type::first);
    if (found == told.end()) continue;
    const Error& error = found->second;
    if (!nobody_there(error)) {
      if (!answered) answered = error;
    } else if (!silent) {
      silent = error;
    } else {
      silent->message += "; " + error.message;
    }
  }
  if (answered) return *answered;
  return silent.value_or(unavailable("no address of a server was given"));
}

// By all ways at once; `attempt` is made with one after the other as they answer, until it succeeds or fails for good.
Status by_any_way(run::Loop& loop, const wire::DialPlan& plan,
                  const std::function<Status(const wire::DialRace::Answer&)>& attempt) {
  const auto race = wire::DialRace::start(loop, {.insecure = true}, hello_question(), patience_with_one_way);
  Told told;
  race->add(plan.ways());
  while (const auto answer = race->next()) {
    Status done = attempt(*answer);
    if (done || !may_be_the_way(done.error())) return done;
    told.emplace_back(answer->way, std::move(done).error());
    race->add(plan.ways());  // the attempt may have learned of more
  }
  for (const auto& [way, error] : race->failures()) told.emplace_back(way, not_reached(loop, way, error));
  return fail(told_by(plan, told));
}

}  // namespace

Result<wire::DialPlan> plan_dialling(AgentSettings& agent) {
  std::vector<std::string> urls;
  for (const std::string& server : agent.server_urls) {
    DURE_TRY(const ServerAddress one, parse_server_address(server));
    if (std::ranges::find(urls, one.url()) == urls.end()) urls.push_back(one.url());
  }
  agent.server_urls = urls;
  if (!agent.proxy.empty()) DURE_CHECK(wire::parse_proxy(agent.proxy));
  return wire::DialPlan(std::move(urls), agent.proxy, agent.no_proxy, 1);
}

Result<JoinPlan> plan_join(run::Loop& loop, os::Disk& disk, const Places& places, JoinOptions options, WallTime now) {
  if (disk.exists(places.agent_conf()) && !options.force)
    return fail(Error{409, "AlreadyJoined",
                      fmt::format("this machine already belongs to a cluster ({} is there)", places.agent_conf()),
                      "dure agent to start it again; dure reset to leave, and first on the copy of a member"});
  DURE_TRY(wire::DialPlan ways, plan_dialling(options.agent));
  const auto token = pki::parse_bootstrap_token(options.token);
  if (!token) return fail(Error{400, "BadToken", token.error().message, std::string(new_token)});
  JoinPlan plan;
  const MachineFacts facts = read_facts(disk, places, options.agent);
  const DiscoveryRequest request{*token, options.ca_hashes, options.skip_ca_verification, options.timeout};
  DURE_CHECK(by_any_way(loop, ways, [&](const wire::DialRace::Answer& hello) -> Status {
    DURE_TRY(plan.discovery, discover(hello, request, now));
    if (parse_server_address(plan.discovery.told_server)) ways.learn({plan.discovery.told_server});
    DURE_TRY(const Newcomer newcomer, read_newcomer(disk, places, options, facts, plan.discovery.ca_pin, now));
    DURE_TRY(plan.findings, present(loop, plan.discovery, newcomer, options.timeout));
    return {};
  }));
  ignore_refusals(plan.findings, options.ignored);
  plan.agent = std::move(options.agent);
  if (refusal(plan.findings)) return plan;
  DURE_TRY(const auto api, client::connect(loop, plan.discovery.way.url, plan.discovery.credentials,
                                           {options.timeout, plan.discovery.way.proxy}));
  DURE_CHECK(learn_settings(*api, plan.agent));
  if (plan.agent.network == "wireguard" && plan.agent.wireguard_port == 0)
    plan.agent.wireguard_port = default_wireguard_port(disk, plan.agent.node_name);
  for (Finding& finding : check_machine(facts, check_options(plan.agent)))
    if (finding.severity != Finding::Severity::note) plan.findings.push_back(std::move(finding));
  ignore_refusals(plan.findings, options.ignored);
  return plan;
}

Status prepare_node(os::Disk& disk, const Places& places, const JoinPlan& plan) {
  DURE_CHECK(disk.make_directories(places.data, 0755));
  Journal journal(disk, places.journal());
  DURE_CHECK(record_places(disk, journal, places));
  for (const std::string& folder : {places.kubernetes + "/pki", places.settings, places.data, places.kubelet})
    DURE_CHECK(disk.make_directories(folder, 0755));
  pki::Kubeconfig config;
  config.server = plan.discovery.way.url;
  config.tls_server_name = plan.discovery.credentials.server_name;
  config.ca_pem = plan.discovery.ca_pem;
  config.user_name = "tls-bootstrap-token-user";
  config.token = plan.discovery.credentials.token;
  DURE_CHECK(os::write_file_atomic(disk, places.ca_certificate(), config.ca_pem, 0644));
  DURE_CHECK(os::write_file_atomic(disk, places.bootstrap_conf(), pki::kubeconfig_text(config), 0600));
  if (!plan.discovery.told_server.empty())
    DURE_CHECK(os::write_file_atomic(disk, places.servers(), plan.discovery.told_server + "\n", 0644));
  // A proxy's address may hold a password.
  const int mode = plan.agent.proxy.find('@') == std::string::npos ? 0644 : 0600;
  return os::write_file_atomic(disk, places.agent_conf(), to_text(plan.agent), mode);
}

}  // namespace dure::bootstrap
