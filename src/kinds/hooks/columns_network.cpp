#include <algorithm>

#include "kinds/hooks/columns.h"

namespace dure::kinds::columns {
namespace {

using schema::Cell;
using schema::find_path;
using schema::Node;

std::vector<std::string> texts(const Node* list) {
  std::vector<std::string> out;
  for (const Node* item = list ? list->first() : nullptr; item; item = item->next()) out.emplace_back(item->string());
  return out;
}

// Addresses or names of a load balancer, sorted.
std::vector<std::string> balancers(const Node* o) {
  std::vector<std::string> out;
  const Node* list = find_path(o, ".status.loadBalancer.ingress");
  for (const Node* one = list ? list->first() : nullptr; one; one = one->next()) {
    const std::string ip = text_at(one, "ip");
    out.push_back(ip.empty() ? text_at(one, "hostname") : ip);
  }
  std::sort(out.begin(), out.end());
  return out;
}

Cell service_cluster_ip(const Node* o, WallTime) {
  const Node* ips = find_path(o, ".spec.clusterIPs");
  const std::string first = ips && ips->first() ? std::string(ips->first()->string()) : text_at(o, ".spec.clusterIP");
  return first.empty() ? "<none>" : first;
}

Cell service_external_ip(const Node* o, WallTime) {
  const std::string type = text_at(o, ".spec.type");
  std::vector<std::string> external = texts(find_path(o, ".spec.externalIPs"));
  if (type == "ExternalName") return text_at(o, ".spec.externalName");
  if (type == "ClusterIP" || type == "NodePort") return external.empty() ? "<none>" : joined(external);
  if (type != "LoadBalancer") return std::string("<unknown>");
  std::vector<std::string> all = balancers(o);
  all.insert(all.end(), external.begin(), external.end());
  return all.empty() ? "<pending>" : joined(all);
}

Cell service_ports(const Node* o, WallTime) {
  std::vector<std::string> parts;
  const Node* ports = find_path(o, ".spec.ports");
  for (const Node* port = ports ? ports->first() : nullptr; port; port = port->next()) {
    const std::string node_port = text_at(port, "nodePort"), protocol = text_at(port, "protocol");
    parts.push_back(text_at(port, "port") + (node_port.empty() ? "" : ":" + node_port) + "/" + protocol);
  }
  return parts.empty() ? "<none>" : joined(parts);
}

Cell service_selector(const Node* o, WallTime) { return label_text(find_path(o, ".spec.selector")); }

Cell endpoints(const Node* o, WallTime) {
  std::vector<std::string> parts;
  const Node* subsets = o->find("subsets");
  for (const Node* subset = subsets ? subsets->first() : nullptr; subset; subset = subset->next()) {
    const Node* addresses = subset->find("addresses");
    const Node* ports = subset->find("ports");
    for (const Node* address = addresses ? addresses->first() : nullptr; address; address = address->next()) {
      const std::string ip = text_at(address, "ip");
      if (!ports || ports->size() == 0) parts.push_back(ip);
      for (const Node* port = ports ? ports->first() : nullptr; port; port = port->next())
        parts.push_back(ip + ":" + text_at(port, "port"));
    }
  }
  return first_few(parts, 3, "<none>");
}

Cell slice_ports(const Node* o, WallTime) {
  std::vector<std::string> parts;
  const Node* ports = o->find("ports");
  for (const Node* port = ports ? ports->first() : nullptr; port; port = port->next()) {
    const std::string number = text_at(port, "port"), name = text_at(port, "name");
    parts.push_back(!number.empty() ? number : !name.empty() ? name : "*");
  }
  return first_few(parts, 3, "<unset>");
}

Cell slice_endpoints(const Node* o, WallTime) {
  std::vector<std::string> parts;
  const Node* list = o->find("endpoints");
  for (const Node* one = list ? list->first() : nullptr; one; one = one->next())
    for (const std::string& address : texts(one->find("addresses"))) parts.push_back(address);
  return first_few(parts, 3, "<unset>");
}

Cell ingress_hosts(const Node* o, WallTime) {
  std::vector<std::string> hosts;
  const Node* rules = find_path(o, ".spec.rules");
  for (const Node* rule = rules ? rules->first() : nullptr; rule; rule = rule->next())
    if (const std::string host = text_at(rule, "host"); !host.empty()) hosts.push_back(host);
  return first_few(hosts, 3, "*");
}
Cell ingress_address(const Node* o, WallTime) { return joined(balancers(o)); }
Cell ingress_ports(const Node* o, WallTime) {
  const Node* tls = find_path(o, ".spec.tls");
  return std::string(tls && tls->size() ? "80, 443" : "80");
}

Cell class_parameters(const Node* o, WallTime) {
  const Node* parameters = find_path(o, ".spec.parameters");
  if (!parameters) return std::string("<none>");
  const std::string group = text_at(parameters, "apiGroup");
  return text_at(parameters, "kind") + (group.empty() ? "" : "." + group) + "/" + text_at(parameters, "name");
}

Cell policy_selector(const Node* o, WallTime) { return selector_text(find_path(o, ".spec.podSelector")); }
Cell range_list(const Node* o, WallTime) { return joined(texts(find_path(o, ".spec.cidrs"))); }

Cell address_parent(const Node* o, WallTime) {
  const Node* parent = find_path(o, ".spec.parentRef");
  if (!parent) return std::string("<none>");
  std::string out = text_at(parent, "resource");
  if (const std::string group = text_at(parent, "group"); !group.empty()) out += "." + group;
  if (const std::string ns = text_at(parent, "namespace"); !ns.empty()) out += "/" + ns;
  return out + "/" + text_at(parent, "name");
}

}  // namespace

std::vector<Row> network_rows() {
  return {{"Service", "Cluster-IP", service_cluster_ip},
          {"Service", "External-IP", service_external_ip},
          {"Service", "Port(s)", service_ports},
          {"Service", "Selector", service_selector},
          {"Endpoints", "Endpoints", endpoints},
          {"EndpointSlice", "Ports", slice_ports},
          {"EndpointSlice", "Endpoints", slice_endpoints},
          {"Ingress", "Hosts", ingress_hosts},
          {"Ingress", "Address", ingress_address},
          {"Ingress", "Ports", ingress_ports},
          {"IngressClass", "Parameters", class_parameters},
          {"NetworkPolicy", "Pod-Selector", policy_selector},
          {"ServiceCIDR", "CIDRs", range_list},
          {"IPAddress", "ParentRef", address_parent}};
}

}  // namespace dure::kinds::columns
