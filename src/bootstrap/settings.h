// Settings: what `dure server` and `dure agent` start from. `init` and `join` write them once as plain text, one "key =
// value" a line; a person may edit them and restart. Unknown keys are an error that names the line, so that a typo is
// not silent.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace dure::os {
class Disk;
}

namespace dure::bootstrap {

// Where things lie. The defaults are kubeadm's and the kubelet's places.
struct Places {
  std::string kubernetes = "/etc/kubernetes";  // pki/, admin.conf, kubelet.conf
  std::string settings = "/etc/dure";          // server.conf, agent.conf
  std::string data = "/var/lib/dure";          // store/, journal
  std::string kubelet = "/var/lib/kubelet";    // pods and volumes
  std::string admin_conf() const { return kubernetes + "/admin.conf"; }
  std::string kubelet_conf() const { return kubernetes + "/kubelet.conf"; }
  std::string bootstrap_conf() const { return kubernetes + "/bootstrap-kubelet.conf"; }
  std::string ca_certificate() const { return kubernetes + "/pki/ca.crt"; }
  std::string server_conf() const { return settings + "/server.conf"; }
  std::string agent_conf() const { return settings + "/agent.conf"; }
  std::string store() const { return data + "/store"; }
  std::string servers() const { return data + "/servers"; }  // addresses of the server that the cluster told
  std::string peers() const { return data + "/peers"; }      // where the other nodes were reached last
  std::string memory() const { return data + "/memory"; }    // the API as the server told it last (client/remembered.h)
  std::string journal() const { return data + "/journal"; }
  std::string wireguard_key() const { return data + "/wireguard.key"; }
  std::string snapshot() const { return data + "/snapshot"; }  // of the machine before anything was changed
};

struct ServerSettings {
  std::string advertise_address;  // what members connect to
  std::string bind_address = "0.0.0.0";
  int bind_port = 6443;
  std::string pod_cidr = "10.244.0.0/16", service_cidr = "10.96.0.0/12", dns_domain = "cluster.local";
  std::string node_cidr = "10.245.0.0/16";  // stable addresses of nodes, with the network "wireguard"
  std::string network = "wireguard";
  std::string node_name;
  std::vector<std::string> extra_names;  // of the API server's certificate
  std::string control_plane_endpoint;    // "host:port" that join lines name; empty: address and port

  std::string url() const;
  std::string public_url() const;                     // with control_plane_endpoint
  std::string service_address(unsigned index) const;  // of service_cidr: 1 is "kubernetes", 10 is "kube-dns"
};

struct AgentSettings {
  std::string node_name;
  std::string node_ip;  // the machine's own; with the network "wireguard" only where its port is looked for first
  std::vector<std::string> server_urls;  // "https://host:port", as given to join; names are looked up at each try
  std::string proxy, no_proxy;           // as HTTPS_PROXY and NO_PROXY
  std::string runtime_endpoint = "unix:///run/containerd/containerd.sock";
  std::string cluster_dns = "10.96.0.10", dns_domain = "cluster.local";
  std::string pod_cidr = "10.244.0.0/16", service_cidr = "10.96.0.0/12";
  std::string node_cidr = "10.245.0.0/16";
  std::string network = "wireguard";          // or "vxlan", or "none": a third-party CNI brings the network
  int wireguard_port = 0;                     // written by init and join (node_identity.h); 0: as they would
  std::string capacity_cpu, capacity_memory;  // empty: what the machine has
  int pods_max = 110;
  std::vector<std::string> labels, taints;  // "key=value", "key=value:Effect"
};

std::string to_text(const ServerSettings& settings);
std::string to_text(const AgentSettings& settings);
Result<ServerSettings> parse_server_settings(std::string_view text);
Result<AgentSettings> parse_agent_settings(std::string_view text);

// "NotInitialized" with the command that helps when the file is not there.
Result<ServerSettings> read_server_settings(os::Disk& disk, const Places& places);
Result<AgentSettings> read_agent_settings(os::Disk& disk, const Places& places);

}  // namespace dure::bootstrap
