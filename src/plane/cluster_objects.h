// What a cluster publishes about itself where third parties and newcomers look for it: the Services `kubernetes` and
// `kube-dns`; in kube-system the ConfigMaps kubeadm-config (with our own part, "DureConfiguration"), kube-proxy and
// kubelet-config; and kube-public/cluster-info, which a control loop signs.
#pragma once

#include <string>

#include "bootstrap/settings.h"
#include "client/client.h"
#include "client/loop.h"

namespace dure::plane {

// Creates what is missing and brings what names this server's address up to date. Blocks.
Status publish_cluster(client::Client& client, const bootstrap::ServerSettings& settings, const std::string& ca_pem);

// Where the Service `kubernetes` leads. With the network "wireguard" the stable address of the server's own Node (may
// be null), so that every pod reaches the API over the pod network, wherever it is; the advertise address otherwise,
// and until the Node has one. Pure.
std::string api_address(const bootstrap::ServerSettings& settings, const schema::Object& own_node);

// Keeps the Services `kubernetes` and `kube-dns` and the endpoints of the first: they follow the server's address, and
// come back when somebody deletes them (`kubectl delete services --all`). `client` and `caches` outlive it.
client::LoopSpec own_services(client::Client& client, client::Caches& caches, bootstrap::ServerSettings settings);

}  // namespace dure::plane
