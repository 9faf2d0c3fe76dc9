#include "schema/table.h"

#include <algorithm>

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

// One step of a path: a member with an optional [n], [*] or [?(@.key=="value")].
struct Step {
  std::string_view name, filter_key, filter_value;
  int index = -1;
};

std::string_view inside_quotes(std::string_view text) {
  const size_t open = text.find_first_of("\"'");
  if (open == std::string_view::npos) return text;
  const size_t close = text.find(text[open], open + 1);
  return text.substr(open + 1, close == std::string_view::npos ? close : close - open - 1);
}

void read_bracket(std::string_view bracket, Step& step) {
  const size_t equal = bracket.find("==");
  if (bracket.starts_with("?(@.") && equal != std::string_view::npos) {
    step.filter_key = bracket.substr(4, equal - 4);
    step.filter_value = inside_quotes(bracket.substr(equal + 2));
  } else {
    step.index = 0;
    for (const char c : bracket)
      if (c >= '0' && c <= '9') step.index = step.index * 10 + (c - '0');
  }
}

// Takes the first step off `path` (".a[0].b").
Step take_step(std::string_view& path) {
  Step step;
  if (path.starts_with('.')) path.remove_prefix(1);
  size_t end = 0;
  while (end < path.size() && path[end] != '.' && path[end] != '[') end += path[end] == '\\' ? 2 : 1;
  step.name = path.substr(0, std::min(end, path.size()));
  path.remove_prefix(std::min(end, path.size()));
  if (path.starts_with('[')) {
    const size_t close = path.find(']');
    if (close == std::string_view::npos) return path = {}, step;
    read_bracket(path.substr(1, close - 1), step);
    path.remove_prefix(close + 1);
  }
  return step;
}

const Node* follow(const Node* node, std::string_view path) {
  while (node && !path.empty()) {
    const Step step = take_step(path);
    if (!step.name.empty()) {
      std::string name(step.name);
      if (const size_t slash = name.find('\\'); slash != std::string::npos) name.erase(slash, 1);
      node = node->find(name);
    }
    if (node && step.index >= 0) node = node->item(static_cast<uint32_t>(step.index));
    if (node && !step.filter_key.empty()) {
      const Node* found = nullptr;
      for (const Node* item = node->first(); item && !found; item = item->next()) {
        const Node* value = item->find(step.filter_key);
        if (value && value->string() == step.filter_value) found = item;
      }
      node = found;
    }
  }
  return node;
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
    case Kind::string:
      return std::string(node->string());
    default:
      break;
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
  const Node* node = follow(object, path);
  return node && !node->is_null() ? node : nullptr;
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
