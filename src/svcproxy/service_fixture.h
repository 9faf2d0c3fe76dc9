// Test: Services and EndpointSlices as objects.
#pragma once

#include <string>
#include <vector>

#include "kinds/views/core_v1.h"
#include "kinds/views/discovery_v1.h"
#include "svcproxy/rule_set.h"

namespace dure::svcproxy {

struct TestEndpoint {
  std::string ip, node;
  bool ready = true, serving = true, terminating = false;
  std::string zone_hint = {}, node_hint = {};
};

class TestService {
 public:
  TestService(std::string name, std::string cluster_ip) : service_document_(kinds::core_v1::Service::type()) {
    service().mutable_metadata().set_name(name);
    service().mutable_metadata().set_namespace("default");
    service().mutable_spec().set_clusterIP(cluster_ip);
    name_ = name;
  }
  kinds::core_v1::Service service() { return kinds::core_v1::Service(service_document_); }
  TestService& port(int64_t port, int64_t target, const char* protocol = "TCP", const char* name = "",
                    int64_t node_port = 0) {
    auto row = service().mutable_spec().add_ports();
    row.set_port(port);
    row.set_protocol(protocol);
    if (*name) row.set_name(name);
    if (node_port) row.set_nodePort(node_port);
    ports_.push_back({name, protocol, target});
    return *this;
  }
  TestService& endpoints(const std::vector<TestEndpoint>& list) {
    endpoints_ = list;
    return *this;
  }
  ServiceRules rules(const RuleOptions& options, const Vantage& vantage = {}) {
    schema::Document slice_document(kinds::discovery_v1::EndpointSlice::type());
    kinds::discovery_v1::EndpointSlice slice(slice_document);
    slice.set_addressType("IPv4");
    for (const Port& port : ports_) {
      auto row = slice.add_ports();
      if (!port.name.empty()) row.set_name(port.name);
      row.set_protocol(port.protocol);
      row.set_port(port.target);
    }
    for (const TestEndpoint& endpoint : endpoints_) {
      auto row = slice.add_endpoints();
      row.add_addresses(endpoint.ip);
      row.set_nodeName(endpoint.node);
      row.mutable_conditions().set_ready(endpoint.ready);
      row.mutable_conditions().set_serving(endpoint.serving);
      row.mutable_conditions().set_terminating(endpoint.terminating);
      if (!endpoint.zone_hint.empty()) row.mutable_hints().add_forZones().set_name(endpoint.zone_hint);
      if (!endpoint.node_hint.empty()) row.mutable_hints().add_forNodes().set_name(endpoint.node_hint);
    }
    return make_rules(service(), {slice}, options, vantage);
  }
  std::string key() const { return "default/" + name_; }

 private:
  struct Port {
    std::string name, protocol;
    int64_t target;
  };
  schema::Document service_document_;
  std::string name_;
  std::vector<Port> ports_;
  std::vector<TestEndpoint> endpoints_;
};

}  // namespace dure::svcproxy
