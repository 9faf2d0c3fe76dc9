// Table: how an object appears as a row of meta.k8s.io/v1 Table, from the columns among a resource's rows.
//
// Column definitions and cells are appended as JSON. Cells whose column has no path are computed by `compute`
// (kinds/hooks/columns.h for built-in kinds). Cost: one walk down the object per column.
#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "base/time.h"
#include "schema/document.h"
#include "schema/resource.h"

namespace dure::schema {

using Cell = std::variant<std::string, int64_t, bool, std::nullptr_t>;
using ComputeCell = Cell (*)(const Resource& resource, std::string_view column, const Node* object, WallTime now);

// Without columns of its own a resource shows Name and Created At, as upstream does.
void append_column_definitions(const Resource& resource, std::string& out);  // [{...},...]
void append_cells(const Resource& resource, const Node* object, WallTime now, ComputeCell compute,
                  std::string& out);  // [...]
void append_cell(const Cell& cell, std::string& out);

// What kubectl prints for a moment in the past: "5m", "<unknown>" when it is empty or no time.
std::string age(std::string_view rfc3339, WallTime now);
// ".spec.replicas", ".status.conditions[?(@.type==\"Ready\")].status", ".items[0]"; null when it leads nowhere.
const Node* find_path(const Node* object, std::string_view path);

}  // namespace dure::schema
