#include "client/kubeconfig.h"

#include "base/text.h"
#include "schema/yaml.h"

namespace dure::client {
namespace {

std::string text(const schema::Node* node, std::string_view key) {
  const schema::Node* child = node ? node->find(key) : nullptr;
  return std::string(child ? child->string() : std::string_view{});
}

bool flag(const schema::Node* node, std::string_view key) {
  const schema::Node* child = node ? node->find(key) : nullptr;
  return child && child->boolean();
}

Error no_such(std::string_view what, std::string_view name) {
  Error error = bad_request("the kubeconfig has no " + std::string(what) + " \"" + std::string(name) + "\"");
  error.reason = "KubeconfigIncomplete";
  return error;
}

// The entry named `name` of a list of {name, <what>}.
Result<const schema::Node*> entry(const schema::Node* root, std::string_view list, std::string_view what,
                                  std::string_view name) {
  const schema::Node* items = root->find(list);
  for (const schema::Node* item = items ? items->first() : nullptr; item; item = item->next())
    if (text(item, "name") == name) return item->find(what);
  return fail(no_such(what, name));
}

// Inline base64 wins over a file.
Result<std::string> data_or_file(const schema::Node* node, const std::string& key, const ReadFile& read_file) {
  const std::string data = text(node, key + "-data");
  if (!data.empty()) return base64_decode(data);
  const std::string path = text(node, key);
  if (path.empty()) return std::string();
  return read_file(path);
}

Status read_user(const schema::Node* user, const std::string& name, const ReadFile& read_file,
                 Credentials& credentials) {
  if (!user) return {};
  if (user->find("exec") || user->find("auth-provider"))
    return fail(unsupported("user \"" + name +
                            "\" of the kubeconfig gets its credentials from a command, which is not supported"));
  DURE_TRY(credentials.certificate_pem, data_or_file(user, "client-certificate", read_file));
  DURE_TRY(credentials.key_pem, data_or_file(user, "client-key", read_file));
  credentials.token = text(user, "token");
  const std::string token_file = text(user, "tokenFile");
  if (!token_file.empty()) {
    DURE_TRY(std::string token, read_file(token_file));
    credentials.token = std::string(trim(token));
  }
  return {};
}

}  // namespace

Result<Kubeconfig> parse_kubeconfig(std::string_view yaml, const ReadFile& read_file, std::string_view context) {
  DURE_TRY(schema::Document document, schema::decode_yaml(yaml));
  const schema::Node* root = document.root();
  Kubeconfig config;
  config.context = context.empty() ? text(root, "current-context") : std::string(context);
  DURE_TRY(const schema::Node* chosen, entry(root, "contexts", "context", config.context));
  config.cluster = text(chosen, "cluster");
  config.user = text(chosen, "user");
  if (const std::string ns = text(chosen, "namespace"); !ns.empty()) config.namespace_ = ns;

  DURE_TRY(const schema::Node* cluster, entry(root, "clusters", "cluster", config.cluster));
  config.server = text(cluster, "server");
  if (config.server.empty()) return fail(no_such("server of cluster", config.cluster));
  config.credentials.insecure = flag(cluster, "insecure-skip-tls-verify");
  config.credentials.server_name = text(cluster, "tls-server-name");
  DURE_TRY(config.credentials.ca_pem, data_or_file(cluster, "certificate-authority", read_file));
  if (config.user.empty()) return config;
  DURE_TRY(const schema::Node* user, entry(root, "users", "user", config.user));
  DURE_CHECK(read_user(user, config.user, read_file, config.credentials));
  return config;
}

}  // namespace dure::client
