// Kubeconfig files: the text for one cluster, one user, one context, as kubeadm and kubectl write
// it. Reading any kubeconfig is client's business; here only the embedded certificate of our own
// files can be found again.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "pki/certificate.h"

namespace dure::pki {

struct Kubeconfig {
  std::string cluster_name = "kubernetes";
  std::string server;  // "https://10.0.0.1:6443"
  std::string tls_server_name = {};  // what the server's certificate is held against; empty: the host of `server`
  std::string ca_pem;
  std::string user_name;  // "kubernetes-admin"; empty: no user (as in cluster-info)
  std::string namespace_ = {};
  std::string certificate_pem = {}, key_pem = {};    // embedded
  std::string certificate_file = {}, key_file = {};  // or by path (the agent's own, which rotates)
  std::string token = {};
};

std::string kubeconfig_text(const Kubeconfig& config);
// The kubeconfig inside kube-public/cluster-info: a cluster and nothing else.
std::string cluster_info_text(std::string_view server, std::string_view ca_pem);
// The certificate in "client-certificate-data" of a file that kubeconfig_text wrote.
Result<Certificate> embedded_certificate(std::string_view kubeconfig);
// The text after "server:".
std::optional<std::string> server_of(std::string_view kubeconfig);

}  // namespace dure::pki
