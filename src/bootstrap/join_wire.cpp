// What newcomer and server tell each other, as JSON.
#include <array>

#include <fmt/format.h>

#include "base/text.h"
#include "bootstrap/join_verdicts.h"
#include "schema/json.h"
#include "schema/plain.h"

namespace dure::bootstrap {
namespace {

using schema::Document;
using schema::Node;
using Severity = Finding::Severity;

constexpr size_t text_bytes_max = 512, networks_max = 512, missing_max = 64, findings_max = 256;
constexpr std::array<std::string_view, 3> severities = {"note", "warning", "error"};

// A string member, cut at the bound.
std::string text_of(const Node* object, std::string_view key, size_t bytes_max = text_bytes_max) {
  const Node* node = object ? object->find(key) : nullptr;
  return node ? std::string(node->string().substr(0, bytes_max)) : std::string();
}

const Node* list_of(const Node* object, std::string_view key) {
  const Node* node = object ? object->find(key) : nullptr;
  return node && node->kind() == schema::Kind::list ? node->first() : nullptr;
}

Result<Document> read(std::string_view json, std::string_view what) {
  auto document = schema::decode_json(SharedBytes(std::string(json)));
  if (!document || document->root()->kind() != schema::Kind::object)
    return fail(bad_request(fmt::format("{} is not a JSON object", what)));
  return document;
}

}  // namespace

std::string newcomer_json(const Newcomer& newcomer) {
  Document out;
  const auto set = [&](std::string_view key, const std::string& value) { out.set(out.member(out.root(), key), value); };
  set("nodeName", newcomer.node_name);
  set("version", newcomer.version);
  set("machine", fingerprint_text(newcomer.machine));
  set("now", format_time(newcomer.now));
  if (!newcomer.wireguard_key.empty()) set("wireguardKey", newcomer.wireguard_key);
  Node* networks = schema::add_list(out, out.root(), "networks");
  for (const MachineNetwork& network : newcomer.networks) {
    Node* item = schema::add_row(out, networks, {{"range", network.range.text()}, {"what", network.what}});
    out.set(out.member(item, "host"), network.is_host);
  }
  Node* missing = schema::add_list(out, out.root(), "kernelMissing");
  for (const std::string& one : newcomer.kernel_missing) out.set(out.append(missing), one);
  return schema::to_json(out);
}

Result<Newcomer> parse_newcomer(std::string_view json) {
  DURE_TRY(const Document document, read(json, "the newcomer"));
  const Node* root = document.root();
  Newcomer out;
  out.node_name = text_of(root, "nodeName");
  out.version = text_of(root, "version");
  DURE_TRY(out.machine, parse_fingerprint(text_of(root, "machine", 4096)));
  out.wireguard_key = text_of(root, "wireguardKey");
  if (const auto now = parse_time(text_of(root, "now"))) out.now = *now;
  for (const Node* item = list_of(root, "networks"); item && out.networks.size() < networks_max; item = item->next()) {
    const auto range = IpPrefix::parse(text_of(item, "range"));
    const Node* host = item->find("host");
    if (range) out.networks.push_back({*range, text_of(item, "what"), host && host->boolean()});
  }
  for (const Node* item = list_of(root, "kernelMissing"); item && out.kernel_missing.size() < missing_max;
       item = item->next())
    out.kernel_missing.emplace_back(item->string().substr(0, text_bytes_max));
  if (out.node_name.empty()) return fail(bad_request("the newcomer does not say its name"));
  return out;
}

Result<std::vector<Finding>> parse_findings(std::string_view json) {
  DURE_TRY(const Document document, read(json, "the server's answer"));
  std::vector<Finding> out;
  for (const Node* item = list_of(document.root(), "findings"); item && out.size() < findings_max;
       item = item->next()) {
    Finding finding{text_of(item, "code"), Severity::refuse, text_of(item, "sentence", 2048),
                    text_of(item, "fix", 2048)};
    const std::string severity = text_of(item, "severity");
    // A word of a later version is taken as a refusal: better to ask than to break something.
    for (size_t i = 0; i < severities.size(); ++i)
      if (severities[i] == severity) finding.severity = static_cast<Severity>(i);
    out.push_back(std::move(finding));
  }
  return out;
}

}  // namespace dure::bootstrap
