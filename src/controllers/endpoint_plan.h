// What stands behind a Service. Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "controllers/api.h"
#include "kinds/views/discovery_v1.h"

namespace dure::controllers {

namespace discovery = kinds::discovery_v1;

struct Port {
  std::string name, protocol, app_protocol;
  int64_t port = 0;
  friend auto operator<=>(const Port&, const Port&) = default;
};

// One pod as a member of a Service.
struct Member {
  std::string address, hostname, node, zone;
  std::string pod_namespace, pod_name, pod_uid;
  bool ready = false, serving = false, terminating = false;
  std::vector<std::string> hint_zones;
  std::string hint_node;
  friend auto operator<=>(const Member&, const Member&) = default;
};

// Members that share port numbers: named target ports may differ from pod to pod.
using PortGroups = std::map<std::vector<Port>, std::vector<Member>>;
// `family`: "IPv4" or "IPv6". `zone_of_node`: topology.kubernetes.io/zone by node name.
PortGroups members_of(const core::Service& service, const std::vector<Object>& pods, std::string_view family,
                      const std::map<std::string, std::string>& zone_of_node);
std::vector<std::string> families_of(const core::Service& service);

inline constexpr size_t endpoints_per_slice_max = 100;

// What to do to the slices of one Service and family so that they hold `groups`: as few writes as possible, endpoints
// stay in the slice they are in.
struct SlicePlan {
  struct Change {
    Object slice;  // null: a new one
    std::vector<Port> ports;
    std::vector<Member> members;
  };
  std::vector<Change> write;
  std::vector<Object> remove;
};
SlicePlan plan_slices(const PortGroups& groups, const std::vector<Object>& slices);

std::vector<Port> ports_of(const Object& slice);
std::vector<Member> members_in(const Object& slice);
// The other way round: in place of what the slice holds.
void fill_slice(Document& slice, const std::vector<Port>& ports, const std::vector<Member>& members);

// What somebody wrote into Endpoints by hand, of one family.
PortGroups members_of(const core::Endpoints& endpoints, std::string_view family);

}  // namespace dure::controllers
