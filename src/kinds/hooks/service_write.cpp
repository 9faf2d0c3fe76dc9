// Services: cluster addresses and node ports are claims in the store, so that two services never get the same one and
// restarts forget none. Dynamic addresses come from the upper part of the range; the lower part is left for those who
// choose.
#include <algorithm>

#include "base/ip.h"
#include "kinds/hooks/write_rows.h"
#include "kinds/views/core_v1.h"

namespace dure::kinds::write {

using core_v1::Service;
using core_v1::ServicePort;
using core_v1::ServiceSpec;
using schema::Document;

namespace {

constexpr int tries_max = 64;

std::string ip_claim(std::string_view ip) { return "service-ip/" + std::string(ip); }
std::string port_claim(int64_t port) { return "node-port/" + std::to_string(port); }
std::string owner_of(const Service& service) {
  return std::string(service.metadata().namespace_()) + "/" + std::string(service.metadata().name());
}

Error invalid_ip(std::string_view ip, std::string_view why) {
  return invalid_fields({{"FieldValueInvalid",
                          "Invalid value: [\"" + std::string(ip) + "\"]: failed to allocate IP " +
                              std::string(ip) + ": " + std::string(why),
                          "spec.clusterIPs"}});
}

struct Range {
  uint32_t first = 0, count = 0, static_band = 0;  // usable addresses
};

Result<Range> service_range(const WriteSettings& settings) {
  const auto prefix = IpPrefix::parse(settings.service_cidr);
  if (!prefix || prefix->ip.v6)
    return fail(internal("the service range " + settings.service_cidr + " is no IPv4 range"));
  const uint64_t size = uint64_t{1} << (32 - prefix->length);
  Range range;
  range.first = prefix->network().ip.v4() + 1;
  range.count = size > 2 ? static_cast<uint32_t>(std::min<uint64_t>(size - 2, 0xfffffffe)) : 0;
  // the same split as upstream: max(16, size / 16), at most 256
  range.static_band =
      size <= 32 ? 0 : static_cast<uint32_t>(std::min<uint64_t>(std::max<uint64_t>(16, size / 16), 256));
  if (range.count == 0) return fail(internal("the service range " + settings.service_cidr + " is too small"));
  return range;
}

Result<std::string> pick_ip(WriteWorld& world) {
  DURE_TRY(const Range range, service_range(world.settings()));
  const auto free_at = [&](uint32_t offset) -> std::string {
    std::string ip = Ip::v4(range.first + offset).text();
    return world.claimed(ip_claim(ip)) ? std::string{} : ip;
  };
  const uint32_t upper = range.count - range.static_band;
  for (int i = 0; i < tries_max && upper > 0; ++i)
    if (std::string ip = free_at(range.static_band + static_cast<uint32_t>(world.random() % upper));
        !ip.empty())
      return ip;
  for (uint32_t i = range.static_band; i < range.count; ++i)
    if (std::string ip = free_at(i); !ip.empty()) return ip;
  for (uint32_t i = 0; i < range.static_band; ++i)
    if (std::string ip = free_at(i); !ip.empty()) return ip;
  return fail(internal("failed to allocate a serviceIP: range is full"));
}

Status check_chosen_ip(WriteWorld& world, std::string_view text) {
  const auto ip = Ip::parse(text);
  const auto prefix = IpPrefix::parse(world.settings().service_cidr);
  if (!ip)
    return fail(invalid_fields({{"FieldValueInvalid",
                                 "Invalid value: \"" + std::string(text) +
                                     "\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
                                 "spec.clusterIPs[0]"}}));
  if (!prefix || !prefix->contains(*ip))
    return fail(invalid_ip(text, "the provided IP (" + std::string(text) +
                                     ") is not in the valid range. The range of valid IPs is " +
                                     world.settings().service_cidr));
  if (world.claimed(ip_claim(text))) return fail(invalid_ip(text, "provided IP is already allocated"));
  return {};
}

bool wants_ip(const ServiceSpec& spec) { return spec.type() != "ExternalName"; }
bool has_real_ip(const ServiceSpec& spec) { return !spec.clusterIP().empty() && spec.clusterIP() != "None"; }
bool wants_node_ports(const ServiceSpec& spec) {
  if (spec.type() == "NodePort") return true;
  if (spec.type() != "LoadBalancer") return false;
  return !spec.has_allocateLoadBalancerNodePorts() || spec.allocateLoadBalancerNodePorts();
}

// clusterIP and clusterIPs say the same thing twice; either may come alone.
void align_addresses(Document& object) {
  ServiceSpec spec = Service(object).mutable_spec();
  if (spec.clusterIP().empty() && !spec.clusterIPs().empty())
    spec.set_clusterIP(std::string(spec.clusterIPs().front()));
  spec.clear_clusterIPs();
  if (!spec.clusterIP().empty()) spec.add_clusterIPs(std::string(spec.clusterIP()));
}

void set_families(ServiceSpec spec) {
  if (!spec.has_ipFamilies()) spec.add_ipFamilies("IPv4");
  if (!spec.has_ipFamilyPolicy()) spec.set_ipFamilyPolicy("SingleStack");
}

Status allocate_ip(WriteWorld& world, Document& object) {
  Service service(object);
  ServiceSpec spec = service.mutable_spec();
  if (spec.clusterIP().empty()) {
    DURE_TRY(const std::string ip, pick_ip(world));
    spec.set_clusterIP(ip);
    align_addresses(object);
  } else if (has_real_ip(spec)) {
    DURE_CHECK(check_chosen_ip(world, spec.clusterIP()));
  }
  if (has_real_ip(spec)) world.claim(ip_claim(spec.clusterIP()), owner_of(service));
  set_families(spec);
  return {};
}

Result<int64_t> pick_port(WriteWorld& world) {
  const int first = world.settings().node_port_first, count = world.settings().node_port_last - first + 1;
  for (int i = 0; i < tries_max; ++i) {
    const int64_t port = first + static_cast<int64_t>(world.random() % static_cast<uint64_t>(count));
    if (!world.claimed(port_claim(port))) return port;
  }
  for (int64_t port = first; port < first + count; ++port)
    if (!world.claimed(port_claim(port))) return port;
  return fail(internal("failed to allocate a nodePort: range is full"));
}

using Ports = std::vector<int64_t>;
bool is_among(const Ports& ports, int64_t port) { return std::find(ports.begin(), ports.end(), port) != ports.end(); }

Ports ports_of(const ServiceSpec& spec) {
  Ports ports;
  for (const ServicePort port : spec.ports())
    if (port.nodePort() != 0 && !is_among(ports, port.nodePort())) ports.push_back(port.nodePort());
  if (spec.healthCheckNodePort() != 0) ports.push_back(spec.healthCheckNodePort());
  return ports;
}

Error invalid_port(std::string_view field, int64_t port, std::string_view why) {
  return invalid_fields(
      {{"FieldValueInvalid", "Invalid value: " + std::to_string(port) + ": " + std::string(why),
        std::string(field)}});
}

// A port that the writer chose must be one to give, and nobody else's.
Status check_chosen_port(WriteWorld& world, std::string_view field, int64_t port) {
  const WriteSettings& settings = world.settings();
  if (port < settings.node_port_first || port > settings.node_port_last)
    return fail(invalid_port(field, port,
                             "provided port is not in the valid range. The range of valid ports is " +
                                 std::to_string(settings.node_port_first) + "-" +
                                 std::to_string(settings.node_port_last)));
  if (world.claimed(port_claim(port))) return fail(invalid_port(field, port, "provided port is already allocated"));
  return {};
}

// `had`: ports that this service holds already.
Status allocate_ports(WriteWorld& world, Document& object, const Ports& had) {
  Service service(object);
  ServiceSpec spec = service.mutable_spec();
  Ports taken;
  uint32_t index = 0;
  for (ServicePort port : spec.mutable_ports()) {
    const std::string field = "spec.ports[" + std::to_string(index++) + "].nodePort";
    int64_t number = port.nodePort();
    if (number == 0) {
      DURE_TRY(number, pick_port(world));
      port.set_nodePort(number);
    } else if (!is_among(had, number)) {
      if (is_among(taken, number)) continue;  // TCP and UDP share it
      DURE_CHECK(check_chosen_port(world, field, number));
    }
    if (!is_among(had, number)) world.claim(port_claim(number), owner_of(service));
    taken.push_back(number);
  }
  return {};
}

// Where a load balancer asks whether this node has endpoints of its own.
bool wants_health_port(const ServiceSpec& spec) {
  return spec.type() == "LoadBalancer" && spec.externalTrafficPolicy() == "Local";
}

Status allocate_health_port(WriteWorld& world, Document& object, const Ports& had) {
  Service service(object);
  ServiceSpec spec = service.mutable_spec();
  if (!wants_health_port(spec)) return {};
  if (spec.healthCheckNodePort() == 0) {
    DURE_TRY(const int64_t number, pick_port(world));
    spec.set_healthCheckNodePort(number);
  } else if (is_among(had, spec.healthCheckNodePort())) {
    return {};
  } else {
    DURE_CHECK(check_chosen_port(world, "spec.healthCheckNodePort", spec.healthCheckNodePort()));
  }
  world.claim(port_claim(spec.healthCheckNodePort()), owner_of(service));
  return {};
}

// Ports that the writer left open keep the number they have.
void carry_node_ports(ServiceSpec spec, const ServiceSpec& old) {
  for (ServicePort port : spec.mutable_ports()) {
    if (port.nodePort() != 0) continue;
    for (const ServicePort before : old.ports()) {
      if (before.port() != port.port() || before.protocol() != port.protocol() || before.nodePort() == 0)
        continue;
      port.set_nodePort(before.nodePort());
      break;
    }
  }
}

void drop_node_ports(ServiceSpec spec) {
  for (ServicePort port : spec.mutable_ports()) port.clear_nodePort();
}

// As the node ports: left open it keeps its number, and it goes when nobody asks there any more.
void carry_health_port(ServiceSpec spec, const ServiceSpec& old) {
  if (old.healthCheckNodePort() == 0) return;
  const bool wanted = wants_health_port(spec);
  if (wanted && spec.healthCheckNodePort() == 0) spec.set_healthCheckNodePort(old.healthCheckNodePort());
  if (!wanted && spec.healthCheckNodePort() == old.healthCheckNodePort()) spec.clear_healthCheckNodePort();
}

Status update_ip(WriteWorld& world, Document& object, const ServiceSpec& old) {
  ServiceSpec spec = Service(object).mutable_spec();
  if (!wants_ip(spec)) {
    if (has_real_ip(old)) world.release(ip_claim(old.clusterIP()));
    if (spec.clusterIP() == old.clusterIP()) {
      spec.clear_clusterIP();
      spec.clear_clusterIPs();
      spec.clear_ipFamilies();
      spec.clear_ipFamilyPolicy();
    }
    return {};
  }
  if (!wants_ip(old)) return allocate_ip(world, object);
  if (spec.clusterIP().empty()) {
    spec.set_clusterIP(old.clusterIP());
    align_addresses(object);
  }
  if (spec.clusterIP() != old.clusterIP())
    return fail(invalid_fields(
        {{"FieldValueInvalid",
          "Invalid value: [\"" + std::string(spec.clusterIP()) + "\"]: may not change once set",
          "spec.clusterIPs[0]"}}));
  set_families(spec);
  return {};
}

}  // namespace

Status create_service(WriteWorld& world, Document& object) {
  align_addresses(object);
  const ServiceSpec spec = Service(object).spec();
  if (wants_ip(spec)) DURE_CHECK(allocate_ip(world, object));
  if (wants_node_ports(spec)) DURE_CHECK(allocate_ports(world, object, {}));
  return allocate_health_port(world, object, {});
}

Status update_service(WriteWorld& world, Document& object, const Document& old) {
  align_addresses(object);
  const ServiceSpec before = Service(old).spec();
  DURE_CHECK(update_ip(world, object, before));
  ServiceSpec spec = Service(object).mutable_spec();
  const Ports had = ports_of(before);
  if (wants_node_ports(spec)) {
    carry_node_ports(spec, before);
    DURE_CHECK(allocate_ports(world, object, had));
  } else if (wants_node_ports(before)) {
    drop_node_ports(spec);
  }
  carry_health_port(spec, before);
  DURE_CHECK(allocate_health_port(world, object, had));
  const Ports now = ports_of(spec);
  for (const int64_t port : had)
    if (!is_among(now, port)) world.release(port_claim(port));
  return {};
}

void release_service(WriteWorld& world, const Document& object) {
  const ServiceSpec spec = Service(object).spec();
  if (has_real_ip(spec)) world.release(ip_claim(spec.clusterIP()));
  for (const int64_t port : ports_of(spec)) world.release(port_claim(port));
}

}  // namespace dure::kinds::write
