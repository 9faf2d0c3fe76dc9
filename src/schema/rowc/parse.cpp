// Reads the text of one group-version.
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "base/text.h"
#include "schema/rowc/model.h"

namespace dure::rowc {

[[noreturn]] void mistake(const File& file, int line, const std::string& what) {
  std::fprintf(stderr, "%s:%d: %s\n", file.path.c_str(), line, what.c_str());
  std::exit(1);
}

namespace {

struct Line {
  int number = 0;
  bool indented = false;
  std::vector<std::string> words;
  std::string doc;
  size_t next = 0;
  bool more() const { return next < words.size(); }
  std::string take() { return next < words.size() ? words[next++] : std::string(); }
};

std::string unquote(const std::string& word) {
  if (word.size() < 2 || word.front() != '"' || word.back() != '"') return word;
  std::string out;
  for (size_t i = 1; i + 1 < word.size(); ++i) {
    if (word[i] == '\\' && i + 2 < word.size()) ++i;
    out += word[i];
  }
  return out;
}

Line split_line(std::string_view text, int number) {
  Line line;
  line.number = number;
  line.indented = !text.empty() && text[0] == ' ';
  size_t i = 0;
  while (i < text.size()) {
    if (text[i] == ' ') {
      ++i;
      continue;
    }
    if (text[i] == '#') {
      line.doc = std::string(trim(text.substr(i + 1)));
      break;
    }
    const size_t start = i;  // a word ends at a space outside quotes
    for (bool quoted = false; i < text.size() && (quoted || text[i] != ' '); ++i) {
      if (text[i] == '\\' && quoted)
        ++i;
      else if (text[i] == '"')
        quoted = !quoted;
    }
    i = std::min(i, text.size());
    line.words.emplace_back(text.substr(start, i - start));
  }
  return line;
}

std::vector<std::string> list_of(const std::string& text) {
  std::vector<std::string> out;
  for (const std::string_view part : split(text, ',')) out.emplace_back(part);
  return out;
}

// "key=value" -> value when the word starts with that key.
std::optional<std::string> option(const std::string& word, std::string_view key) {
  if (word.size() <= key.size() || word.compare(0, key.size(), key) != 0 || word[key.size()] != '=')
    return std::nullopt;
  return word.substr(key.size() + 1);
}

const std::map<std::string, Value, std::less<>> kBuiltIn = {{"string", Value::string},
                                                            {"bool", Value::boolean},
                                                            {"int32", Value::int32},
                                                            {"int64", Value::int64},
                                                            {"uint32", Value::uint32},
                                                            {"uint64", Value::uint64},
                                                            {"float64", Value::float64},
                                                            {"float32", Value::float32},
                                                            {"bytes", Value::bytes},
                                                            {"any", Value::any},
                                                            {"JSON", Value::any},
                                                            {"Quantity", Value::quantity},
                                                            {"IntOrString", Value::int_or_string},
                                                            {"Time", Value::time},
                                                            {"MicroTime", Value::micro_time},
                                                            {"Duration", Value::duration},
                                                            {"RawExtension", Value::raw_extension},
                                                            {"FieldsV1", Value::fields_v1}};

TypeExpression parse_type(const File& file, int line, std::string_view text) {
  TypeExpression type;
  if (text.size() > 2 && (text[0] == '[' || text[0] == '{')) {
    type.shape = text[0] == '[' ? Shape::list : Shape::map;
    if (text.back() != (text[0] == '[' ? ']' : '}')) mistake(file, line, "bracket is not closed in type");
    type.item = std::make_unique<TypeExpression>(parse_type(file, line, text.substr(1, text.size() - 2)));
    type.value = type.item->value;
    return type;
  }
  type.value = Value::message;
  if (const size_t bar = text.find('|'); bar != text.npos) {
    const std::string_view other = text.substr(bar + 1);
    if (other == "list")
      type.value = Value::message_or_list;
    else if (other == "bool")
      type.value = Value::message_or_boolean;
    else if (other == "strings")
      type.value = Value::message_or_strings;
    else
      mistake(file, line, "unknown alternative after |");
    text = text.substr(0, bar);
  }
  if (const auto found = kBuiltIn.find(text); found != kBuiltIn.end()) {
    type.value = found->second;
    return type;
  }
  type.name = std::string(text);
  return type;
}

int64_t number_of(const File& file, int line, const std::string& text) {
  const auto value = parse_int(text);
  if (!value) mistake(file, line, "not a number: " + text);
  return *value;
}

void parse_flag(const File& file, Row& row, const std::string& word) {
  const std::pair<const char*, bool Row::*> plain[] = {{"null", &Row::null_when_absent},
                                                       {"omitzero", &Row::omit_zero},
                                                       {"inline", &Row::is_inline},
                                                       {"required", &Row::required},
                                                       {"deprecated", &Row::deprecated},
                                                       {"immutable", &Row::immutable},
                                                       {"union", &Row::union_member},
                                                       {"discriminator", &Row::discriminator},
                                                       {"wrapped", &Row::wrapped},
                                                       {"atomic", &Row::atomic},
                                                       {"set", &Row::set},
                                                       {"internal", &Row::internal},
                                                       {"nonempty", &Row::nonempty},
                                                       {"unique", &Row::unique}};
  for (const auto& [name, member] : plain)
    if (word == name) {
      row.*member = true;
      return;
    }
  if (word == "granular") return;  // the default of maps
  if (auto v = option(word, "key"))
    row.list_keys = list_of(*v);
  else if (auto v = option(word, "merge_key"))
    row.merge_key = *v;
  else if (auto v = option(word, "gate"))
    row.gate = *v;
  else if (auto v = option(word, "pattern"))
    row.pattern = unquote(*v);
  else if (auto v = option(word, "says"))
    row.says = unquote(*v);
  else if (auto v = option(word, "format"))
    row.format = *v;
  else if (auto v = option(word, "default"))
    row.default_json = *v;
  else if (auto v = option(word, "when"))
    row.default_when = *v;
  else if (auto v = option(word, "min"))
    row.min = number_of(file, row.line, *v);
  else if (auto v = option(word, "max"))
    row.max = number_of(file, row.line, *v);
  else if (auto v = option(word, "minlen"))
    row.min_length = number_of(file, row.line, *v);
  else if (auto v = option(word, "maxlen"))
    row.max_length = number_of(file, row.line, *v);
  else if (auto v = option(word, "patch")) {
    for (const std::string& part : list_of(*v)) {
      if (part == "merge")
        row.patch_merge = true;
      else if (part == "replace")
        row.patch_replace = true;
      else if (part == "retainKeys")
        row.patch_retain_keys = true;
      else
        mistake(file, row.line, "unknown patch strategy " + part);
    }
  } else {
    mistake(file, row.line, "unknown flag " + word);
  }
}

Row parse_row(const File& file, Line& line) {
  Row row;
  row.line = line.number;
  row.doc = line.doc;
  row.name = line.take();
  const std::string number = line.take();
  if (number != "-") row.number = static_cast<int>(number_of(file, line.number, number));
  std::string type = line.take();
  if (type.empty()) mistake(file, line.number, "a row is: name number type flags");
  if (type.back() == '*') row.pointer = true;
  if (type.back() == '?') row.optional = true;
  if (row.pointer || row.optional) type.pop_back();
  row.type = parse_type(file, line.number, type);
  while (line.more()) parse_flag(file, row, line.take());
  return row;
}

std::unique_ptr<Message> parse_message(const File& file, Line& line, bool is_kind) {
  auto message = std::make_unique<Message>();
  message->file = &file;
  message->line = line.number;
  message->doc = line.doc;
  message->is_kind = is_kind;
  message->name = line.take();
  message->api_version = is_kind ? file.api_version() : "";
  while (line.more()) {
    const std::string word = line.take();
    if (word == "bare")
      message->bare = true;
    else if (word == "atomic")
      message->atomic = true;
    else if (word == "union")
      message->is_union = true;
    else if (word == "deprecated")
      message->deprecated = true;
    else if (word == "hooks")
      message->hooks = true;
    else if (auto v = option(word, "api"))
      message->api_version = *v;
    else if (auto v = option(word, "name"))
      message->name_format = *v;
    else
      mistake(file, line.number, "unknown flag " + word);
  }
  if (is_kind && !message->bare) {
    for (const char* name : {"kind", "apiVersion"}) {
      Row row;
      row.line = line.number;
      row.name = name;
      row.optional = true;
      row.doc = name[0] == 'k' ? "Which kind of object this is." : "Group and version that the object is written in.";
      message->rows.push_back(std::move(row));
    }
  }
  return message;
}

void parse_enum_values(const File& file, Enum& result, Line& line) {
  while (line.more()) {
    const std::string word = line.take();
    const size_t colon = word[0] == '"' ? std::string::npos : word.find(':');
    if (colon != std::string::npos && parse_int(std::string_view(word).substr(colon + 1))) {
      result.numbers.push_back(number_of(file, line.number, word.substr(colon + 1)));
      result.values.push_back(word.substr(0, colon));
    } else {
      result.values.push_back(unquote(word));
    }
  }
}

Enum parse_enum(const File& file, Line& line) {
  Enum result;
  result.name = line.take();
  result.doc = line.doc;
  if (line.take() != "=") mistake(file, line.number, "an enum is: enum Name = VALUE ...");
  parse_enum_values(file, result, line);
  return result;
}

Method parse_method(const File& file, const std::string& service, Line& line) {
  if (line.take() != "call") mistake(file, line.number, "a service has lines: call Name Request Response");
  Method method{
      .line = line.number, .service = service, .name = line.take(), .request = line.take(), .response = line.take()};
  method.stream = line.take() == "stream";
  return method;
}

Resource parse_resource(const File& file, Line& line) {
  Resource resource;
  resource.line = line.number;
  resource.plural = line.take();
  resource.singular = line.take();
  resource.kind = line.take();
  resource.list_kind = resource.kind + "List";
  while (line.more()) {
    const std::string word = line.take();
    if (word == "cluster")
      resource.namespaced = false;
    else if (word == "nolist")
      resource.list_kind.clear();
    else if (auto v = option(word, "list"))
      resource.list_kind = *v;
    else if (auto v = option(word, "short"))
      resource.short_names = list_of(*v);
    else if (auto v = option(word, "categories"))
      resource.categories = list_of(*v);
    else
      mistake(file, line.number, "unknown flag " + word);
  }
  return resource;
}

std::vector<std::string> verbs_of(Line& line, bool* connect = nullptr) {
  std::vector<std::string> verbs;
  while (line.more()) {
    const std::string word = line.take();
    if (connect && word == "connect")
      *connect = true;
    else if (word == "all")
      for (const char* v : {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"})
        verbs.emplace_back(v);
    else
      verbs.push_back(word);
  }
  return verbs;
}

Column parse_column(const File& file, Line& line) {
  Column column;
  column.name = unquote(line.take());
  column.type = line.take();
  if (const size_t slash = column.type.find('/'); slash != std::string::npos) {
    column.format = column.type.substr(slash + 1);
    column.type.resize(slash);
  }
  column.path = line.take();
  if (column.path == "-") column.path.clear();
  while (line.more()) {
    const std::string word = line.take();
    if (word == "wide")
      column.wide = true;
    else if (auto v = option(word, "else"))
      column.absent = *v;
    else
      mistake(file, line.number, "unknown flag " + word);
  }
  return column;
}

void parse_resource_line(const File& file, Resource& resource, Line& line) {
  const std::string word = line.take();
  if (word == "verbs")
    resource.verbs = verbs_of(line);
  else if (word == "select")
    resource.selectors.insert(resource.selectors.end(), line.words.begin() + 1, line.words.end());
  else if (word == "column")
    resource.columns.push_back(parse_column(file, line));
  else if (word == "subresource") {
    Subresource sub;
    sub.name = line.take();
    sub.kind = line.take();
    sub.verbs = verbs_of(line, &sub.connect);
    resource.subresources.push_back(std::move(sub));
  } else {
    mistake(file, line.number, "unknown word " + word);
  }
}

bool parse_header(File& file, const std::string& word, Line& line) {
  if (word == "group")
    file.group = unquote(line.take());
  else if (word == "version")
    file.version = line.take();
  else if (word == "package")
    file.package = line.take();
  else if (word == "namespace")
    file.name_space = line.take();
  else if (word == "syntax")
    file.proto3 = line.take() == "proto3";
  else
    return false;
  return true;
}

}  // namespace

std::unique_ptr<File> parse(const std::string& path, const std::string& text, const std::string& name_space) {
  auto file = std::make_unique<File>();
  file->path = path;
  const size_t slash = path.rfind('/');
  file->stem = path.substr(slash == std::string::npos ? 0 : slash + 1);
  file->stem.resize(file->stem.rfind('.'));
  file->name_space = name_space + "::" + file->stem;
  enum class Section { none, message, enumeration, resource, service } section = Section::none;
  std::string service;
  int number = 0;
  for (const std::string_view raw : split(text, '\n')) {
    Line line = split_line(raw, ++number);
    if (line.words.empty()) continue;
    if (line.indented) {
      switch (section) {
        case Section::none:
          mistake(*file, number, "a row outside a type");
        case Section::message:
          file->messages.back()->rows.push_back(parse_row(*file, line));
          break;
        case Section::enumeration:
          parse_enum_values(*file, file->enums.back(), line);
          break;
        case Section::resource:
          parse_resource_line(*file, file->resources.back(), line);
          break;
        case Section::service:
          file->methods.push_back(parse_method(*file, service, line));
          break;
      }
      continue;
    }
    const std::string word = line.take();
    if (parse_header(*file, word, line)) continue;
    if (word == "kind" || word == "type") {
      file->messages.push_back(parse_message(*file, line, word == "kind"));
      section = Section::message;
    } else if (word == "enum") {
      file->enums.push_back(parse_enum(*file, line));
      section = Section::enumeration;
    } else if (word == "resource") {
      file->resources.push_back(parse_resource(*file, line));
      section = Section::resource;
    } else if (word == "service") {
      service = line.take();
      section = Section::service;
    } else {
      mistake(*file, number, "unknown word " + word);
    }
  }
  return file;
}

}  // namespace dure::rowc
