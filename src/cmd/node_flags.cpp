#include "cmd/node_flags.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <memory>

#include "base/ip.h"
#include "base/text.h"
#include "bootstrap/server_address.h"
#include "kernel/links.h"
#include "os/proc.h"
#include "overlay/sites.h"
#include "schema/text_rules.h"

namespace dure::cmd {
namespace {

volatile sig_atomic_t interrupted = 0;

// The label in the settings wins over the site that is found out (host/node_paths.cpp) and is there after a restart.
Status name_site(bootstrap::AgentSettings& settings, const std::string& site) {
  if (site.empty()) return {};
  if (const std::string problem = schema::check_label_value(site); !problem.empty())
    return fail(bad_request("--site " + site + ": " + problem));
  const std::string key = std::string(overlay::zone_label) + "=";
  std::erase_if(settings.labels, [&](const std::string& label) { return label.starts_with(key); });
  settings.labels.push_back(key + site);
  return {};
}

}  // namespace

std::vector<Flag> agent_flags(bootstrap::AgentSettings& settings, std::string& site) {
  return {{"--node-name", &settings.node_name, "Name of this node (default: the host name)"},
          {"--node-ip", &settings.node_ip, "Address of this node (default: the one towards the server)"},
          {"--cri-socket", &settings.runtime_endpoint, "Socket of the container runtime"},
          {"--capacity-cpu", &settings.capacity_cpu, "Processors to report instead of the machine's"},
          {"--capacity-memory", &settings.capacity_memory, "Memory to report instead of the machine's"},
          {"--max-pods", &settings.pods_max, "Most pods on this node"},
          {"--site", &site, "Name of the place this machine stands in (default: found out by who shares a LAN)"},
          {"--node-labels", &settings.labels, "Labels for this node: key=value,..."},
          {"--register-with-taints", &settings.taints, "Taints for this node: key=value:Effect,..."}};
}

std::vector<Flag> uplink_flags(bootstrap::AgentSettings& settings) {
  return {
      {"--server", &settings.server_urls, "A further HOST:PORT of the server, tried when the first does not answer"},
      {"--proxy", &settings.proxy, "HTTP proxy on the way to the server (default: $HTTPS_PROXY)"},
      {"--no-proxy", &settings.no_proxy, "Hosts and ranges that need no proxy (default: $NO_PROXY)"}};
}

// A unit that starts at boot has no such variables: what is set now is kept in the settings.
void take_proxy_from_environment(bootstrap::AgentSettings& settings) {
  const auto first_of = [](std::initializer_list<const char*> names) -> std::string {
    for (const char* name : names)
      if (const char* value = getenv(name); value && *value) return value;
    return {};
  };
  if (settings.proxy.empty()) settings.proxy = first_of({"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"});
  if (settings.no_proxy.empty()) settings.no_proxy = first_of({"NO_PROXY", "no_proxy"});
}

Result<std::string> own_address(const std::string& host) {
  // Towards a name: what leaves by the default route. Which address it stands for today does not matter.
  const auto target = Ip::parse(host).value_or(Ip::v4(0xc0000201));  // 192.0.2.1
  DURE_TRY(const auto links, kernel::open_links());
  auto uplink = kernel::find_uplink(*links, target);
  if (!uplink)
    return fail(Error{500, "NoAddress",
                      "this machine has no route towards " + target.text() + ": " + uplink.error().message,
                      "give its address: --node-ip ADDRESS (init: --apiserver-advertise-address ADDRESS)"});
  return uplink->address.text();
}

Status complete_agent(bootstrap::AgentSettings& settings, const std::string& site, const std::string& server_host) {
  DURE_CHECK(name_site(settings, site));
  if (settings.runtime_endpoint.starts_with('/')) settings.runtime_endpoint.insert(0, "unix://");
  if (!settings.node_ip.empty()) DURE_CHECK(bootstrap::check_own_address("--node-ip", settings.node_ip));
  if (settings.node_name.empty()) {
    char name[256] = {};
    gethostname(name, sizeof name - 1);
    settings.node_name = name;
  }
  settings.node_name = lower(settings.node_name);
  if (!schema::check_dns1123_subdomain(settings.node_name).empty())
    return fail(Error{400, "NodeNameInvalid",
                      "\"" + settings.node_name + "\" cannot be a node's name: letters, digits, '-' and '.' only",
                      "--node-name NAME, or hostnamectl set-hostname NAME"});
  if (settings.node_ip.empty()) {
    DURE_TRY(settings.node_ip, own_address(server_host));
  }
  return {};
}

Result<int> run_in_foreground(bool with_server) {
  struct sigaction action{};
  action.sa_handler = [](int) { interrupted = 1; };
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  std::vector<std::unique_ptr<os::Process>> children;
  for (const char* part : {"server", "agent"}) {
    if (!with_server && std::string_view(part) == "server") continue;
    os::ProcessSpec spec;
    spec.argv = {"/proc/self/exe", part};
    spec.parent_death_signal = SIGTERM;
    DURE_TRY(auto child, os::spawn(spec));
    children.push_back(std::move(child));
  }
  while (!interrupted) {
    for (const auto& child : children) {
      DURE_TRY(const auto ended, child->wait_for(200ms));
      if (ended) return fail(Error{500, "ProcessEnded", "a part of dure ended; its last lines above say why"});
    }
  }
  for (const auto& child : children) {
    if (Status sent = child->kill(SIGTERM); !sent) continue;
    if (auto ended = child->wait(); !ended) continue;
  }
  return 0;
}

}  // namespace dure::cmd
