#include "bootstrap/checks/fact_files.h"

#include <algorithm>

#include "base/text.h"

namespace dure::bootstrap {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = static_cast<char>(c | 0x20);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

std::optional<uint32_t> hex(std::string_view text) {
  uint32_t value = 0;
  if (text.empty() || text.size() > 8) return std::nullopt;
  for (const char c : text) {
    const int digit = hex_digit(c);
    if (digit < 0) return std::nullopt;
    value = value << 4 | static_cast<uint32_t>(digit);
  }
  return value;
}

// The kernel prints each 32-bit word of an address in the machine's order (little endian on all we run on).
std::optional<Ip> kernel_ip(std::string_view text) {
  std::string raw;
  for (size_t at = 0; at + 8 <= text.size(); at += 8) {
    const auto word = hex(text.substr(at, 8));
    if (!word) return std::nullopt;
    for (int i = 0; i < 4; ++i) raw += static_cast<char>(*word >> (8 * i));
  }
  if (raw.size() != 4 && raw.size() != 16) return std::nullopt;
  return Ip::from_raw(raw);
}

std::string_view unquote(std::string_view text) {
  text = trim(text);
  if (text.size() >= 2 && (text.front() == '"' || text.front() == '\'') && text.back() == text.front())
    text = text.substr(1, text.size() - 2);
  return text;
}

// "type filter hook forward priority filter; policy drop;"
void take_hook(const std::string& line, FilterChain& chain) {
  const auto words = words_of(line);
  for (size_t i = 0; i + 1 < words.size(); ++i) {
    if (words[i] == "hook") chain.hook = words[i + 1];
    if (words[i] == "policy") chain.drops = words[i + 1].starts_with("drop");
  }
}

}  // namespace

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> out;
  for (const std::string_view line : split(text, '\n'))
    if (const std::string_view trimmed = trim(line); !trimmed.empty()) out.emplace_back(trimmed);
  return out;
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> out;
  size_t at = 0;
  while ((at = text.find_first_not_of(" \t\n\r", at)) != std::string_view::npos) {
    const size_t end = std::min(text.find_first_of(" \t\n\r", at), text.size());
    out.emplace_back(text.substr(at, end - at));
    at = end;
  }
  return out;
}

std::map<std::string, std::string> assignments(std::string_view text) {
  std::map<std::string, std::string> out;
  for (std::string_view line : lines_of(text)) {
    if (line[0] == '#' || line[0] == ';') continue;
    if (line.starts_with("export ")) line.remove_prefix(7);
    const size_t equals = line.find('=');
    if (equals == std::string_view::npos) continue;
    out[std::string(trim(line.substr(0, equals)))] = std::string(unquote(line.substr(equals + 1)));
  }
  return out;
}

uint64_t meminfo_bytes(std::string_view text, std::string_view key) {
  for (const std::string& line : lines_of(text))
    if (line.starts_with(key) && line.size() > key.size() && line[key.size()] == ':') {
      const auto words = words_of(std::string_view(line).substr(key.size() + 1));
      const auto kilobytes = words.empty() ? std::nullopt : parse_int(words[0]);
      return kilobytes ? static_cast<uint64_t>(*kilobytes) << 10 : 0;
    }
  return 0;
}

std::vector<Listener> listeners_of(std::string_view table, std::string_view protocol) {
  std::vector<Listener> out;
  for (const std::string& line : lines_of(table)) {
    const auto words = words_of(line);
    if (words.size() < 4) continue;
    const std::string_view state = protocol == "tcp" ? "0A" : "07";  // LISTEN; an unconnected UDP socket
    const size_t colon = words[1].find(':');
    if (words[3] != state || colon == std::string::npos) continue;
    const auto ip = kernel_ip(std::string_view(words[1]).substr(0, colon));
    const auto port = hex(std::string_view(words[1]).substr(colon + 1));
    if (ip && port && *port <= 65535) out.push_back({std::string(protocol), *ip, static_cast<uint16_t>(*port)});
  }
  return out;
}

