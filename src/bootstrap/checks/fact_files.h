// Readers of the texts that facts come from: /proc, /etc and what nft prints. Pure.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "bootstrap/checks/machine_facts.h"

namespace dure::bootstrap {

std::vector<std::string> lines_of(std::string_view text);               // trimmed, without empty ones
std::vector<std::string> words_of(std::string_view text);               // by white space
std::map<std::string, std::string> assignments(std::string_view text);  // KEY=value, KEY = "value"; # and ; comment
uint64_t meminfo_bytes(std::string_view text, std::string_view key);

// /proc/net/{tcp,udp}[6]: sockets that listen (tcp) or are bound without a peer (udp).
std::vector<Listener> listeners_of(std::string_view table, std::string_view protocol);

struct MountFact {
  std::string device_number, type, device;  // "8:1" "ext4" "/dev/sda1"
};
MountFact mount_of(std::string_view mountinfo, std::string_view path);  // of the longest mount point above `path`

ResolverFacts resolver_of(std::string_view resolv_conf);  // `upstream` stays empty

// What `nft list ruleset` prints: base chains with their rules, whether Docker is there, chains of kube-proxy.
void take_ruleset(std::string_view text, FirewallFacts& firewall);
// "*filter" of iptables-save.
void take_iptables(std::string_view text, FirewallFacts& firewall);

// containerd's config.toml.
void take_containerd_config(std::string_view text, RuntimeFacts& runtime);

}  // namespace dure::bootstrap
