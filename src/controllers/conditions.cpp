#include "controllers/conditions.h"

namespace dure::controllers {
namespace {

std::string text(const Node* item, std::string_view field) {
  const Node* node = item->find(field);
  return std::string(node ? node->string() : std::string_view{});
}

std::string_view second_field(SecondTime second) {
  switch (second) {
    case SecondTime::none:
      return {};
    case SecondTime::last_update:
      return "lastUpdateTime";
    case SecondTime::last_probe:
      return "lastProbeTime";
    case SecondTime::last_heartbeat:
      return "lastHeartbeatTime";
  }
  return {};
}

}  // namespace

Node* condition_of(Node* status, std::string_view type) {
  Node* list = status ? status->find("conditions") : nullptr;
  for (Node* item = list ? list->first() : nullptr; item; item = item->next()) {
    const Node* name = item->find("type");
    if (name && name->string() == type) return item;
  }
  return nullptr;
}

std::optional<Condition> find_condition(const Node* status, std::string_view type) {
  const Node* item = condition_of(const_cast<Node*>(status), type);
  if (!item) return {};
  return Condition{std::string(type),
                   text(item, "status"),
                   text(item, "reason"),
                   text(item, "message"),
                   text(item, "lastTransitionTime"),
                   text(item, "lastUpdateTime")};
}

bool is_condition_true(const Node* status, std::string_view type) {
  const auto condition = find_condition(status, type);
  return condition && condition->status == "True";
}

bool set_condition(Document& document, Node* status, const Condition& condition, WallTime now, SecondTime second) {
  const auto old = find_condition(status, condition.type);
  if (old && old->status == condition.status && old->reason == condition.reason) return false;
  const std::string time = format_time(now);
  std::string transition = old && old->status == condition.status ? old->last_transition : time;
  if (!condition.last_transition.empty()) transition = condition.last_transition;
  remove_condition(document, status, condition.type);
  Node* item = document.append(document.member(status, "conditions"));
  document.make_object(item);
  auto set = [&](std::string_view field, std::string_view value) {
    if (!value.empty()) document.set(document.member(item, field), value);
  };
  set("type", condition.type);
  set("status", condition.status);
  if (second != SecondTime::none) set(second_field(second), time);
  set("lastTransitionTime", transition);
  set("reason", condition.reason);
  set("message", condition.message);
  return true;
}

bool remove_condition(Document& document, Node* status, std::string_view type) {
  Node* item = condition_of(status, type);
  if (!item) return false;
  Node* list = status->find("conditions");
  document.erase(list, item);
  if (list->size() == 0) document.erase(status, "conditions");
  return true;
}

}  // namespace dure::controllers
