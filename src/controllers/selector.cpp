#include "controllers/selector.h"

#include <algorithm>

namespace dure::controllers {

Selector Selector::from(const meta::LabelSelector& selector) {
  Selector made;
  if (selector.empty()) return made;
  made.nothing_ = false;
  for (const auto& [key, value] : selector.matchLabels())
    made.requirements_.push_back({std::string(key), Operator::in, {std::string(value)}});
  for (const meta::LabelSelectorRequirement row : selector.matchExpressions()) {
    Requirement requirement{std::string(row.key()), Operator::in, {}};
    const std::string_view op = row.operator_();
    requirement.op = op == "NotIn"          ? Operator::not_in
                     : op == "Exists"       ? Operator::exists
                     : op == "DoesNotExist" ? Operator::not_exists
                                            : Operator::in;
    for (const std::string_view value : row.values()) requirement.values.emplace_back(value);
    made.requirements_.push_back(std::move(requirement));
  }
  return made;
}

Selector Selector::from_map(const schema::Map<std::string_view>& labels) {
  Selector made;
  made.nothing_ = labels.empty();
  for (const auto& [key, value] : labels)
    made.requirements_.push_back({std::string(key), Operator::in, {std::string(value)}});
  return made;
}

bool Selector::matches(const schema::Map<std::string_view>& labels) const {
  if (nothing_) return false;
  return std::all_of(requirements_.begin(), requirements_.end(), [&](const Requirement& requirement) {
    const bool present = labels.contains(requirement.key);
    const auto& values = requirement.values;
    const bool listed = present && std::find(values.begin(), values.end(), labels.get(requirement.key)) != values.end();
    switch (requirement.op) {
      case Operator::in:
        return listed;
      case Operator::not_in:
        return !listed;
      case Operator::exists:
        return present;
      case Operator::not_exists:
        return !present;
    }
    return false;
  });
}

bool Selector::matches(const Object& object) const {
  const Node* metadata = client::metadata_of(*object);
  return matches(schema::Map<std::string_view>(nullptr, metadata ? metadata->find("labels") : nullptr));
}

}  // namespace dure::controllers
