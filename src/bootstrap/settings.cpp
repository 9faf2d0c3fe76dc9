#include "bootstrap/settings.h"

#include <functional>

#include <fmt/format.h>

#include "base/ip.h"
#include "base/text.h"
#include "os/disk.h"

namespace dure::bootstrap {
namespace {

// One row per key; a settings file is read and written by the same rows.
template <class Settings>
struct Row {
  std::string_view key;
  std::string Settings::* text = nullptr;
  int Settings::* number = nullptr;
  std::vector<std::string> Settings::* list = nullptr;
};

const std::vector<Row<ServerSettings>>& rows(const ServerSettings*) {
  static const std::vector<Row<ServerSettings>> value = {
      {"advertise-address", &ServerSettings::advertise_address},
      {"bind-address", &ServerSettings::bind_address},
      {"bind-port", nullptr, &ServerSettings::bind_port},
      {"pod-cidr", &ServerSettings::pod_cidr},
      {"service-cidr", &ServerSettings::service_cidr},
      {"node-cidr", &ServerSettings::node_cidr},
      {"network", &ServerSettings::network},
      {"dns-domain", &ServerSettings::dns_domain},
      {"node-name", &ServerSettings::node_name},
      {"extra-names", nullptr, nullptr, &ServerSettings::extra_names},
      {"control-plane-endpoint", &ServerSettings::control_plane_endpoint},
  };
  return value;
}

const std::vector<Row<AgentSettings>>& rows(const AgentSettings*) {
  static const std::vector<Row<AgentSettings>> value = {
      {"node-name", &AgentSettings::node_name},
      {"node-ip", &AgentSettings::node_ip},
      {"server-urls", nullptr, nullptr, &AgentSettings::server_urls},
      {"proxy", &AgentSettings::proxy},
      {"no-proxy", &AgentSettings::no_proxy},
      {"runtime-endpoint", &AgentSettings::runtime_endpoint},
      {"cluster-dns", &AgentSettings::cluster_dns},
      {"dns-domain", &AgentSettings::dns_domain},
      {"pod-cidr", &AgentSettings::pod_cidr},
      {"service-cidr", &AgentSettings::service_cidr},
      {"node-cidr", &AgentSettings::node_cidr},
      {"network", &AgentSettings::network},
      {"wireguard-port", nullptr, &AgentSettings::wireguard_port},
      {"capacity-cpu", &AgentSettings::capacity_cpu},
      {"capacity-memory", &AgentSettings::capacity_memory},
      {"pods-max", nullptr, &AgentSettings::pods_max},
      {"labels", nullptr, nullptr, &AgentSettings::labels},
      {"taints", nullptr, nullptr, &AgentSettings::taints},
  };
  return value;
}

template <class Settings>
std::string write_rows(const Settings& settings) {
  std::string out;
  for (const auto& row : rows(static_cast<const Settings*>(nullptr))) {
    const std::string value = row.text     ? settings.*row.text
                              : row.number ? std::to_string(settings.*row.number)
                                           : join(settings.*row.list, ",");
    out += fmt::format("{} = {}\n", row.key, value);
  }
  return out;
}

template <class Settings>
Status assign(Settings& settings, const Row<Settings>& row, std::string_view value) {
  if (row.text) {
    settings.*row.text = std::string(value);
  } else if (row.number) {
    const auto number = parse_int(value);
    if (!number) return fail(bad_request(fmt::format("{} is not a number", value)));
    settings.*row.number = static_cast<int>(*number);
  } else {
    (settings.*row.list).clear();
    for (std::string_view part : split(value, ','))
      if (!trim(part).empty()) (settings.*row.list).emplace_back(trim(part));
  }
  return {};
}

template <class Settings>
Result<Settings> parse_rows(std::string_view text) {
  Settings settings;
  int number = 0;
  for (std::string_view line : split(text, '\n')) {
    ++number;
    line = trim(line);
    if (line.empty() || line[0] == '#') continue;
    const size_t equals = line.find('=');
    if (equals == std::string_view::npos)
      return fail(Error{400, "BadSettings", fmt::format("line {}: expected \"key = value\"", number)});
    const std::string_view key = trim(line.substr(0, equals)), value = trim(line.substr(equals + 1));
    bool known = false;
    for (const auto& row : rows(static_cast<const Settings*>(nullptr))) {
      if (row.key != key) continue;
      known = true;
      if (Status assigned = assign(settings, row, value); !assigned)
        return fail(Error{400, "BadSettings", fmt::format("line {}: {}: {}", number, key, assigned.error().message)});
    }
    if (!known) return fail(Error{400, "BadSettings", fmt::format("line {}: unknown key \"{}\"", number, key)});
  }
  return settings;
}

Result<std::string> read_settings(os::Disk& disk, const std::string& path, std::string_view remedy) {
  if (!disk.exists(path))
    return fail(Error{404, "NotInitialized",
                      fmt::format("{} is not there: this machine is not part of a cluster yet", path),
                      std::string(remedy)});
  return os::read_file(disk, path);
}

}  // namespace

std::string ServerSettings::url() const {
  const bool v6 = advertise_address.find(':') != std::string::npos;
  return fmt::format("https://{}{}{}:{}", v6 ? "[" : "", advertise_address, v6 ? "]" : "", bind_port);
}

std::string ServerSettings::public_url() const {
  return control_plane_endpoint.empty() ? url() : "https://" + control_plane_endpoint;
}

std::string ServerSettings::service_address(unsigned index) const {
  const auto prefix = IpPrefix::parse(service_cidr);
  if (!prefix || prefix->ip.v6) return {};
  return Ip::v4(prefix->network().ip.v4() + index).text();
}

std::string to_text(const ServerSettings& settings) { return write_rows(settings); }
std::string to_text(const AgentSettings& settings) { return write_rows(settings); }
Result<ServerSettings> parse_server_settings(std::string_view text) { return parse_rows<ServerSettings>(text); }
Result<AgentSettings> parse_agent_settings(std::string_view text) { return parse_rows<AgentSettings>(text); }

Result<ServerSettings> read_server_settings(os::Disk& disk, const Places& places) {
  DURE_TRY(const std::string text, read_settings(disk, places.server_conf(), "dure init"));
  auto settings = parse_server_settings(text);
  if (!settings) return fail(std::move(settings.error()).with_context(places.server_conf()));
  return settings;
}

Result<AgentSettings> read_agent_settings(os::Disk& disk, const Places& places) {
  DURE_TRY(const std::string text,
           read_settings(disk, places.agent_conf(), "dure init, or the join line of the server"));
  auto settings = parse_agent_settings(text);
  if (!settings) return fail(std::move(settings.error()).with_context(places.agent_conf()));
  return settings;
}

}  // namespace dure::bootstrap