MountFact mount_of(std::string_view mountinfo, std::string_view path) {
  MountFact best;
  size_t longest = 0;
  for (const std::string& line : lines_of(mountinfo)) {
    const auto words = words_of(line);
    const auto dash = std::ranges::find(words, "-");
    if (words.size() < 5 || words.end() - dash < 3) continue;
    const std::string& point = words[4];
    const bool above = point == "/" || path == point || (path.starts_with(point) && path[point.size()] == '/');
    if (!above || point.size() < longest) continue;  // a later mount covers an earlier one
    longest = point.size();
    best = {words[2], dash[1], dash[2]};
  }
  return best;
}

ResolverFacts resolver_of(std::string_view resolv_conf) {
  ResolverFacts out;
  for (const std::string& line : lines_of(resolv_conf)) {
    auto words = words_of(line);
    if (words[0] == "nameserver" && words.size() > 1) out.nameservers.push_back(words[1]);
    if (words[0] == "search" || words[0] == "domain") out.search.assign(words.begin() + 1, words.end());
  }
  return out;
}

void take_ruleset(std::string_view text, FirewallFacts& firewall) {
  FilterChain chain;
  std::string family, table;
  auto keep = [&] {
    if (chain.name == "DOCKER-USER") {
      firewall.docker = true;
      for (const std::string& rule : chain.rules)
        if (rule.find("cni0") != std::string::npos && rule.find("accept") != std::string::npos)
          firewall.docker_user_accepts = true;
    }
    if (chain.name.starts_with("KUBE-SVC") || chain.name.starts_with("KUBE-SERVICES"))
      firewall.kube_proxy.push_back(chain.name);
    // iptables-nft writes its own chains and ours writes its table: neither is a stranger's
    if (!chain.hook.empty() && table != "dure") firewall.chains.push_back(chain);
    chain = {};
  };
  for (const std::string& line : lines_of(text)) {
    const auto words = words_of(line);
    if (words[0] == "table" && words.size() >= 3) {
      family = words[1], table = words[2];
    } else if (words[0] == "chain" && words.size() >= 2) {
      chain = {.family = family, .table = table, .name = words[1]};
    } else if (words[0] == "}") {
      if (!chain.name.empty()) keep();
    } else if (!chain.name.empty() && words[0] == "type") {
      take_hook(line, chain);
    } else if (!chain.name.empty()) {
      chain.rules.push_back(line);
    }
  }
}

void take_iptables(std::string_view text, FirewallFacts& firewall) {
  std::string table;
  for (const std::string& line : lines_of(text)) {
    if (line[0] == '*') table = line.substr(1);
    const auto words = words_of(line);
    if (line.starts_with(":DOCKER-USER")) firewall.docker = true;
    if (line.starts_with(":KUBE-SVC") || line.starts_with(":KUBE-SERVICES"))
      firewall.kube_proxy.push_back(words[0].substr(1));
    if (line.starts_with("-A DOCKER-USER") && line.find("cni0") != std::string::npos)
      firewall.docker_user_accepts = true;
    if (table != "filter" || line[0] != ':' || words.size() < 2) continue;
    const std::string name = words[0].substr(1);
    if (name != "INPUT" && name != "FORWARD") continue;
    firewall.chains.push_back({"ip", table, name, name == "INPUT" ? "input" : "forward", words[1] == "DROP", {}});
  }
  for (const std::string& line : lines_of(text))
    for (FilterChain& chain : firewall.chains)
      if (line.starts_with("-A " + chain.name + " ")) chain.rules.push_back(line);
}

void take_containerd_config(std::string_view text, RuntimeFacts& runtime) {
  std::string flat;  // lists may go over several lines
  for (const std::string& line : lines_of(text)) flat += line.substr(0, line.find('#')) + " ";
  if (const size_t at = flat.find("disabled_plugins"); at != std::string::npos) {
    const size_t open = flat.find('[', at), close = flat.find(']', at);
    if (open != std::string::npos && close != std::string::npos && open < close) {
      const std::string list = flat.substr(open, close - open);
      for (const char* name : {"\"cri\"", "\"io.containerd.grpc.v1.cri\"", "\"io.containerd.cri.v1.runtime\""})
        if (list.find(name) != std::string::npos) runtime.cri_disabled = true;
    }
  }
  for (std::string line : lines_of(flat.empty() ? "" : text)) {
    std::erase(line, ' ');
    if (line.starts_with("SystemdCgroup=true")) runtime.systemd_cgroup = true;
  }
}

}  // namespace dure::bootstrap
