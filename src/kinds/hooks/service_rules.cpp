// Services, endpoints, network policies: defaults and validation across rows.
#include <set>

#include "kinds/hooks/rules.h"
#include "kinds/views/core_v1.h"
#include "kinds/views/networking_v1.h"
#include "schema/text_rules.h"

namespace dure::kinds {

namespace {

using namespace rules;
using core_v1::Service;
using core_v1::ServicePort;
using core_v1::ServiceSpec;

void port_defaults(Document& document, Node* node) {
  const ServicePort port(&document, node);
  const Node* target = port.targetPort();
  const bool open = !target || (target->is_string() ? target->string().empty() : target->integer() == 0);
  if (open && port.port() != 0) port.set_targetPort(port.port());
}

void spec_defaults(Document& document, Node* node) {
  const ServiceSpec spec(&document, node);
  if (spec.sessionAffinity() == "None") spec.clear_sessionAffinityConfig();
  if (spec.sessionAffinity() == "ClientIP") {
    const auto client = spec.mutable_sessionAffinityConfig().mutable_clientIP();
    if (!client.has_timeoutSeconds()) client.set_timeoutSeconds(10800);
  }
  if (spec.externalTrafficPolicy().empty() && spec.type() == "ClusterIP" && spec.externalIPs().size() > 0)
    spec.set_externalTrafficPolicy("Cluster");
}

void service_defaults(Document& document, Node* node) {
  const Service service(&document, node);
  if (service.spec().type() != "LoadBalancer") return;
  for (const auto ingress : service.status().loadBalancer().ingress())
    if (!ingress.ip().empty() && ingress.ipMode().empty()) ingress.set_ipMode("VIP");
}

void validate_ports(const ServiceSpec& spec, const Path& path, Causes& causes) {
  const Path ports = path.child("ports");
  const bool headless = spec.clusterIP() == "None", external = spec.type() == "ExternalName";
  if (spec.ports().empty() && !headless && !external) causes.push_back(schema::required(ports));
  const bool names_wanted = spec.ports().size() > 1;
  std::set<std::string> names, pairs, node_ports;
  uint32_t index = 0;
  for (const ServicePort port : spec.ports()) {
    const Path here = ports.index(index++);
    if (names_wanted && port.name().empty()) causes.push_back(schema::required(here.child("name")));
    if (!port.name().empty() && !names.insert(std::string(port.name())).second)
      causes.push_back(schema::duplicate(here.child("name"), port.name()));
    if (!headless || port.targetPort()) check_port(port.targetPort(), here.child("targetPort"), causes);
    const std::string pair = std::string(port.protocol()) + "/" + std::to_string(port.port());
    if (!pairs.insert(pair).second) {
      Document shown;
      shown.set(shown.member(shown.root(), "protocol"), port.protocol());
      shown.set(shown.member(shown.root(), "port"), port.port());
      causes.push_back(schema::duplicate(here, shown.root()));
    }
    if (port.nodePort() == 0) continue;
    if (spec.type() == "ClusterIP" || external)
      causes.push_back(schema::forbidden(here.child("nodePort"),
                                         "may not be used when `type` is '" + std::string(spec.type()) + "'"));
    else if (!node_ports.insert(std::string(port.protocol()) + "/" + std::to_string(port.nodePort())).second)
      causes.push_back(schema::duplicate(here.child("nodePort"), port.node()->find("nodePort")));
  }
}

void validate_spec(const Node* object, const Node*, const Path& path, Causes& causes) {
  const ServiceSpec spec(object);
  validate_ports(spec, path, causes);
  if (spec.type() == "ExternalName") {
    const std::string wrong =
        spec.externalName().empty() ? std::string() : schema::check_dns1123_subdomain(spec.externalName());
    if (spec.externalName().empty())
      causes.push_back(schema::required(path.child("externalName")));
    else if (!wrong.empty())
      causes.push_back(schema::invalid(path.child("externalName"), spec.externalName(), wrong));
    if (!spec.clusterIP().empty())
      causes.push_back(schema::forbidden(path.child("clusterIPs"), "may not be set for ExternalName services"));
  } else if (!spec.clusterIP().empty() && spec.clusterIP() != "None") {
    const Path ips = path.child("clusterIPs");
    if (const std::string wrong = schema::check_ip(spec.clusterIP()); !wrong.empty())
      causes.push_back(schema::invalid(ips.index(0), spec.clusterIP(), wrong));
  }
  if (spec.clusterIP() == "None" && (spec.type() == "NodePort" || spec.type() == "LoadBalancer")) {
    const Path ips = path.child("clusterIPs");
    causes.push_back(schema::invalid(ips.index(0), spec.clusterIP(),
                                     "may not be set to 'None' for " + std::string(spec.type()) + " services"));
  }
  if (spec.healthCheckNodePort() != 0 && (spec.type() != "LoadBalancer" || spec.externalTrafficPolicy() != "Local"))
    causes.push_back(schema::forbidden(
        path.child("healthCheckNodePort"),
        "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"));
  uint32_t index = 0;
  const Path externals = path.child("externalIPs");
  for (const std::string_view ip : spec.externalIPs()) {
    if (const std::string wrong = schema::check_ip(ip); !wrong.empty())
      causes.push_back(schema::invalid(externals.index(index), ip, wrong));
    ++index;
  }
}

// Which directions a policy speaks of, when it does not say.
void policy_defaults(Document& document, Node* node) {
  const networking_v1::NetworkPolicySpec spec(&document, node);
  if (!spec.policyTypes().empty()) return;
  spec.add_policyTypes("Ingress");
  if (!spec.egress().empty()) spec.add_policyTypes("Egress");
}

}  // namespace

namespace core_v1::hooks {
extern const schema::Hooks Service, ServiceSpec, ServicePort;
constinit const schema::Hooks Service{.apply_defaults = service_defaults};
constinit const schema::Hooks ServiceSpec{.apply_defaults = spec_defaults, .validate = validate_spec};
constinit const schema::Hooks ServicePort{.apply_defaults = port_defaults};
}  // namespace core_v1::hooks

namespace networking_v1::hooks {
extern const schema::Hooks NetworkPolicySpec;
constinit const schema::Hooks NetworkPolicySpec{.apply_defaults = policy_defaults};
}  // namespace networking_v1::hooks

}  // namespace dure::kinds
