// ClusterState: what authentication, authorization and admission read of the cluster. Filled from
// Api::peek and the server's clock.
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "schema/document.h"

namespace dure::apiserver {

struct ClusterState {
  // The newest committed state, or null. get("", "secrets", "kube-system", "x"); thread: any.
  std::function<schema::Object(std::string_view group, std::string_view resource, std::string_view namespace_,
                               std::string_view name)>
      get;
  std::function<std::vector<schema::Object>(std::string_view group, std::string_view resource,
                                            std::string_view namespace_)>
      list;
  std::function<WallTime()> now;
};

}  // namespace dure::apiserver
