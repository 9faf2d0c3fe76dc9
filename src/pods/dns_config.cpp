#include "pods/dns_config.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace dure::pods {

using kinds::core_v1::HostAlias;
using kinds::core_v1::Pod;
using kinds::core_v1::PodDNSConfigOption;

namespace {

std::vector<std::string> words(std::string_view line) {
  std::vector<std::string> out;
  size_t at = 0;
  while (at < line.size()) {
    while (at < line.size() && (line[at] == ' ' || line[at] == '\t')) ++at;
    const size_t start = at;
    while (at < line.size() && line[at] != ' ' && line[at] != '\t') ++at;
    if (at > start) out.emplace_back(line.substr(start, at - start));
  }
  return out;
}

template <class T>
void cut(std::vector<T>& list, size_t most) {
  if (list.size() > most) list.resize(most);
}

void add_once(std::vector<std::string>& list, std::string_view value) {
  if (std::find(list.begin(), list.end(), value) == list.end()) list.emplace_back(value);
}

std::string_view option_name(std::string_view option) { return option.substr(0, option.find(':')); }

void set_option(std::vector<std::string>& options, std::string_view name, std::string_view value) {
  std::string text(name);
  if (!value.empty()) text.append(":").append(value);
  for (std::string& old : options)
    if (option_name(old) == name) {
      old = text;
      return;
    }
  options.push_back(std::move(text));
}

}  // namespace

DnsConfig parse_resolv_conf(std::string_view text) {
  DnsConfig out;
  for (std::string_view line : split(text, '\n')) {
    line = trim(line);
    if (line.empty() || line[0] == '#' || line[0] == ';') continue;
    std::vector<std::string> fields = words(line);
    if (fields.size() < 2) continue;
    const std::vector<std::string> rest(fields.begin() + 1, fields.end());
    if (fields[0] == "nameserver")
      out.servers.push_back(rest[0]);
    else if (fields[0] == "search" || fields[0] == "domain")
      out.searches = rest;
    else if (fields[0] == "options")
      out.options = rest;
  }
  return out;
}

DnsConfig dns_config(const Pod& pod, const ClusterDns& cluster, const DnsConfig& node) {
  const auto spec = pod.spec();
  std::string_view policy = spec.dnsPolicy().empty() ? "ClusterFirst" : spec.dnsPolicy();
  if (policy == "ClusterFirst" && spec.hostNetwork()) policy = "Default";
  if (policy == "ClusterFirstWithHostNet") policy = "ClusterFirst";
  DnsConfig out;
  if (policy == "ClusterFirst" && !cluster.servers.empty()) {
    out.servers = cluster.servers;
    const std::string services = "svc." + cluster.domain;
    out.searches = {fmt::format("{}.{}", pod.metadata().namespace_(), services), services, cluster.domain};
    for (const std::string& search : node.searches) add_once(out.searches, search);
    out.options = {"ndots:5"};
  } else if (policy != "None") {
    out = node;
  }
  for (std::string_view server : spec.dnsConfig().nameservers()) add_once(out.servers, server);
  for (std::string_view search : spec.dnsConfig().searches()) add_once(out.searches, search);
  for (PodDNSConfigOption option : spec.dnsConfig().options()) set_option(out.options, option.name(), option.value());
  cut(out.servers, 3);
  cut(out.searches, 32);
  return out;
}

HostName host_name(const Pod& pod, std::string_view cluster_domain) {
  HostName out;
  out.name = pod.spec().hostname().empty() ? std::string(pod.metadata().name()) : std::string(pod.spec().hostname());
  if (out.name.size() > 63) {
    out.name.resize(63);
    while (!out.name.empty() && (out.name.back() == '-' || out.name.back() == '.')) out.name.pop_back();
  }
  if (!pod.spec().subdomain().empty())
    out.domain = fmt::format("{}.{}.svc.{}", pod.spec().subdomain(), pod.metadata().namespace_(), cluster_domain);
  if (pod.spec().setHostnameAsFQDN() && !out.domain.empty()) out.name = out.name + "." + out.domain;
  return out;
}

std::string hosts_file(const Pod& pod, const std::vector<std::string>& pod_ips, std::string_view cluster_domain,
                       std::string_view node_hosts) {
  std::string out;
  if (pod.spec().hostNetwork()) {
    out = "# Kubernetes-managed hosts file (host network).\n" + std::string(node_hosts);
    if (!out.ends_with('\n')) out += '\n';
  } else {
    out =
        "# Kubernetes-managed hosts file.\n"
        "127.0.0.1\tlocalhost\n"
        "::1\tlocalhost ip6-localhost ip6-loopback\n"
        "fe00::0\tip6-localnet\n"
        "fe00::0\tip6-mcastprefix\n"
        "fe00::1\tip6-allnodes\n"
        "fe00::2\tip6-allrouters\n";
    const HostName host = host_name(pod, cluster_domain);
    const std::string plain = host.name.substr(0, host.name.find('.'));
    for (const std::string& ip : pod_ips)
      out += host.domain.empty() ? fmt::format("{}\t{}\n", ip, host.name)
                                 : fmt::format("{}\t{}.{}\t{}\n", ip, plain, host.domain, plain);
  }
  if (pod.spec().hostAliases().size() > 0) out += "\n# Entries added by HostAliases.\n";
  for (HostAlias alias : pod.spec().hostAliases()) {
    out += alias.ip();
    for (std::string_view name : alias.hostnames()) out.append("\t").append(name);
    out += '\n';
  }
  return out;
}

}  // namespace dure::pods
