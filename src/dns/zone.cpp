#include "dns/zone.h"

#include <algorithm>

#include "base/text.h"

namespace dure::dns {

namespace {

constexpr int alias_depth_max = 8;
constexpr uint16_t srv_weight = 100;

// Splits "a.b.c" at the last dot: {"a.b", "c"}.
std::pair<std::string_view, std::string_view> split_last(std::string_view name) {
  size_t dot = name.rfind('.');
  if (dot == name.npos) return {{}, name};
  return {name.substr(0, dot), name.substr(dot + 1)};
}

std::optional<Ip> from_dashed(std::string_view label) {
  std::string text(label);
  std::ranges::replace(text, '-', '.');
  auto ip = Ip::parse(text);
  if (ip) return ip;
  std::string v6(label);
  std::ranges::replace(v6, '-', ':');
  return Ip::parse(v6);
}

// "4.3.2.1.in-addr.arpa" -> 1.2.3.4
std::optional<Ip> reversed_ip(std::string_view name) {
  constexpr std::string_view suffix = ".in-addr.arpa";
  if (!name.ends_with(suffix)) return std::nullopt;
  auto parts = split(name.substr(0, name.size() - suffix.size()), '.');
  if (parts.size() != 4) return std::nullopt;
  return Ip::parse(std::string(parts[3]) + "." + std::string(parts[2]) + "." + std::string(parts[1]) + "." +
                   std::string(parts[0]));
}

bool fits(const Ip& ip, uint16_t type) { return type == type_any || type == (ip.v6 ? type_aaaa : type_a); }

Lookup missing() { return {.kind = Lookup::Kind::no_name}; }
Lookup nothing() { return {.kind = Lookup::Kind::found}; }

}  // namespace

Zone::Zone(ZoneOptions options) : options_(std::move(options)), suffix_("." + options_.domain) {}

Soa Zone::soa(const std::string& owner) const {
  std::lock_guard lock(mutex_);
  return {owner, "ns.dns" + suffix_, "hostmaster" + suffix_, serial_, options_.ttl_seconds};
}

size_t Zone::services() const {
  std::lock_guard lock(mutex_);
  return services_.size();
}

void Zone::index(const std::string& key, const ServiceRecords& records, bool add) {
  auto one = [&](const Ip& ip, const std::string& host) {
    if (add) {
      owners_.emplace(ip, Owner{key, host});
      return;
    }
    auto [begin, end] = owners_.equal_range(ip);
    for (auto at = begin; at != end; ++at)
      if (at->second == Owner{key, host}) return void(owners_.erase(at));
  };
  for (const Ip& ip : records.cluster_ips) one(ip, "");
  for (const EndpointRecord& endpoint : records.endpoints) one(endpoint.ip, endpoint.host);
}

void Zone::put(std::string_view namespace_, std::string_view service, std::shared_ptr<const ServiceRecords> records) {
  std::string key = std::string(service) + "." + std::string(namespace_);
  std::lock_guard lock(mutex_);
  auto found = services_.find(key);
  if (found == services_.end() && !records) return;
  if (found != services_.end() && records && *found->second == *records) return;
  ++serial_;
  if (found != services_.end()) {
    index(key, *found->second, false);
    services_.erase(found);
    auto count = namespaces_.find(namespace_);
    if (--count->second == 0) namespaces_.erase(count);
  }
  if (!records) return;
  index(key, *records, true);
  services_.emplace(std::move(key), std::move(records));
  ++namespaces_[std::string(namespace_)];
}

std::shared_ptr<const ServiceRecords> Zone::find(std::string_view service_and_namespace) const {
  std::lock_guard lock(mutex_);
  auto found = services_.find(service_and_namespace);
  return found == services_.end() ? nullptr : found->second;
}

std::string Zone::full(std::string_view service_and_namespace) const {
  return std::string(service_and_namespace) + ".svc" + suffix_;
}

Record Zone::address(const Ip& ip, std::string owner) const {
  return {.type = ip.v6 ? type_aaaa : type_a, .ip = ip, .owner = std::move(owner), .ttl = options_.ttl_seconds};
}

Lookup Zone::lookup(std::string_view name, uint16_t type) const {
  Lookup out = named(name, type, 0);
  if (out.kind != Lookup::Kind::outside && out.authority.empty()) out.authority = options_.domain;
  return out;
}

Lookup Zone::named(std::string_view name, uint16_t type, int depth) const {
  if (name == options_.domain) {
    Lookup out = nothing();
    if (type == type_ns || type == type_any)
      out.records.push_back({.type = type_ns, .target = "ns.dns" + suffix_, .ttl = options_.ttl_seconds});
    return out;
  }
  if (!name.ends_with(suffix_)) return reverse(name, type);
  name.remove_suffix(suffix_.size());
  auto [rest, branch] = split_last(name);
  if (branch == "svc") return rest.empty() ? nothing() : in_services(rest, type, depth);
  if (branch == "pod") return rest.empty() ? nothing() : in_pods(rest, type);
  if (name == "dns") return nothing();
  if (name == "ns.dns") {
    Lookup out = nothing();
    for (const Ip& ip : options_.addresses)
      if (fits(ip, type)) out.records.push_back(address(ip));
    return out;
  }
  if (name == "dns-version") {
    Lookup out = nothing();
    if (type == type_txt || type == type_any)
      out.records.push_back({.type = type_txt, .target = "1.1.0", .ttl = options_.ttl_seconds});
    return out;
  }
  return missing();
}

Lookup Zone::in_services(std::string_view rest, uint16_t type, int depth) const {
  auto [before, ns] = split_last(rest);
  if (before.empty()) {
    std::lock_guard lock(mutex_);
    return namespaces_.contains(ns) ? nothing() : missing();
  }
  auto [front, service] = split_last(before);
  std::string_view key = front.empty() ? rest : rest.substr(front.size() + 1);
  if (front.empty()) {
    auto records = find(key);
    return records ? service_records(key, *records, type, depth) : missing();
  }
  auto [port, protocol] = split_last(front);
  if (protocol.starts_with('_')) return port_records(key, port, protocol, type);
  auto records = find(key);
  if (!records || !records->headless || front.find('.') != front.npos) return missing();
  Lookup out = nothing();
  bool known = false;
  for (const EndpointRecord& endpoint : records->endpoints) {
    if (endpoint.host != front) continue;
    known = true;
    if (fits(endpoint.ip, type)) out.records.push_back(address(endpoint.ip));
  }
  return known ? out : missing();
}

Lookup Zone::service_records(std::string_view key, const ServiceRecords& records, uint16_t type, int depth) const {
  Lookup out = nothing();
  if (!records.external_name.empty()) {
    out.records.push_back({.type = type_cname, .target = records.external_name, .ttl = options_.ttl_seconds});
    out.target = records.external_name;
    if (type == type_cname) return out;
    Lookup next = depth < alias_depth_max ? named(records.external_name, type, depth + 1) : nothing();
    if (next.kind == Lookup::Kind::outside) {
      out.kind = Lookup::Kind::alias;
      return out;
    }
    for (Record& record : next.records) {
      if (record.owner.empty()) record.owner = records.external_name;
      out.records.push_back(std::move(record));
    }
    if (next.kind == Lookup::Kind::alias) out.kind = Lookup::Kind::alias, out.target = next.target;
    return out;
  }
  if (records.headless && records.endpoints.empty()) return missing();
  if (type == type_srv) {
    add_srv(out, key, records, {}, {});
    return out;
  }
  for (const Ip& ip : records.cluster_ips)
    if (fits(ip, type)) out.records.push_back(address(ip));
  for (const EndpointRecord& endpoint : records.endpoints)
    if (fits(endpoint.ip, type)) out.records.push_back(address(endpoint.ip));
  return out;
}

void Zone::add_srv(Lookup& out, std::string_view key, const ServiceRecords& records, std::string_view port,
                   std::string_view protocol) const {
  auto wanted = [&](const NamedPort& p) { return port.empty() || (p.name == port && p.protocol == protocol); };
  auto put = [&](const NamedPort& p, const std::string& target) {
    out.records.push_back(
        {.type = type_srv, .target = target, .weight = srv_weight, .port = p.port, .ttl = options_.ttl_seconds});
  };
  for (const NamedPort& p : records.ports)
    if (!records.headless && wanted(p)) put(p, full(key));
  if (!out.records.empty())
    for (const Ip& ip : records.cluster_ips) out.additional.push_back(address(ip, full(key)));
  for (const EndpointRecord& endpoint : records.endpoints) {
    std::string host = endpoint.host + "." + full(key);
    size_t before = out.records.size();
    for (const NamedPort& p : endpoint.ports)
      if (wanted(p)) put(p, host);
    if (out.records.size() > before) out.additional.push_back(address(endpoint.ip, host));
  }
}

Lookup Zone::port_records(std::string_view key, std::string_view port, std::string_view protocol, uint16_t type) const {
  auto records = find(key);
  if (!records || !records->external_name.empty() || !protocol.starts_with('_')) return missing();
  if (port.empty()) {  // _tcp.web.default.svc: something may lie below it
    bool any =
        std::ranges::any_of(records->ports, [&](const NamedPort& p) { return p.protocol == protocol.substr(1); });
    return any ? nothing() : missing();
  }
  if (!port.starts_with('_')) return missing();
  Lookup out = nothing();
  add_srv(out, key, *records, port.substr(1), protocol.substr(1));
  if (out.records.empty()) return missing();
  if (type != type_srv && type != type_any) return nothing();
  return out;
}

Lookup Zone::in_pods(std::string_view rest, uint16_t type) const {
  auto [label, ns] = split_last(rest);
  {
    std::lock_guard lock(mutex_);
    if (label.empty() && !namespaces_.contains(ns)) return missing();
  }
  if (label.empty()) return nothing();
  auto ip = label.find('.') == label.npos ? from_dashed(label) : std::nullopt;
  if (!ip) return missing();
  Lookup out = nothing();
  if (fits(*ip, type)) out.records.push_back(address(*ip));
  return out;
}

Lookup Zone::reverse(std::string_view name, uint16_t type) const {
  auto ip = reversed_ip(name);
  bool ours = ip && std::ranges::any_of(options_.ranges, [&](const IpPrefix& range) { return range.contains(*ip); });
  if (!ours) return {};
  Lookup out = missing();
  out.authority = "in-addr.arpa";
  std::lock_guard lock(mutex_);
  auto [begin, end] = owners_.equal_range(*ip);
  for (auto at = begin; at != end; ++at) {
    out.kind = Lookup::Kind::found;
    const auto& [key, host] = at->second;
    if (type == type_ptr || type == type_any)
      out.records.push_back(
          {.type = type_ptr, .target = host.empty() ? full(key) : host + "." + full(key), .ttl = options_.ttl_seconds});
  }
  return out;
}

}  // namespace dure::dns
