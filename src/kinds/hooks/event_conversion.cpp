// events.k8s.io/v1 and core/v1 Events are one collection, stored in core's shape.
#include <array>
#include <utility>

#include "kinds/hooks/write_rows.h"

namespace dure::kinds::write {

using schema::Document;
using schema::Node;

namespace {

// events.k8s.io name, core name
constexpr std::array<std::pair<std::string_view, std::string_view>, 14> members{{
    {"metadata", "metadata"},
    {"eventTime", "eventTime"},
    {"series", "series"},
    {"reportingController", "reportingComponent"},
    {"reportingInstance", "reportingInstance"},
    {"action", "action"},
    {"reason", "reason"},
    {"regarding", "involvedObject"},
    {"related", "related"},
    {"note", "message"},
    {"type", "type"},
    {"deprecatedSource", "source"},
    {"deprecatedFirstTimestamp", "firstTimestamp"},
    {"deprecatedLastTimestamp", "lastTimestamp"},
}};

void move_member(const Document& from, std::string_view from_name, Document& to, std::string_view to_name) {
  if (const Node* node = from.root()->find(from_name)) to.copy(to.member(to.root(), to_name), node);
}

}  // namespace

Status event_to_core(const Document& served, Document& stored) {
  for (const auto& [name, core] : members) move_member(served, name, stored, core);
  move_member(served, "deprecatedCount", stored, "count");
  stored.set(stored.member(stored.root(), "kind"), "Event");
  stored.set(stored.member(stored.root(), "apiVersion"), "v1");
  return {};
}

Status event_from_core(const Document& stored, Document& served) {
  for (const auto& [name, core] : members) move_member(stored, core, served, name);
  move_member(stored, "count", served, "deprecatedCount");
  served.set(served.member(served.root(), "kind"), "Event");
  served.set(served.member(served.root(), "apiVersion"), "events.k8s.io/v1");
  return {};
}

}  // namespace dure::kinds::write
