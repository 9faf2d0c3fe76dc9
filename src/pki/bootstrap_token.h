// Bootstrap tokens: "abcdef.0123456789abcdef", with which a machine that is not yet a member
// authenticates, and the Secret that stores one. As
// https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens describes.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace dure::os {
class Random;
}

namespace dure::pki {

struct BootstrapToken {
  std::string id, secret;  // 6 and 16 of [a-z0-9]
  std::string text() const { return id + "." + secret; }
  std::string secret_name() const { return "bootstrap-token-" + id; }
  friend bool operator==(const BootstrapToken&, const BootstrapToken&) = default;
};

Result<BootstrapToken> parse_bootstrap_token(std::string_view text);
BootstrapToken generate_bootstrap_token(os::Random& random);

// The Secret's layout.
inline constexpr std::string_view bootstrap_token_namespace = "kube-system";
inline constexpr std::string_view bootstrap_token_secret_type = "bootstrap.kubernetes.io/token";
inline constexpr std::string_view bootstrap_token_secret_prefix = "bootstrap-token-";
inline constexpr std::string_view bootstrap_default_group = "system:bootstrappers:kubeadm:default-node-token";

struct BootstrapTokenFacts {
  std::optional<WallTime> expiration = {};  // absent: never
  std::string description = {};
  std::vector<std::string> extra_groups = {std::string(bootstrap_default_group)};
  bool authentication = true, signing = true;
};

// Keys and plain values of the Secret's data, in the order of their names.
std::vector<std::pair<std::string, std::string>> bootstrap_token_secret_data(const BootstrapToken& token,
                                                                             const BootstrapTokenFacts& facts);

// Groups a token may ask for: "system:bootstrappers:" and a label-like rest.
bool is_bootstrap_group(std::string_view group);

// Names a token without telling it: hex of the SHA-256 of its text. Its secret has 82 random bits, so that nobody finds
// the token behind a digest.
std::string token_digest(const BootstrapToken& token);

// The signature of kube-public/cluster-info (key "jws-kubeconfig-<token id>"): a detached JWS,
// "header..signature", HS256 with the token's secret over the kubeconfig text.
std::string sign_detached(const BootstrapToken& token, std::string_view content);
bool verify_detached(const BootstrapToken& token, std::string_view content, std::string_view jws);

}  // namespace dure::pki
