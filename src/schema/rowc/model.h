// Model: what one .rows file says, parsed and then resolved against the others.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "schema/rows.h"

namespace dure::rowc {

using schema::Shape;
using schema::Value;

struct File;
struct Message;
struct Resource;

struct Enum {
  std::string name, doc;
  std::vector<std::string> values;
  std::vector<int64_t> numbers;  // as long as values when it is a number on the wire (CRI)
};

// int32, [string], {[string]}, core_v1.PodSpec, ...
struct TypeExpression {
  Shape shape = Shape::single;
  Value value = Value::string;
  std::unique_ptr<TypeExpression> item;  // of a list or map
  std::string name;                      // as written, when not built in
  const Message* message = nullptr;
  const Enum* enumeration = nullptr;
};

struct Row {
  int line = 0;
  std::string name, doc;
  int number = 0;
  TypeExpression type;
  bool optional = false, pointer = false;
  bool null_when_absent = false, omit_zero = false, is_inline = false;
  bool required = false, deprecated = false, immutable = false, union_member = false, discriminator = false;
  bool wrapped = false, atomic = false, set = false, internal = false, nonempty = false, unique = false;
  bool patch_merge = false, patch_replace = false, patch_retain_keys = false;
  std::vector<std::string> list_keys;
  std::string merge_key, gate, pattern, format, default_when, says;
  std::optional<std::string> default_json;
  std::optional<int64_t> min, max, min_length, max_length;
};

struct Message {
  const File* file = nullptr;
  int line = 0;
  std::string name, doc, api_version;
  bool is_kind = false, bare = false, atomic = false, is_union = false, deprecated = false, hooks = false;
  std::vector<Row> rows;
  // Resolved: what JSON sees, and the inline rows with the index of their first field.
  std::vector<const Row*> fields;
  std::vector<std::pair<const Row*, size_t>> inlines;
  std::string name_format;
  const Resource* resource = nullptr;
  bool has_defaults = false, has_validation = false;
  bool fills_itself = false;  // gets defaults even when it is absent
};

struct Column {
  std::string name, type, format, path, absent;
  bool wide = false;
};
struct Subresource {
  std::string name, kind;
  const Message* message = nullptr;
  std::vector<std::string> verbs;
  bool connect = false;
};
struct Resource {
  int line = 0;
  std::string plural, singular, kind, list_kind;
  bool namespaced = true;
  std::vector<std::string> verbs, short_names, categories, selectors;
  std::vector<Subresource> subresources;
  std::vector<Column> columns;
};

struct Method {
  int line = 0;
  std::string service, name, request, response;
  bool stream = false;
};

struct File {
  std::string path, stem, name_space;
  std::string group, version, package;
  bool proto3 = false;
  std::vector<Enum> enums;
  std::vector<std::unique_ptr<Message>> messages;
  std::vector<Resource> resources;
  std::vector<Method> methods;
  const Message* message(std::string_view name) const;
  const Enum* enumeration(std::string_view name) const;
  std::string api_version() const { return group.empty() ? version : group + "/" + version; }
};

struct Model {
  std::vector<std::unique_ptr<File>> files;
  const File* file(std::string_view stem) const;
};

// A mistake in a text of rows; ends the run.
[[noreturn]] void mistake(const File& file, int line, const std::string& what);

std::unique_ptr<File> parse(const std::string& path, const std::string& text, const std::string& name_space);
void resolve(Model& model);

std::string emit_view_header(const Model& model, const File& file, const std::string& include_folder);
std::string emit_tables(const Model& model, const File& file, const std::string& include_folder);
std::string emit_registry(const Model& model, const std::string& name_space);

bool is_always_written(const Row& row);
std::string quoted(std::string_view text);

}  // namespace dure::rowc
