// Sites: nodes that reach each other by LAN belong together. Pure: who reaches whom goes in, a name per node comes out.
//
// A site's name is "site-" and six hex digits made from the identity of the member that came first when the site was
// named; it is kept as long as any member of before is in it, so that a node that goes or is renamed moves nobody else.
// Of two sites that grow together the one with more members of before keeps its name (of equals the smaller name).
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace dure::overlay {

inline constexpr std::string_view zone_label = "topology.kubernetes.io/zone";
inline constexpr std::string_view machine_label = "dure.dev/machine";

struct SiteMember {
  std::string node;
  std::string identity;          // does not change with the node's name: its key
  std::vector<std::string> lan;  // names of the nodes it reaches by LAN
  std::string site;              // what it is called now; empty: nothing yet
};

// By node. An edge counts when either end names it.
std::map<std::string, std::string> name_sites(std::vector<SiteMember> members);

}  // namespace dure::overlay
