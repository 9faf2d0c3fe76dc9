#include "controllers/node_rules.h"

#include <algorithm>
#include <set>

#include "base/text.h"
#include "controllers/conditions.h"

namespace dure::controllers {

bool tolerates(const core::Toleration& toleration, const core::Taint& taint) {
  if (!toleration.effect().empty() && toleration.effect() != taint.effect()) return false;
  if (!toleration.key().empty() && toleration.key() != taint.key()) return false;
  if (toleration.operator_() == "Exists") return true;
  return (toleration.operator_().empty() || toleration.operator_() == "Equal") && !toleration.key().empty() &&
         toleration.value() == taint.value();
}

bool is_tolerated(const core::PodSpec& pod, const core::Taint& taint) {
  for (const core::Toleration toleration : pod.tolerations())
    if (tolerates(toleration, taint)) return true;
  return false;
}

namespace {

bool compares(std::string_view op, std::string_view value, std::string_view limit) {
  const auto a = parse_int(value), b = parse_int(limit);
  return a && b && (op == "Gt" ? *a > *b : *a < *b);
}

bool requirement_holds(const core::NodeSelectorRequirement& row, bool present, std::string_view value) {
  const std::string_view op = row.operator_();
  bool listed = false;
  for (const std::string_view wanted : row.values()) listed |= present && wanted == value;
  if (op == "In") return listed;
  if (op == "NotIn") return !listed;
  if (op == "Exists") return present;
  if (op == "DoesNotExist") return !present;
  return present && row.values().size() == 1 && compares(op, value, row.values().front());
}

bool term_holds(const core::NodeSelectorTerm& term, const core::Node& node) {
  if (term.matchExpressions().empty() && term.matchFields().empty()) return false;
  for (const core::NodeSelectorRequirement row : term.matchExpressions()) {
    const auto labels = node.metadata().labels();
    if (!requirement_holds(row, labels.contains(row.key()), labels.get(row.key()))) return false;
  }
  for (const core::NodeSelectorRequirement row : term.matchFields())
    if (row.key() != "metadata.name" || !requirement_holds(row, true, node.metadata().name())) return false;
  return true;
}

}  // namespace

bool matches_affinity(const core::PodSpec& pod, const Object& object) {
  const core::Node node(object);
  for (const auto& [key, value] : pod.nodeSelector()) {
    const auto labels = node.metadata().labels();
    if (!labels.contains(key) || labels.get(key) != value) return false;
  }
  const core::NodeSelector required = pod.affinity().nodeAffinity().requiredDuringSchedulingIgnoredDuringExecution();
  if (required.empty()) return true;
  for (const core::NodeSelectorTerm term : required.nodeSelectorTerms())
    if (term_holds(term, node)) return true;
  return false;
}

bool has_taint(const core::NodeSpec& spec, std::string_view key, std::string_view effect) {
  for (const core::Taint taint : spec.taints())
    if (taint.key() == key && taint.effect() == effect) return true;
  return false;
}

bool add_taint(Document& node, std::string_view key, std::string_view effect, std::optional<WallTime> added) {
  core::NodeSpec spec = core::Node(node).mutable_spec();
  if (has_taint(spec, key, effect)) return false;
  core::Taint taint = spec.add_taints();
  taint.set_key(key);
  taint.set_effect(effect);
  if (added) taint.set_timeAdded(format_time(*added));
  return true;
}

bool drop_taint(Document& node, std::string_view key, std::string_view effect) {
  ::dure::schema::Node* spec = node.root()->find("spec");
  ::dure::schema::Node* list = spec ? spec->find("taints") : nullptr;
  for (::dure::schema::Node* item = list ? list->first() : nullptr; item; item = item->next()) {
    const core::Taint taint(item);
    if (taint.key() != key || taint.effect() != effect) continue;
    node.erase(list, item);
    if (list->size() == 0) node.erase(spec, "taints");
    return true;
  }
  return false;
}

Duration silence_allowed(const Document& node) {
  const auto labels = core::Node(node).metadata().labels();
  const std::string_view name = labels.contains(class_label) ? labels.get(class_label) : std::string_view();
  if (name == "laptop") return 24h;
  if (name == "remote") return 1h;
  return 20s;
}

bool is_cut_off(const std::vector<Object>& nodes) {
  std::set<std::string_view> own_zones, other_zones;
  for (const Object& node : nodes)
    if (core::Node(node).metadata().labels().contains(control_plane_label))
      own_zones.insert(client::label(node, zone_label));
  bool is_anyone_ready = false, is_other_ready = false;
  for (const Object& node : nodes) {
    const bool ready = is_condition_true(node->root()->find("status"), "Ready");
    is_anyone_ready |= ready;
    const std::string_view zone = client::label(node, zone_label);
    if (zone.empty() || own_zones.contains(zone)) continue;
    other_zones.insert(zone);
    is_other_ready |= ready;
  }
  if (!is_anyone_ready) return true;
  return !own_zones.empty() && other_zones.size() >= 2 && !is_other_ready;
}

}  // namespace dure::controllers
