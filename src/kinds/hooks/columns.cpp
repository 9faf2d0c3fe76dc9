#include "kinds/hooks/columns.h"

#include <map>

namespace dure::kinds {

using schema::Cell;
using schema::find_path;
using schema::Node;

schema::Cell compute_cell(const schema::Resource& resource, std::string_view column, const Node* object, WallTime now) {
  using Key = std::pair<std::string_view, std::string_view>;
  static const std::map<Key, Cell (*)(const Node*, WallTime)> table = [] {
    std::map<Key, Cell (*)(const Node*, WallTime)> out;
    for (const auto& rows :
         {columns::pod_rows(), columns::workload_rows(), columns::network_rows(), columns::cluster_rows()})
      for (const columns::Row& row : rows) out[{row.kind, row.column}] = row.compute;
    return out;
  }();
  const auto found = table.find({resource.kind, column});
  return found == table.end() ? Cell(nullptr) : found->second(object, now);
}

namespace columns {

std::string joined(const std::vector<std::string>& parts, std::string_view separator) {
  std::string out;
  for (const std::string& part : parts) {
    if (!out.empty()) out += separator;
    out += part;
  }
  return out;
}

std::string label_text(const Node* map) {
  std::vector<std::string> parts;
  for (const Node* label = map ? map->first() : nullptr; label; label = label->next())
    parts.push_back(std::string(label->key()) + "=" + std::string(label->string()));
  return parts.empty() ? "<none>" : joined(parts);
}

std::string selector_text(const Node* selector) {
  std::vector<std::string> parts;
  const Node* labels = selector ? selector->find("matchLabels") : nullptr;
  for (const Node* label = labels ? labels->first() : nullptr; label; label = label->next())
    parts.push_back(std::string(label->key()) + "=" + std::string(label->string()));
  const Node* expressions = selector ? selector->find("matchExpressions") : nullptr;
  for (const Node* one = expressions ? expressions->first() : nullptr; one; one = one->next()) {
    const std::string key = text_at(one, "key"), op = text_at(one, "operator");
    std::vector<std::string> values;
    const Node* list = one->find("values");
    for (const Node* value = list ? list->first() : nullptr; value; value = value->next())
      values.emplace_back(value->string());
    if (op == "In") parts.push_back(key + " in (" + joined(values) + ")");
    if (op == "NotIn") parts.push_back(key + " notin (" + joined(values) + ")");
    if (op == "Exists") parts.push_back(key);
    if (op == "DoesNotExist") parts.push_back("!" + key);
  }
  return parts.empty() ? "<none>" : joined(parts);
}

std::string first_few(const std::vector<std::string>& parts, size_t most, std::string_view none) {
  if (parts.empty()) return std::string(none);
  if (parts.size() <= most) return joined(parts);
  return joined({parts.begin(), parts.begin() + static_cast<long>(most)}) + " + " +
         std::to_string(parts.size() - most) + " more...";
}

std::string text_at(const Node* object, std::string_view path) {
  const Node* node = find_path(object, path);
  if (!node) return {};
  if (node->kind() == schema::Kind::integer) return std::to_string(node->integer());
  return std::string(node->string());
}

int64_t number_at(const Node* object, std::string_view path) {
  const Node* node = find_path(object, path);
  return node ? node->integer() : 0;
}

const Node* condition(const Node* object, std::string_view type) {
  const Node* list = find_path(object, ".status.conditions");
  for (const Node* one = list ? list->first() : nullptr; one; one = one->next())
    if (text_at(one, "type") == type) return one;
  return nullptr;
}

bool condition_is(const Node* object, std::string_view type, std::string_view status) {
  const Node* one = condition(object, type);
  return one && text_at(one, "status") == status;
}

}  // namespace columns
}  // namespace dure::kinds
