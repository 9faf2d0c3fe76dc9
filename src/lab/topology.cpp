#include "lab/topology.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

#include "base/text.h"

namespace dure::lab {
namespace {

constexpr std::array kNatNames{
    std::pair{Nat::none, std::string_view("none")},           std::pair{Nat::home, std::string_view("home")},
    std::pair{Nat::full_cone, std::string_view("full-cone")}, std::pair{Nat::symmetric, std::string_view("symmetric")},
    std::pair{Nat::company, std::string_view("company")},     std::pair{Nat::twice, std::string_view("double")},
    std::pair{Nat::cgnat, std::string_view("cgnat")}};

Status bad_part(std::string_view name, std::string_view value, std::string_view example) {
  return fail(bad_request(fmt::format("\"{}\" is not a {}; write it like {}", value, name, example)));
}

Status set_time(Duration& out, std::string_view name, std::string_view value) {
  const auto time = value == "0" ? std::optional<Duration>(Duration::zero()) : parse_duration(value);
  if (!time || time->count() < 0 || *time > 10s) return bad_part(name, value, "30ms (at most 10s)");
  out = *time;
  return {};
}

std::optional<double> number(std::string_view text) {
  if (text.empty() || text.size() > 12) return {};
  int dots = 0;
  for (const char c : text)
    if (c == '.')
      ++dots;
    else if (c < '0' || c > '9')
      return {};
  if (dots > 1 || text == ".") return {};
  return strtod(std::string(text).c_str(), nullptr);
}

Status set_loss(double& out, std::string_view value) {
  const auto percent = value.ends_with('%') ? number(value.substr(0, value.size() - 1)) : std::nullopt;
  if (!percent || *percent > 100) return bad_part("loss", value, "1%");
  out = *percent / 100;
  return {};
}

Status set_rate(uint64_t& out, std::string_view value) {
  out = 0;
  if (value == "none") return {};
  for (const auto& [unit, bits] : {std::pair{"kbit", 1e3}, std::pair{"mbit", 1e6}, std::pair{"gbit", 1e9}}) {
    if (!value.ends_with(unit)) continue;
    const auto count = number(value.substr(0, value.size() - 4));
    if (!count || *count * bits < 8000 || *count * bits > 1e11) break;
    out = static_cast<uint64_t>(*count * bits);
    return {};
  }
  return bad_part("rate", value, "20mbit (8kbit to 100gbit), or none");
}

std::string rate_text(uint64_t bits) {
  if (bits % 1'000'000'000 == 0) return fmt::format("{}gbit", bits / 1'000'000'000);
  if (bits % 1'000'000 == 0) return fmt::format("{}mbit", bits / 1'000'000);
  return fmt::format("{}kbit", static_cast<double>(bits) / 1e3);
}

}  // namespace

std::string_view name_of(Nat nat) {
  for (const auto& [value, name] : kNatNames)
    if (value == nat) return name;
  return "?";
}

std::string_view name_of(NodeKind kind) {
  return kind == NodeKind::vm ? "vm" : kind == NodeKind::systemd ? "systemd" : "ns";
}

std::optional<int64_t> mebibytes(std::string_view amount) {
  constexpr std::pair<std::string_view, int64_t> units[] = {
      {"Mi", 1 << 20}, {"Gi", 1 << 30}, {"M", 1'000'000}, {"G", 1'000'000'000}, {"", 1}};
  for (const auto& [unit, bytes] : units) {
    if (!amount.ends_with(unit)) continue;
    const auto count = parse_int(amount.substr(0, amount.size() - unit.size()));
    if (!count || *count < 0 || *count > (int64_t{1} << 50) / bytes) return {};
    return *count * bytes >> 20;
  }
  return {};
}

std::string Cable::text() const {
  std::string out;
  if (delay.count() > 0) out += " delay=" + format_duration(delay);
  if (jitter.count() > 0) out += " jitter=" + format_duration(jitter);
  if (loss > 0) out += fmt::format(" loss={:g}%", loss * 100);
  if (rate_bits > 0) out += " rate=" + rate_text(rate_bits);
  if (mtu != 1500) out += fmt::format(" mtu={}", mtu);
  return out.empty() ? "plain" : out.substr(1);
}

Status set_cable_part(Cable& cable, std::string_view name, std::string_view value) {
  if (name == "delay") return set_time(cable.delay, name, value);
  if (name == "jitter") return set_time(cable.jitter, name, value);
  if (name == "loss") return set_loss(cable.loss, value);
  if (name == "rate") return set_rate(cable.rate_bits, value);
  if (name != "mtu")
    return fail(bad_request(fmt::format("a cable has no \"{}\"; it has delay, jitter, loss, rate and mtu", name)));
  const auto bytes = parse_int(value);
  if (!bytes || *bytes < 576 || *bytes > 9000) return bad_part("mtu", value, "1400 (576 to 9000)");
  cable.mtu = static_cast<int>(*bytes);
  return {};
}

Ip SiteSpec::gateway() const { return Ip::v4(subnet.network().ip.v4() + 1); }

const SiteSpec* Topology::site(std::string_view name) const {
  for (const SiteSpec& one : sites)
    if (one.name == name) return &one;
  return nullptr;
}

const NodeSpec* Topology::node(std::string_view name) const {
  for (const NodeSpec& one : nodes)
    if (one.name == name) return &one;
  return nullptr;
}

const NodeSpec* Topology::server() const {
  for (const NodeSpec& one : nodes)
    if (one.server) return &one;
  return nullptr;
}

std::optional<Ip> free_address(const IpPrefix& subnet, const std::vector<std::string>& taken) {
  const uint32_t base = subnet.network().ip.v4(), size = subnet.length >= 32 ? 1 : 1u << (32 - subnet.length);
  for (uint32_t host = 10; host + 1 < size && host < 250; ++host) {
    const Ip candidate = Ip::v4(base + host);
    if (std::find(taken.begin(), taken.end(), candidate.text()) == taken.end()) return candidate;
  }
  return {};
}

std::string server_endpoint(const Topology& topology, const NodeSpec& server, std::string_view site,
                            std::string_view host) {
  const SiteSpec& home = *topology.site(server.site);
  const SiteSpec& from = *topology.site(site);
  const bool only_443 = from.nat == Nat::company && from.name != home.name;
  if (from.name == home.name || (home.nat == Nat::none && !only_443))
    return server.address + ":" + std::to_string(api_port);
  for (const Forward& forward : home.forwards)
    if (forward.node == server.name && forward.node_port == api_port && forward.protocol == "tcp" &&
        (!only_443 || forward.port == 443))
      return std::string(host) + ":" + std::to_string(forward.port);
  return {};
}

Topology one_lan(int nodes, int bare) {
  Topology out;
  out.name = "one LAN";
  SiteSpec site;
  site.name = "lan";
  site.subnet = *IpPrefix::parse("192.168.35.0/24");
  for (int i = 1; i <= nodes + bare; ++i) {
    NodeSpec node;
    node.name = "node" + std::to_string(i);
    node.site = site.name;
    node.address = Ip::v4(site.subnet.ip.v4() + 10 + static_cast<uint32_t>(i)).text();
    node.server = i == 1 && nodes > 0;
    node.bare = i > nodes;
    out.nodes.push_back(std::move(node));
  }
  out.sites.push_back(std::move(site));
  return out;
}

}  // namespace dure::lab
