// Conditions of a status, for every kind that has them: {type, status, reason, message, lastTransitionTime, ...}.
#pragma once

#include <optional>
#include <string>

#include "controllers/api.h"

namespace dure::controllers {

struct Condition {
  std::string type, status, reason, message;
  std::string last_transition = {}, last_update = {};
};

std::optional<Condition> find_condition(const Node* status, std::string_view type);
// The condition itself, for members that only some kinds have; null when there is none.
Node* condition_of(Node* status, std::string_view type);
bool is_condition_true(const Node* status, std::string_view type);

// Which second time a kind's conditions carry.
enum class SecondTime { none, last_update, last_probe, last_heartbeat };
// Nothing changes when status and reason are already so. lastTransitionTime moves only with the status, unless
// `condition.last_transition` says what it is. Answers whether something changed.
bool set_condition(Document& document, Node* status, const Condition& condition, WallTime now, SecondTime second);
bool remove_condition(Document& document, Node* status, std::string_view type);

}  // namespace dure::controllers
