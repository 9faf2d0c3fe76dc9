#include "apiserver/table.h"

#include <array>

#include <fmt/format.h>

#include "apiserver/peek.h"
#include "schema/hooks.h"
#include "schema/json.h"
#include "schema/rows.h"

namespace dure::apiserver {

using schema::Column;
using schema::Node;

namespace {

// What kinds without columns of their own show.
constexpr std::array<Column, 2> plain_columns{
    Column{"Name", "string", "name", 0, ".metadata.name"},
    Column{"Created At", "date", "", 0, ".metadata.creationTimestamp"},
};

std::span<const Column> columns_of(const schema::Resource& resource) {
  return resource.columns.empty() ? std::span<const Column>(plain_columns) : resource.columns;
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

std::string age_text(std::string_view time, WallTime now) {
  const auto parsed = parse_time(time);
  return parsed ? human_duration(now - *parsed) : std::string("<unknown>");
}

bool is_age(const Column& column) { return column.path == ".metadata.creationTimestamp"; }

void append_value(std::string& out, const Node* node, const Column& column, WallTime now) {
  if (node->is_string() && (column.type == "date" || is_age(column))) {
    append_json_string(out, age_text(node->string(), now));
  } else if (column.type == "string" && !node->is_string()) {
    std::string text;
    schema::encode_json(node, nullptr, text);
    append_json_string(out, text);
  } else {
    schema::encode_json(node, nullptr, out);
  }
}

void append_absent(std::string& out, const Column& column) {
  if (!column.absent.empty()) return append_json_string(out, column.absent);
  if (column.type == "integer") out += column.path.empty() ? "null" : "0";
  else append_json_string(out, "");
}

void append_cell(std::string& out, const schema::Resource& resource, const Node* root, const Column& column, WallTime now) {
  if (column.path.empty()) {
    const schema::Hooks* hooks = resource.type ? resource.type->hooks : nullptr;
    if (!hooks || !hooks->cell) return append_absent(out, column);
    const std::string text = hooks->cell(root, column.name, now);
    const bool number = column.type == "integer" && !text.empty() && text.find_first_not_of("-0123456789") == std::string::npos;
    if (number) out += text;
    else append_json_string(out, text);
    return;
  }
  const Node* node = follow(root, column.path);
  if (!node || node->is_null()) append_absent(out, column);
  else append_value(out, node, column, now);
}

}  // namespace

std::string column_definitions(const schema::Resource& resource) {
  std::string out = "[";
  for (const Column& column : columns_of(resource)) {
    if (out.size() > 1) out += ',';
    out += "{\"name\":";
    append_json_string(out, column.name);
    out += ",\"type\":";
    append_json_string(out, column.type == "date" ? "string" : column.type);
    out += ",\"format\":";
    append_json_string(out, column.format);
    out += fmt::format(",\"description\":\"\",\"priority\":{}}}", column.priority);
  }
  return out + "]";
}

std::string table_cells(const schema::Resource& resource, const schema::Document& object, WallTime now) {
  std::string out = "[";
  for (const Column& column : columns_of(resource)) {
    if (out.size() > 1) out += ',';
    append_cell(out, resource, object.root(), column, now);
  }
  return out + "]";
}

}  // namespace dure::apiserver
