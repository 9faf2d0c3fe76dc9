// TokenCache: service account tokens bound to pods, asked for once and renewed at four fifths of their life (or after a
// day). Thread: any; `get` blocks on the API when a token is due.
#pragma once

#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "client/client.h"
#include "kinds/views/core_v1.h"
#include "run/loop.h"

namespace dure::volumes {

class TokenCache {
 public:
  TokenCache(client::Client& client, run::Executor& executor);
  Result<std::string> get(const schema::Object& pod, const kinds::core_v1::ServiceAccountTokenProjection& wanted);
  // Pods of whose tokens one is due.
  std::set<std::string> due() const;
  void forget(const std::string& uid);

 private:
  struct Token {
    std::string text;
    WallTime renew_at, expires_at;
  };
  using Id = std::pair<std::string, std::string>;  // uid, audience and seconds
  Result<Token> request(const schema::Object& pod, const kinds::core_v1::ServiceAccountTokenProjection& wanted);

  client::Client& client_;
  run::Executor& executor_;
  mutable std::mutex mutex_;
  std::map<Id, Token> tokens_;
};

}  // namespace dure::volumes
