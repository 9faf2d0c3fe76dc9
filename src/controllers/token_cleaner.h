// Deletes bootstrap token Secrets (kube-system, type bootstrap.kubernetes.io/token) when their `expiration` has passed.
#pragma once

#include "controllers/api.h"

namespace dure::controllers {

LoopSpec token_cleaner(Client& client, Caches& caches);

}  // namespace dure::controllers
