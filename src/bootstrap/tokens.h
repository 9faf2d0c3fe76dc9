// Bootstrap tokens: Secrets of type bootstrap.kubernetes.io/token in kube-system, as `kubeadm token` makes them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "client/client.h"
#include "pki/bootstrap_token.h"

namespace dure::bootstrap {

struct TokenRow {
  std::string token;
  std::string expires;  // RFC 3339, or empty: never
  std::string usages, description, extra_groups;
};

Status create_token(client::Client& client, const pki::BootstrapToken& token, const pki::BootstrapTokenFacts& facts);
Result<std::vector<TokenRow>> list_tokens(client::Client& client);
Status delete_token(client::Client& client, std::string_view token_or_id);

// As `kubeadm token list` prints them: TOKEN TTL EXPIRES USAGES DESCRIPTION EXTRA GROUPS.
std::string token_table(const std::vector<TokenRow>& rows, WallTime now);

// The server's address in kube-public/cluster-info: what members dial.
Result<std::string> published_server(client::Client& client);

// "dure join 192.0.2.1:6443 --token ... --discovery-token-ca-cert-hash sha256:..."
std::string join_command(std::string_view server_url, const pki::BootstrapToken& token, std::string_view ca_hash);

}  // namespace dure::bootstrap
