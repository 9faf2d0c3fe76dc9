// What a cluster publishes about itself: the Services `kubernetes` and `kube-dns`, kube-system/kubeadm-config, and
// kube-public/cluster-info, where third parties and newcomers look for them.
#pragma once

#include <string>

#include "bootstrap/settings.h"
#include "client/client.h"

namespace dure::plane {

// Creates what is missing and brings what names this server's address up to date. Blocks.
Status publish_cluster(client::Client& client, const bootstrap::ServerSettings& settings, const std::string& ca_pem);

}  // namespace dure::plane
