// What stands in a pod's resolv.conf and hosts file. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "kinds/views/core_v1.h"

namespace dure::pods {

struct DnsConfig {
  std::vector<std::string> servers, searches, options;
  friend bool operator==(const DnsConfig&, const DnsConfig&) = default;
};

DnsConfig parse_resolv_conf(std::string_view text);

struct ClusterDns {
  std::vector<std::string> servers;  // empty: pods get the node's
  std::string domain = "cluster.local";
};

// By dnsPolicy; at most three servers and 32 search domains, as resolvers take no more.
DnsConfig dns_config(const kinds::core_v1::Pod& pod, const ClusterDns& cluster, const DnsConfig& node);

struct HostName {
  std::string name;    // what the pod's UTS namespace is called
  std::string domain;  // "sub.ns.svc.cluster.local" when the pod has a subdomain, else empty
};
HostName host_name(const kinds::core_v1::Pod& pod, std::string_view cluster_domain);

// `node_hosts`: the node's own file, for pods on the host network.
std::string hosts_file(const kinds::core_v1::Pod& pod, const std::vector<std::string>& pod_ips,
                       std::string_view cluster_domain, std::string_view node_hosts);

}  // namespace dure::pods
