// Bootstrap tokens (kube-system, Secrets of type bootstrap.kubernetes.io/token): what they sign, and their end.
//
// Keys are not this room's: the wiring passes in what pki does with a token.
#pragma once

#include <functional>
#include <optional>

#include "controllers/api.h"

namespace dure::controllers {

struct TokenKeys {
  // The detached JWS of `content` with the token (pki::sign_detached).
  std::function<std::string(std::string_view id, std::string_view secret, std::string_view content)> sign;
  // Names a token without telling it.
  std::function<std::string(std::string_view id, std::string_view secret)> digest;
};

// Keeps "jws-kubeconfig-<id>" beside "kubeconfig" in kube-public/cluster-info, one for each token that is meant for
// signing and has not expired: with it a newcomer who holds the token knows that the text is the cluster's.
LoopSpec cluster_info_signer(Client& client, Caches& caches, TokenKeys keys);

// Deletes tokens whose `expiration` has passed, and remembers when that was, so that whoever comes with one later can
// be told. The memory is the Secret kube-system/dure-expired-tokens: id -> "<expiration> <digest>", the latest 32; of
// no use for authentication. Without `keys.digest` nothing is remembered.
LoopSpec token_cleaner(Client& client, Caches& caches, TokenKeys keys);

inline constexpr std::string_view expired_tokens_name = "dure-expired-tokens";
inline constexpr size_t expired_tokens_max = 32;

}  // namespace dure::controllers
