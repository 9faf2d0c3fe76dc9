// Packet filters of others: what they drop and the exact rules that are missing. A worker needs no open port at all; a
// server needs one. Both must be allowed to pass on the packets of their pods and to hear their pods' DNS questions.
#include <algorithm>

#include <fmt/format.h>

#include "base/text.h"
#include "bootstrap/checks/checks.h"

namespace dure::bootstrap {
namespace {

using Answer = std::optional<Verdict>;
using Severity = Finding::Severity;

std::string pod_range(const CheckOptions& options) {
  for (const auto& [what, range] : options.ranges)
    if (what == "pod") return range.text();
  return "10.244.0.0/16";
}

bool mentions(const std::vector<std::string>& rules, std::string_view text) {
  return std::ranges::any_of(rules, [&](const std::string& rule) { return rule.find(text) != std::string::npos; });
}

bool is_closed(std::string_view policy) { return policy == "DROP" || policy == "REJECT"; }

// "allow tcp 6443 0.0.0.0/0 any 0.0.0.0/0 in": what `ufw allow 6443/tcp` leaves in /etc/ufw/user.rules.
bool ufw_allows(const MachineFacts& facts, std::string_view protocol, uint16_t port) {
  for (const std::string& rule : facts.firewall.ufw_rules) {
    const auto words = split(rule, ' ');
    if (words.size() < 3 || words[0] != "allow" || (words[1] != protocol && words[1] != "any")) continue;
    if (words.size() >= 4 && words[2] == "any" && words.back() == "in" && words[3] == "0.0.0.0/0") return true;
    for (const std::string_view one : split(words[2], ',')) {
      const size_t colon = one.find(':');
      const auto first = parse_int(one.substr(0, colon));
      const auto last = colon == std::string_view::npos ? first : parse_int(one.substr(colon + 1));
      if (first && last && *first <= port && port <= *last) return true;
    }
  }
  return false;
}

bool ufw_filters(const MachineFacts& facts) { return facts.firewall.ufw && is_closed(facts.firewall.ufw_input); }

Answer ufw_blocks_api(const MachineFacts& facts, const CheckOptions& options) {
  if (!ufw_filters(facts) || ufw_allows(facts, "tcp", options.api_port)) return {};
  return Verdict{fmt::format("ufw drops what members send to TCP port {}", options.api_port),
                 fmt::format("ufw allow {}/tcp", options.api_port)};
}

Answer ufw_blocks_pods(const MachineFacts& facts, const CheckOptions& options) {
  if (!facts.firewall.ufw || options.network == "none") return {};
  const auto& rules = facts.firewall.ufw_rules;
  auto is_missing = [&](std::string_view kind, std::string_view direction) {
    return std::ranges::none_of(rules, [&](const std::string& rule) {
      return rule.starts_with(kind) &&
             (rule.ends_with(std::string(direction) + "_cni0") || rule.find(pod_range(options)) != std::string::npos);
    });
  };
  std::vector<std::string> missing;
  if (is_closed(facts.firewall.ufw_input) && is_missing("allow", "in")) missing.push_back("ufw allow in on cni0");
  if (is_closed(facts.firewall.ufw_forward)) {
    if (is_missing("route:allow", "in")) missing.push_back("ufw route allow in on cni0");
    if (is_missing("route:allow", "out")) missing.push_back("ufw route allow out on cni0");
  }
  if (missing.empty()) return {};
  return Verdict{"ufw drops packets from and to the pods of this machine", join(missing, "; ")};
}

Answer ufw_blocks_direct_paths(const MachineFacts& facts, const CheckOptions& options) {
  if (!ufw_filters(facts) || options.network == "none") return {};
  const uint16_t port = options.network == "vxlan" ? options.vxlan_port : options.wireguard_port;
  if (ufw_allows(facts, "udp", port)) return {};
  return Verdict{fmt::format("ufw drops UDP port {}, the direct way between nodes", port),
                 fmt::format("ufw allow {}/udp", port),
                 {},
                 options.network == "vxlan" ? Severity::refuse : Severity::note};
}

// --- firewalld

bool zone_allows(const MachineFacts& facts, uint16_t port, std::string_view protocol) {
  const std::string& zone = facts.firewall.firewalld_zone;
  return zone.find(fmt::format("{}/{}", port, protocol)) != std::string::npos ||
         zone.find("target: ACCEPT") != std::string::npos;
}

Answer firewalld_blocks_api(const MachineFacts& facts, const CheckOptions& options) {
  if (!facts.firewall.firewalld || zone_allows(facts, options.api_port, "tcp")) return {};
  return Verdict{fmt::format("firewalld drops what members send to TCP port {}", options.api_port),
                 fmt::format("firewall-cmd --permanent --add-port={}/tcp; firewall-cmd --reload", options.api_port)};
}

Answer firewalld_blocks_pods(const MachineFacts& facts, const CheckOptions& options) {
  if (!facts.firewall.firewalld || options.network == "none") return {};
  const std::string range = pod_range(options);
  if (facts.firewall.firewalld_trusted.find(range) != std::string::npos ||
      facts.firewall.firewalld_trusted.find("cni0") != std::string::npos)
    return {};
  return Verdict{"firewalld drops packets from and to the pods of this machine",
                 fmt::format("firewall-cmd --permanent --zone=trusted --add-source={}; firewall-cmd --reload", range)};
}

Answer firewalld_blocks_direct_paths(const MachineFacts& facts, const CheckOptions& options) {
  if (!facts.firewall.firewalld || options.network == "none") return {};
  const uint16_t port = options.network == "vxlan" ? options.vxlan_port : options.wireguard_port;
  if (zone_allows(facts, port, "udp")) return {};
  return Verdict{fmt::format("firewalld drops UDP port {}, the direct way between nodes", port),
                 fmt::format("firewall-cmd --permanent --add-port={}/udp; firewall-cmd --reload", port),
                 {},
                 options.network == "vxlan" ? Severity::refuse : Severity::note};
}

// --- Plain nftables and iptables

bool is_plain(const MachineFacts& facts) { return !facts.firewall.ufw && !facts.firewall.firewalld; }

// A chain that drops by its policy and whose rules do not speak of `text`.
const FilterChain* dropping_chain(const MachineFacts& facts, std::string_view hook,
                                  std::initializer_list<std::string> texts) {
  for (const FilterChain& chain : facts.firewall.chains) {
    if (!chain.drops || chain.hook != hook || (chain.family != "ip" && chain.family != "inet")) continue;
    if (std::ranges::none_of(texts, [&](const std::string& text) { return mentions(chain.rules, text); }))
      return &chain;
  }
  return nullptr;
}

std::string chain_name(const FilterChain& chain) { return chain.family + " " + chain.table + " " + chain.name; }

Answer filter_blocks_api(const MachineFacts& facts, const CheckOptions& options) {
  if (!is_plain(facts)) return {};
  const FilterChain* chain = dropping_chain(facts, "input", {std::to_string(options.api_port)});
  if (!chain) return {};
  return Verdict{
      fmt::format("the chain {} drops what members send to TCP port {}", chain_name(*chain), options.api_port),
      fmt::format("nft insert rule {} tcp dport {} accept", chain_name(*chain), options.api_port)};
}

Answer filter_blocks_pods(const MachineFacts& facts, const CheckOptions& options) {
  if (!is_plain(facts) || options.network == "none") return {};
  std::vector<std::string> missing;
  std::string which;
  if (const FilterChain* chain = dropping_chain(facts, "input", {"cni0", pod_range(options)})) {
    missing.push_back(fmt::format("nft insert rule {} iifname cni0 accept", chain_name(*chain)));
    which = chain_name(*chain);
  }
  const FilterChain* forward = dropping_chain(facts, "forward", {"cni0", pod_range(options)});
  if (forward && !facts.firewall.docker) {
    missing.push_back(fmt::format("nft insert rule {} iifname cni0 accept", chain_name(*forward)));
    missing.push_back(fmt::format("nft insert rule {} oifname cni0 accept", chain_name(*forward)));
    which = chain_name(*forward);
  }
  if (missing.empty()) return {};
  return Verdict{fmt::format("the chain {} drops packets from and to the pods of this machine", which),
                 join(missing, "; ")};
}

Answer docker_forward_drop(const MachineFacts& facts, const CheckOptions& options) {
  if (!is_plain(facts) || !facts.firewall.docker || facts.firewall.docker_user_accepts || options.network == "none")
    return {};
  if (!dropping_chain(facts, "forward", {"cni0", pod_range(options)})) return {};
  return Verdict{"Docker set the policy of FORWARD to DROP, so packets from and to pods are lost",
                 "iptables -I DOCKER-USER -i cni0 -j ACCEPT; iptables -I DOCKER-USER -o cni0 -j ACCEPT"};
}

// Path MTU discovery lives on ICMP; so does every first test of a network.
Answer icmp_dropped(const MachineFacts& facts, const CheckOptions&) {
  for (const FilterChain& chain : facts.firewall.chains)
    for (const std::string& rule : chain.rules) {
      const bool is_icmp = rule.find("icmp") != std::string::npos && rule.find("icmpv6") == std::string::npos;
      if (!is_icmp || (!rule.ends_with(" drop") && rule.find("-j DROP") == std::string::npos)) continue;
      return Verdict{
          fmt::format("the chain {} drops ICMP ({}): ping fails, and large packets vanish where a cable on the way "
                      "is smaller",
                      chain_name(chain), rule),
          fmt::format("nft -a list chain {}   then: nft delete rule {} handle N", chain_name(chain),
                      chain_name(chain))};
    }
  return {};
}

Answer legacy_tables(const MachineFacts& facts, const CheckOptions&) {
  if (!facts.firewall.legacy_tables) return {};
  return Verdict{"iptables-legacy has rules beside nftables; a packet must pass both, and nft list ruleset shows one",
                 "iptables-legacy-save   shows them; update-alternatives --set iptables /usr/sbin/iptables-nft"};
}

constexpr Check kChecks[] = {
    {"UfwBlocksApi", Severity::refuse, true, "members must reach the server's one port", ufw_blocks_api},
    {"UfwBlocksPods", Severity::refuse, false, "pods ask DNS on their node and talk through it", ufw_blocks_pods},
    {"UfwBlocksDirectPaths", Severity::note, false, "without it packets take a relay", ufw_blocks_direct_paths},
    {"FirewalldBlocksApi", Severity::refuse, true, "members must reach the server's one port", firewalld_blocks_api},
    {"FirewalldBlocksPods", Severity::refuse, false, "pods ask DNS on their node and talk through it",
     firewalld_blocks_pods},
    {"FirewalldBlocksDirectPaths", Severity::note, false, "without it packets take a relay",
     firewalld_blocks_direct_paths},
    {"FilterBlocksApi", Severity::refuse, true, "members must reach the server's one port", filter_blocks_api},
    {"FilterBlocksPods", Severity::refuse, false, "pods ask DNS on their node and talk through it", filter_blocks_pods},
    {"DockerForwardDrop", Severity::refuse, false, "Docker closes forwarding for everybody", docker_forward_drop},
    {"IcmpDropped", Severity::warn, false, "networks report what does not fit by ICMP", icmp_dropped},
    {"LegacyTables", Severity::note, false, "two packet filters are one too many", legacy_tables},
};

}  // namespace

std::span<const Check> firewall_checks() { return kChecks; }

}  // namespace dure::bootstrap
