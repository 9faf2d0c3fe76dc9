// What every living namespace has: the ServiceAccount `default` and the ConfigMap `kube-root-ca.crt`.
#pragma once

#include "controllers/api.h"

namespace dure::controllers {

LoopSpec service_account(Client& client, Caches& caches);
// Keeps data["ca.crt"] equal to `ca_pem`, also when somebody changes it.
LoopSpec root_ca_publisher(Client& client, Caches& caches, std::string ca_pem);

}  // namespace dure::controllers
