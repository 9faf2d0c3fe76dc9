// What the *_rules.cpp files share: small questions about nodes, and the checks of values that
// several kinds have.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "schema/hooks.h"
#include "schema/validate.h"

namespace dure::kinds::rules {

using Causes = std::vector<Cause>;
using schema::Document;
using schema::Node;
using schema::Path;

inline std::string_view text(const Node* object, std::string_view name) {
  const Node* node = object ? object->find(name) : nullptr;
  return node ? node->string() : std::string_view();
}
inline bool has(const Node* object, std::string_view name) {
  const Node* node = object ? object->find(name) : nullptr;
  return node && !node->is_null();
}
inline bool is_set(const Node* object, std::string_view name) {  // has items, members or characters
  const Node* node = object ? object->find(name) : nullptr;
  return node && (node->size() > 0 || !node->string().empty());
}
inline bool flag(const Node* object, std::string_view name) {
  const Node* node = object ? object->find(name) : nullptr;
  return node && node->boolean();
}

// A port as a number or a name; 0 and "" count as wrong. `path` leads to the member itself.
void check_port(const Node* port, const Path& path, Causes& causes);
// IntOrString that is a count or a percentage, neither negative.
void check_count_or_percent(const Node* value, const Path& path, Causes& causes);
// The value at 100 % = 100 for percentages, the number otherwise; absent is 0.
int64_t count_or_percent(const Node* value);
// A LabelSelector of a workload: not empty, and it selects the template's labels.
void check_selector(const Node* spec, std::string_view kind, const Path& path, Causes& causes);
bool selects(const Node* selector, const Node* labels);
// spec.template.spec.restartPolicy of what keeps pods running.
void check_restart_always(const Node* spec, const Path& path, Causes& causes);

}  // namespace dure::kinds::rules
