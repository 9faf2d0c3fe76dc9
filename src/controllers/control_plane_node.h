// Marks the Nodes that the control plane runs on with the label node-role.kubernetes.io/control-plane, as kubeadm does
// (`kubectl get nodes` shows it as the role). A kubelet may not say that of itself. They get no taint: with few
// machines every one of them works.
#pragma once

#include "controllers/api.h"

namespace dure::controllers {

LoopSpec control_plane_node(Client& client, Caches& caches, std::string node_name);

}  // namespace dure::controllers
