// JoinDesk: where a machine that wants to become a member presents itself, and is told what stands in the way before it
// changes anything: GET /dure/v1/hello (version and time, for anybody) and POST /dure/v1/join (a Newcomer, with a
// bootstrap token; answered with findings, also about the token: expired since when, unknown). The verdicts are
// bootstrap's and pure; here is only what the server knows. Refusals are logged with the address they came from.
//
// Owner: the server's wiring; what it is given outlives it. Thread: any; does not block.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "apiserver/auth/authenticator.h"
#include "apiserver/auth/cluster_state.h"
#include "bootstrap/join_verdicts.h"
#include "bootstrap/settings.h"
#include "wire/http.h"

namespace dure::plane {

class JoinDesk {
 public:
  JoinDesk(apiserver::ClusterState cluster, apiserver::Authenticator& authenticator,
           const bootstrap::ServerSettings& settings, std::string version)
      : cluster_(std::move(cluster)),
        authenticator_(authenticator),
        settings_(settings),
        version_(std::move(version)) {}

  void serve_hello(wire::Exchange& exchange) const;
  void serve_join(wire::Exchange& exchange);

  // TokenExpired, TokenRefused or nothing.
  std::vector<bootstrap::Finding> judge_token(std::string_view token);
  bootstrap::ClusterView view() const;

 private:
  std::vector<bootstrap::Finding> judge(const wire::Request& request);

  const apiserver::ClusterState cluster_;
  apiserver::Authenticator& authenticator_;
  const bootstrap::ServerSettings& settings_;
  const std::string version_;
};

}  // namespace dure::plane
