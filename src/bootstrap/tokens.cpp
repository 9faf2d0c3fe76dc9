#include "bootstrap/tokens.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/text.h"
#include "kinds/views/core_v1.h"
#include "pki/kubeconfig.h"

namespace dure::bootstrap {
namespace {

using kinds::core_v1::Secret;

std::string decoded(const Secret& secret, std::string_view key) {
  const auto text = base64_decode(secret.data().get(key));
  return text ? *text : std::string();
}

TokenRow row_of(const Secret& secret) {
  TokenRow row;
  row.token = decoded(secret, "token-id") + "." + decoded(secret, "token-secret");
  row.expires = decoded(secret, "expiration");
  row.description = decoded(secret, "description");
  row.extra_groups = decoded(secret, "auth-extra-groups");
  std::vector<std::string> usages;
  if (decoded(secret, "usage-bootstrap-authentication") == "true") usages.push_back("authentication");
  if (decoded(secret, "usage-bootstrap-signing") == "true") usages.push_back("signing");
  row.usages = join(usages, ",");
  return row;
}

std::string or_none(const std::string& text) { return text.empty() ? "<none>" : text; }

}  // namespace

Status create_token(client::Client& client, const pki::BootstrapToken& token, const pki::BootstrapTokenFacts& facts) {
  schema::Document document(Secret::schema_type());
  Secret secret(document);
  secret.mutable_metadata().set_name(token.secret_name());
  secret.mutable_metadata().set_namespace(pki::bootstrap_token_namespace);
  secret.set_type(pki::bootstrap_token_secret_type);
  for (const auto& [key, value] : pki::bootstrap_token_secret_data(token, facts))
    secret.set_data(key, base64_encode(value));
  auto created = client.create(kinds::core_v1::secrets, document, pki::bootstrap_token_namespace);
  if (!created) return fail(std::move(created.error()));
  return {};
}

Result<std::vector<TokenRow>> list_tokens(client::Client& client) {
  client::ListOptions options;
  options.namespace_ = pki::bootstrap_token_namespace;
  options.field_selector = "type=" + std::string(pki::bootstrap_token_secret_type);
  DURE_TRY(const client::ObjectList list, client.list(kinds::core_v1::secrets, options));
  std::vector<TokenRow> rows;
  for (const schema::Object& object : list.items) rows.push_back(row_of(Secret(object)));
  return rows;
}

Status delete_token(client::Client& client, std::string_view token_or_id) {
  const std::string id(token_or_id.substr(0, token_or_id.find('.')));
  Status removed = client.remove(kinds::core_v1::secrets, {std::string(pki::bootstrap_token_namespace),
                                                           pki::BootstrapToken{id, ""}.secret_name()});
  if (!removed && removed.error().is("NotFound"))
    return fail(Error{404, "NotFound", fmt::format("there is no bootstrap token \"{}\"", id), "dure token list"});
  return removed;
}

std::string token_table(const std::vector<TokenRow>& rows, WallTime now) {
  std::string out = fmt::format("{:<25}{:<12}{:<23}{:<26}{:<40}{}\n", "TOKEN", "TTL", "EXPIRES", "USAGES",
                                "DESCRIPTION", "EXTRA GROUPS");
  for (const TokenRow& row : rows) {
    const auto expires = parse_time(row.expires);
    const std::string left = !expires ? "<forever>" : *expires < now ? "<invalid>" : human_duration(*expires - now);
    out += fmt::format("{:<25}{:<12}{:<23}{:<26}{:<40}{}\n", row.token, left, expires ? row.expires : "<never>",
                       or_none(row.usages), or_none(row.description), or_none(row.extra_groups));
  }
  return out;
}

Result<std::string> published_server(client::Client& client) {
  DURE_TRY(const schema::Object map, client.get(kinds::core_v1::configmaps, {"kube-public", "cluster-info"}));
  const auto server = pki::server_of(kinds::core_v1::ConfigMap(map).data().get("kubeconfig"));
  if (!server) return fail(not_found("configmaps", "cluster-info"));
  return *server;
}

std::string join_command(std::string_view server_url, const pki::BootstrapToken& token, std::string_view ca_hash) {
  const size_t scheme = server_url.find("://");
  const std::string_view address = scheme == std::string_view::npos ? server_url : server_url.substr(scheme + 3);
  return fmt::format("dure join {} --token {} --discovery-token-ca-cert-hash {}", address, token.text(), ca_hash);
}

}  // namespace dure::bootstrap
