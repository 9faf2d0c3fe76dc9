#include "volumes/atomic_writer.h"

#include <fmt/format.h>

#include <set>

#include "base/text.h"

namespace dure::volumes {

namespace {

constexpr const char* data_name = "..data";

// ..2006_01_02_15_04_05.000000001
std::string hidden_name(WallTime now) {
  std::string out = "..";
  for (char c : format_time(now)) {
    if (c >= '0' && c <= '9')
      out += c;
    else if (c != 'Z')
      out += '_';
  }
  return out + fmt::format(".{:09}", now.nanoseconds % 1'000'000'000);
}

bool same_files(const std::string& folder, const Payload& payload) {
  std::set<std::string> found;
  const std::function<bool(const std::string&)> walk = [&](const std::string& below) {
    auto names = names_in(folder + below);
    if (!names) return false;
    for (const std::string& name : *names) {
      const std::string path = below + "/" + name;
      if (facts_of(folder + path, false).kind == FileKind::directory) {
        if (!walk(path)) return false;
      } else {
        found.insert(path.substr(1));
      }
    }
    return true;
  };
  if (!walk("") || found.size() != payload.size()) return false;
  for (const auto& [path, file] : payload) {
    if (!found.contains(path)) return false;
    auto bytes = read_small_file(folder + "/" + path);
    if (!bytes || *bytes != file.bytes) return false;
  }
  return true;
}

Status write_files(const std::string& folder, const Payload& payload) {
  DURE_CHECK(make_folders(folder, 0755));
  DURE_CHECK(set_mode(folder, 0755));
  for (const auto& [path, file] : payload) {
    if (const size_t slash = path.rfind('/'); slash != std::string::npos)
      DURE_CHECK(make_folders(folder + "/" + path.substr(0, slash), 0755));
    DURE_CHECK(write_file(folder + "/" + path, file.bytes, file.mode));
    if (file.owner) DURE_CHECK(set_owner(folder + "/" + path, file.owner, std::nullopt));
  }
  return {};
}

std::set<std::string> top_names(const Payload& payload) {
  std::set<std::string> out;
  for (const auto& [path, file] : payload) out.insert(path.substr(0, path.find('/')));
  return out;
}

// The links that users see.
Status fit_links(const std::string& target, const Payload& payload) {
  const std::set<std::string> wanted = top_names(payload);
  for (const std::string& name : wanted) {
    const std::string path = target + "/" + name;
    if (facts_of(path, false).kind != FileKind::link) DURE_CHECK(make_link(std::string(data_name) + "/" + name, path));
  }
  DURE_TRY(auto names, names_in(target));
  for (const std::string& name : names)
    if (!name.starts_with("..") && !wanted.contains(name)) DURE_CHECK(remove_tree(target + "/" + name));
  return {};
}

Status remove_old(const std::string& target, const std::string& current) {
  DURE_TRY(auto names, names_in(target));
  for (const std::string& name : names)
    if (name.starts_with("..") && name != data_name && name != current) DURE_CHECK(remove_tree(target + "/" + name));
  return {};
}

}  // namespace

Status check_projection_path(std::string_view path) {
  if (path.empty()) return fail(bad_request("invalid path: must not be empty"));
  if (path.starts_with('/')) return fail(bad_request(fmt::format("invalid path: must be relative path: {}", path)));
  for (std::string_view part : split(path, '/'))
    if (part == "..") return fail(bad_request(fmt::format("invalid path: must not contain '..': {}", path)));
  if (path.starts_with("..")) return fail(bad_request(fmt::format("invalid path: must not start with '..': {}", path)));
  return {};
}

Result<bool> write_payload(const std::string& target, const Payload& payload, WallTime now,
                           const std::function<Status(const std::string&)>& prepare) {
  for (const auto& [path, file] : payload) DURE_CHECK(check_projection_path(path));
  DURE_CHECK(make_folders(target, 0755));
  const std::string link = target + "/" + data_name;
  const std::string current = read_link(link).value_or("");
  if (!current.empty() && same_files(target + "/" + current, payload)) {
    DURE_CHECK(fit_links(target, payload));
    return false;
  }
  const std::string fresh = hidden_name(now);
  DURE_CHECK(remove_tree(target + "/" + fresh));  // left by an agent that died here
  DURE_CHECK(write_files(target + "/" + fresh, payload));
  if (prepare) DURE_CHECK(prepare(target + "/" + fresh));
  const std::string beside = target + "/..data_tmp";
  DURE_CHECK(remove_tree(beside));
  DURE_CHECK(make_link(fresh, beside));
  DURE_CHECK(rename_over(beside, link));
  DURE_CHECK(fit_links(target, payload));
  DURE_CHECK(remove_old(target, fresh));
  return true;
}

}  // namespace dure::volumes
