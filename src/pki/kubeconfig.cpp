#include "pki/kubeconfig.h"

#include <algorithm>

#include "base/text.h"

namespace dure::pki {
namespace {

bool is_plain_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("/-_.@+=").contains(c);
}

// Plain where YAML reads it back as the same text, else double quoted.
std::string scalar(std::string_view text) {
  if (text.empty()) return "\"\"";
  const std::string low = lower(text);
  const bool word = low == "true" || low == "false" || low == "null" || low == "yes" || low == "no" || low == "on" ||
                    low == "off" || low == "~";
  const bool starts_well = (text[0] >= 'a' && text[0] <= 'z') || (text[0] >= 'A' && text[0] <= 'Z') || text[0] == '/';
  const bool colons_inside = text.find(": ") == std::string_view::npos && text.back() != ':';
  const bool plain = std::all_of(text.begin(), text.end(), [](char c) { return is_plain_character(c) || c == ':'; });
  if (plain && starts_well && colons_inside && !word) return std::string(text);
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else if (static_cast<unsigned char>(c) >= 0x20) {
      out += c;
    }
  }
  return out + "\"";
}

std::string line(std::string_view indent, std::string_view key, std::string_view value) {
  return std::string(indent) + std::string(key) + ": " + scalar(value) + "\n";
}

// base64 needs no quotes even when it begins with a digit and must stay on one line.
std::string data_line(std::string_view key, std::string_view bytes) {
  return "    " + std::string(key) + ": " + base64_encode(bytes) + "\n";
}

std::string cluster_part(const Kubeconfig& config) {
  std::string text = "clusters:\n- cluster:\n";
  if (!config.ca_pem.empty()) text += data_line("certificate-authority-data", config.ca_pem);
  text += line("    ", "server", config.server);
  if (!config.tls_server_name.empty()) text += line("    ", "tls-server-name", config.tls_server_name);
  return text + line("  ", "name", config.cluster_name);
}

std::string user_part(const Kubeconfig& config) {
  std::string text = "users:\n" + line("- ", "name", config.user_name) + "  user:\n";
  if (!config.certificate_file.empty()) {
    text += line("    ", "client-certificate", config.certificate_file);
    text += line("    ", "client-key", config.key_file);
  } else if (!config.certificate_pem.empty()) {
    text += data_line("client-certificate-data", config.certificate_pem);
    text += data_line("client-key-data", config.key_pem);
  }
  if (!config.token.empty()) text += line("    ", "token", config.token);
  return text;
}

std::string_view value_after(std::string_view text, std::string_view key) {
  for (std::string_view row : split(text, '\n')) {
    row = trim(row);
    if (row.starts_with(key)) return trim(row.substr(key.size()));
  }
  return {};
}

}  // namespace

std::string kubeconfig_text(const Kubeconfig& config) {
  std::string text = "apiVersion: v1\n" + cluster_part(config);
  if (config.user_name.empty())
    return text + "contexts: null\ncurrent-context: \"\"\nkind: Config\npreferences: {}\nusers: null\n";
  const std::string context = config.user_name + "@" + config.cluster_name;
  text += "contexts:\n- context:\n" + line("    ", "cluster", config.cluster_name);
  if (!config.namespace_.empty()) text += line("    ", "namespace", config.namespace_);
  text += line("    ", "user", config.user_name) + line("  ", "name", context);
  text += line("", "current-context", context) + "kind: Config\npreferences: {}\n";
  return text + user_part(config);
}

std::string cluster_info_text(std::string_view server, std::string_view ca_pem) {
  return kubeconfig_text(
      {.cluster_name = "", .server = std::string(server), .ca_pem = std::string(ca_pem), .user_name = ""});
}

Result<Certificate> embedded_certificate(std::string_view kubeconfig) {
  const std::string_view data = value_after(kubeconfig, "client-certificate-data:");
  if (data.empty()) return fail(bad_request("the kubeconfig embeds no client certificate"));
  DURE_TRY(const std::string pem, base64_decode(data));
  return Certificate::from_pem(pem);
}

std::optional<std::string> server_of(std::string_view kubeconfig) {
  std::string_view value = value_after(kubeconfig, "server:");
  if (value.size() >= 2 && value.front() == '"') value = value.substr(1, value.size() - 2);
  if (value.empty()) return std::nullopt;
  return std::string(value);
}

}  // namespace dure::pki
