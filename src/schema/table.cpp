#include "schema/table.h"

#include "base/text.h"
#include "schema/json.h"
#include "schema/rows.h"

namespace dure::schema {
namespace {

void append_text(std::string_view text, std::string& out) {
  Document document;
  document.set(document.root(), text);
  encode_json(document.root(), nullptr, out);
}

struct Definition {
  std::string_view name, type, format, description;
  int priority;
};

void append_definition(const Definition& definition, std::string& out) {
  out += "{\"name\":";
  append_text(definition.name, out);
  out += ",\"type\":";
  append_text(definition.type, out);
  out += ",\"format\":";
  append_text(definition.format, out);
  out += ",\"description\":";
  append_text(definition.description, out);
  out += ",\"priority\":" + std::to_string(definition.priority) + "}";
}

bool is_time(const Node* node) {
  const Field* field = node->field();
  return field && field->shape == Shape::single && (field->value == Value::time || field->value == Value::micro_time);
}

Cell value_cell(const Node* node, const Column& column, WallTime now) {
  if (is_time(node) && column.type != "date") return age(node->string(), now);
  switch (node->kind()) {
    case Kind::boolean:
      if (column.type == "string") return std::string(node->boolean() ? "true" : "false");
      return node->boolean();
    case Kind::integer:
      if (column.type == "string") return std::to_string(node->integer());
      return node->integer();
    case Kind::string: return std::string(node->string());
    default: break;
  }
  std::string text;
  encode_json(node, nullptr, text);
  return text;
}

Cell absent_cell(const Column& column) {
  if (!column.absent.empty()) return std::string(column.absent);
  if (column.type == "integer") return int64_t{0};
  if (column.type == "boolean") return false;
  return std::string();
}

}  // namespace

const Node* find_path(const Node* object, std::string_view path) {
  const Node* node = object;
  for (std::string_view step : split(path.substr(path.starts_with(".") ? 1 : 0), '.')) {
    node = node ? node->find(step) : nullptr;
    if (!node) return nullptr;
  }
  return node->is_null() ? nullptr : node;
}

std::string age(std::string_view rfc3339, WallTime now) {
  const auto time = parse_time(rfc3339);
  return time ? human_duration(now - *time) : "<unknown>";
}

void append_cell(const Cell& cell, std::string& out) {
  if (const auto* text = std::get_if<std::string>(&cell))
    append_text(*text, out);
  else if (const auto* number = std::get_if<int64_t>(&cell))
    out += std::to_string(*number);
  else if (const auto* flag = std::get_if<bool>(&cell))
    out += *flag ? "true" : "false";
  else
    out += "null";
}

void append_column_definitions(const Resource& resource, std::string& out) {
  out += '[';
  if (resource.columns.empty()) {
    append_definition({"Name", "string", "name", "Name of the object, unique in its namespace.", 0}, out);
    out += ',';
    append_definition({"Created At", "date", "", "When the server made the object.", 0}, out);
  }
  bool first = true;
  for (const Column& column : resource.columns) {
    if (!std::exchange(first, false)) out += ',';
    append_definition({column.name, column.type, column.format, column.path, column.priority}, out);
  }
  out += ']';
}

void append_cells(const Resource& resource, const Node* object, WallTime now, ComputeCell compute, std::string& out) {
  out += '[';
  if (resource.columns.empty()) {
    const Node* name = find_path(object, ".metadata.name");
    const Node* created = find_path(object, ".metadata.creationTimestamp");
    append_text(name ? name->string() : "", out);
    out += ',';
    append_text(created ? created->string() : "", out);
  }
  bool first = true;
  for (const Column& column : resource.columns) {
    if (!std::exchange(first, false)) out += ',';
    if (column.path.empty()) {
      append_cell(compute ? compute(resource, column.name, object, now) : Cell(nullptr), out);
      continue;
    }
    const Node* node = find_path(object, column.path);
    append_cell(node ? value_cell(node, column, now) : absent_cell(column), out);
  }
  out += ']';
}

}  // namespace dure::schema
