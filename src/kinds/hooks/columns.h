// Cells that rows cannot say: one source per family of kinds, found by kind and column name.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "schema/table.h"

namespace dure::kinds {

// A schema::ComputeCell for the built-in kinds; null for a column nobody computes.
schema::Cell compute_cell(const schema::Resource& resource, std::string_view column, const schema::Node* object,
                          WallTime now);

namespace columns {

struct Row {
  std::string_view kind, column;
  schema::Cell (*compute)(const schema::Node* object, WallTime now);
};
std::vector<Row> pod_rows();
std::vector<Row> workload_rows();
std::vector<Row> network_rows();
std::vector<Row> cluster_rows();

// "a=1,b=2", or <none>.
std::string label_text(const schema::Node* map);
// A LabelSelector as text, or <none>.
std::string selector_text(const schema::Node* selector);
std::string joined(const std::vector<std::string>& parts, std::string_view separator = ",");
// The first `most` parts, then " + N more...".
std::string first_few(const std::vector<std::string>& parts, size_t most, std::string_view none);
std::string text_at(const schema::Node* object, std::string_view path);
int64_t number_at(const schema::Node* object, std::string_view path);
// The condition of that type, or null.
const schema::Node* condition(const schema::Node* object, std::string_view type);
bool condition_is(const schema::Node* object, std::string_view type, std::string_view status);

}  // namespace columns
}  // namespace dure::kinds
