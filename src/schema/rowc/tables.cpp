// Writes the constant tables of one file and the registry of all.
#include <algorithm>
#include <set>

#include "schema/rowc/model.h"

namespace dure::rowc {

namespace {

const char* value_name(Value value) {
  switch (value) {
    case Value::string:
      return "string";
    case Value::boolean:
      return "boolean";
    case Value::int32:
      return "int32";
    case Value::int64:
      return "int64";
    case Value::uint32:
      return "uint32";
    case Value::uint64:
      return "uint64";
    case Value::float64:
      return "float64";
    case Value::float32:
      return "float32";
    case Value::bytes:
      return "bytes";
    case Value::any:
      return "any";
    case Value::quantity:
      return "quantity";
    case Value::int_or_string:
      return "int_or_string";
    case Value::time:
      return "time";
    case Value::micro_time:
      return "micro_time";
    case Value::duration:
      return "duration";
    case Value::raw_extension:
      return "raw_extension";
    case Value::fields_v1:
      return "fields_v1";
    case Value::message:
      return "message";
    case Value::message_or_list:
      return "message_or_list";
    case Value::message_or_boolean:
      return "message_or_boolean";
    case Value::message_or_strings:
      return "message_or_strings";
  }
  return "";
}

const char* shape_name(Shape shape) {
  return shape == Shape::single ? "single" : shape == Shape::list ? "list" : "map";
}

std::string type_symbol(const Message& message) { return "::" + message.file->name_space + "::rows::" + message.name; }

std::string texts(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : ", ") + quoted(word);
  return out;
}

template <class Numbers>
std::string numbers(const Numbers& values) {
  std::string out;
  for (const auto value : values) out += (out.empty() ? "" : ",") + std::to_string(value);
  return out;
}

// One message's tables. Names of helper arrays carry the message's name.
class MessageWriter {
 public:
  explicit MessageWriter(const Message& message) : message_(message) {}

  std::string write() {
    std::string fields, inlines;
    for (size_t i = 0; i < message_.fields.size(); ++i) fields += "    " + field(*message_.fields[i], i) + ",\n";
    for (const auto& [row, first] : message_.inlines) inlines += "    " + field(*row, first) + ",\n";
    std::string out = before_;
    const std::string& name = message_.name;
    if (!fields.empty()) out += "constinit const Field " + name + "_fields[] = {\n" + fields + "};\n";
    if (!inlines.empty()) out += "constinit const Field " + name + "_inlines[] = {\n" + inlines + "};\n";
    out += tables();
    out += "}  // namespace\n";
    out += "constinit const Type " + name + "{" + head() + "};\n";
    return "namespace {\n" + out;
  }

 private:
  std::string array(const std::string& type, const std::string& suffix, const std::string& content) {
    const std::string name = message_.name + suffix;
    before_ += "constinit const " + type + " " + name + "[] = {" + content + "};\n";
    return name;
  }

  std::string rules(const Row& row) {
    std::string out;
    const auto add = [&](const std::string& part) { out += (out.empty() ? "" : ", ") + part; };
    const std::string n = std::to_string(count_);
    if (row.default_json) {
      std::string text = *row.default_json;
      if (text.size() >= 2 && text.front() == '"') text = text.substr(1, text.size() - 2);
      add(".default_json = " + quoted(text));
      if (!row.default_when.empty()) add(".default_when = " + quoted(row.default_when));
    }
    if (!row.list_keys.empty()) add(".list_keys = " + array("std::string_view", "_k" + n, texts(row.list_keys)));
    if (!row.merge_key.empty()) add(".merge_key = " + quoted(row.merge_key));
    const TypeExpression& leaf = row.type.item ? *row.type.item : row.type;
    if (leaf.enumeration) {
      add(".enum_values = " + enum_values(*leaf.enumeration));
      add(".enum_name = " + quoted(leaf.enumeration->name));
    }
    if (!row.gate.empty()) add(".gate = " + quoted(row.gate));
    if (!row.pattern.empty()) add(".pattern = " + quoted(row.pattern));
    if (!row.says.empty()) add(".says = " + quoted(row.says));
    if (row.min) add(".min = " + std::to_string(*row.min));
    if (row.max) add(".max = " + std::to_string(*row.max));
    if (row.min_length) add(".min_length = " + std::to_string(*row.min_length));
    if (row.max_length) add(".max_length = " + std::to_string(*row.max_length));
    if (!row.format.empty()) add(".format = Format::" + row.format);
    if (row.default_json) add(".has_default = true");
    if (out.empty()) return out;
    before_ += "constinit const Rules " + message_.name + "_r" + n + "{" + out + "};\n";
    return "&" + message_.name + "_r" + n;
  }

  std::string enum_values(const Enum& e) {
    if (e.values.empty()) return "{}";
    return array("std::string_view", "_e" + std::to_string(count_), texts(e.values));
  }

  std::string item(const TypeExpression& type, const Row& row, const std::string& rules_name) {
    std::string out;
    const auto add = [&](const std::string& part) { out += ", " + part; };
    if (type.message) add(".type = &" + type_symbol(*type.message));
    if (type.item) add(".item = " + item(*type.item, row, ""));
    if (!rules_name.empty()) add(".rules = " + rules_name);
    add(".value = Value::" + std::string(value_name(type.value)));
    if (type.shape != Shape::single) add(".shape = Shape::" + std::string(shape_name(type.shape)));
    const std::string name = message_.name + "_i" + std::to_string(count_++);
    before_ += "constinit const Field " + name + "{.name = \"\"" + out + "};\n";
    return "&" + name;
  }

  std::string field(const Row& row, size_t index) {
    const std::string rules_name = rules(row);
    std::string out = ".name = " + quoted(row.name);
    const auto add = [&](const std::string& part) { out += ", " + part; };
    if (row.type.message) add(".type = &" + type_symbol(*row.type.message));
    if (row.type.item) {
      // Items share the rules of their list only where these speak of the element.
      const bool element_rules = row.type.item->enumeration || (row.type.shape == Shape::list && !row.format.empty());
      add(".item = " + item(*row.type.item, row, element_rules ? rules_name : ""));
    }
    if (!rules_name.empty()) add(".rules = " + rules_name);
    if (!row.doc.empty()) add(".doc = " + quoted(row.doc));
    if (row.number) add(".number = " + std::to_string(row.number));
    add(".index = " + std::to_string(index));
    add(".value = Value::" + std::string(value_name(row.type.value)));
    if (row.type.shape != Shape::single) add(".shape = Shape::" + std::string(shape_name(row.type.shape)));
    if (row.type.shape == Shape::list) {
      if (!row.list_keys.empty())
        add(".list_kind = ListKind::map");
      else if (row.set)
        add(".list_kind = ListKind::set");
      else if (row.atomic)
        add(".list_kind = ListKind::atomic");
    }
    const std::pair<const char*, bool> flags[] = {{"required", row.required},
                                                  {"omit_empty", row.optional && !row.pointer},
                                                  {"omit_zero", row.omit_zero},
                                                  {"pointer", row.pointer},
                                                  {"always", is_always_written(row)},
                                                  {"atomic", row.atomic && row.type.shape != Shape::list},
                                                  {"deprecated", row.deprecated},
                                                  {"immutable", row.immutable},
                                                  {"union_member", row.union_member},
                                                  {"discriminator", row.discriminator},
                                                  {"wrapped", row.wrapped},
                                                  {"patch_merge", row.patch_merge},
                                                  {"patch_replace", row.patch_replace},
                                                  {"patch_retain_keys", row.patch_retain_keys},
                                                  {"internal", row.internal},
                                                  {"nonempty", row.nonempty},
                                                  {"unique", row.unique}};
    for (const auto& [name, on] : flags)
      if (on) add("." + std::string(name) + " = true");
    ++count_;
    return "{" + out + "}";
  }

  std::string tables() {
    std::string out;
    const std::string& name = message_.name;
    if (!message_.fields.empty()) {
      size_t size = 1;
      while (size < message_.fields.size() * 2) size *= 2;
      std::vector<int> slots(size);
      for (size_t i = 0; i < message_.fields.size(); ++i) {
        size_t slot = schema::name_hash(message_.fields[i]->name) & (size - 1);
        while (slots[slot]) slot = (slot + 1) & (size - 1);
        slots[slot] = static_cast<int>(i) + 1;
      }
      out += "constinit const uint16_t " + name + "_by_name[] = {" + numbers(slots) + "};\n";
    }
    std::vector<std::pair<int, int>> wire;  // number, index or ~inline
    std::set<const Row*> inside;
    for (size_t k = 0; k < message_.inlines.size(); ++k) {
      const auto& [row, first] = message_.inlines[k];
      for (size_t i = 0; i < row->type.message->fields.size(); ++i) inside.insert(message_.fields[first + i]);
      if (row->number) wire.emplace_back(row->number, ~static_cast<int>(k));
    }
    std::vector<int> always;
    for (size_t i = 0; i < message_.fields.size(); ++i) {
      const Row& row = *message_.fields[i];
      if (row.number && !inside.contains(&row)) wire.emplace_back(row.number, static_cast<int>(i));
      if (is_always_written(row)) always.push_back(static_cast<int>(i));
    }
    std::sort(wire.begin(), wire.end());
    if (!wire.empty()) {
      std::vector<int> by_number(static_cast<size_t>(wire.back().first), INT16_MIN), order;
      for (const auto& [number, index] : wire) {
        by_number[static_cast<size_t>(number) - 1] = index;
        order.push_back(index);
      }
      out += "constinit const int16_t " + name + "_by_number[] = {" + numbers(by_number) + "};\n";
      out += "constinit const int16_t " + name + "_wire[] = {" + numbers(order) + "};\n";
    }
    if (!always.empty()) out += "constinit const uint16_t " + name + "_always[] = {" + numbers(always) + "};\n";
    std::vector<int> defaults, absent;
    for (size_t i = 0; i < message_.fields.size(); ++i) {
      const Row& row = *message_.fields[i];
      if (row.default_json) defaults.push_back(static_cast<int>(i));
      if (!row.pointer && !row.type.item && row.type.value == Value::message && row.type.message->fills_itself)
        absent.push_back(static_cast<int>(i));
    }
    if (!defaults.empty()) out += "constinit const uint16_t " + name + "_defaults[] = {" + numbers(defaults) + "};\n";
    if (!absent.empty()) out += "constinit const uint16_t " + name + "_absent[] = {" + numbers(absent) + "};\n";
    has_own_defaults_ = !defaults.empty();
    has_absent_ = !absent.empty();
    has_wire_ = !wire.empty();
    has_always_ = !always.empty();
    return out;
  }

  std::string head() const {
    const File& file = *message_.file;
    const std::string& name = message_.name;
    std::string out = ".name = " + quoted(name) + ", .group = " + quoted(file.group) +
                      ", .version = " + quoted(file.version) + ", .package = " + quoted(file.package);
    if (!message_.fields.empty()) out += ", .fields = " + name + "_fields";
    if (!message_.inlines.empty()) out += ", .inlines = " + name + "_inlines";
    if (!message_.fields.empty()) out += ", .by_name = " + name + "_by_name";
    if (has_wire_) out += ", .by_number = " + name + "_by_number, .wire_order = " + name + "_wire";
    if (has_always_) out += ", .always = " + name + "_always";
    if (has_own_defaults_) out += ", .defaults = " + name + "_defaults";
    if (has_absent_) out += ", .absent_defaults = " + name + "_absent";
    if (message_.hooks) out += ", .hooks = &hooks::" + name;
    if (!message_.doc.empty()) out += ", .doc = " + quoted(message_.doc);
    const std::pair<const char*, bool> flags[] = {{"is_kind", message_.is_kind},
                                                  {"atomic", message_.atomic},
                                                  {"is_union", message_.is_union},
                                                  {"deprecated", message_.deprecated},
                                                  {"proto3", file.proto3},
                                                  {"has_defaults", message_.has_defaults},
                                                  {"has_validation", message_.has_validation}};
    for (const auto& [flag, on] : flags)
      if (on) out += ", ." + std::string(flag) + " = true";
    if (!message_.api_version.empty()) out += ", .api_version = " + quoted(message_.api_version);
    if (!message_.name_format.empty()) out += ", .name_format = Format::" + message_.name_format;
    if (message_.resource)
      out += std::string(", .scope = Type::Scope::") + (message_.resource->namespaced ? "namespaced" : "cluster");
    return out;
  }

  const Message& message_;
  std::string before_;
  int count_ = 0;
  bool has_wire_ = false, has_always_ = false, has_own_defaults_ = false, has_absent_ = false;
};

void collect(const TypeExpression& type, std::set<const Message*>& used) {
  if (type.message) used.insert(type.message);
  if (type.item) collect(*type.item, used);
}

// Declarations of the types of other files that this one's tables point at.
std::string foreign_declarations(const File& file) {
  std::set<const Message*> used;
  for (const auto& message : file.messages)
    for (const Row* row : message->fields) collect(row->type, used);
  for (const Resource& resource : file.resources)
    for (const Subresource& sub : resource.subresources) used.insert(sub.message);
  std::map<std::string, std::set<std::string>> by_space;
  for (const Message* message : used)
    if (message->file != &file) by_space[message->file->name_space].insert(message->name);
  std::string out;
  for (const auto& [space, names] : by_space) {
    out += "namespace " + space + "::rows {\n";
    for (const std::string& name : names) out += "extern const schema::Type " + name + ";\n";
    out += "}\n";
  }
  return out;
}

std::string resource_tables(const File& file, const Resource& resource) {
  const std::string& name = resource.plural;
  std::string out;
  const auto array = [&](const std::string& suffix, const std::vector<std::string>& words) -> std::string {
    if (words.empty()) return "{}";
    out += "constinit const std::string_view " + name + suffix + "[] = {" + texts(words) + "};\n";
    return name + suffix;
  };
  std::string head = "{.group = " + quoted(file.group) + ", .version = " + quoted(file.version) +
                     ", .plural = " + quoted(name) + ", .singular = " + quoted(resource.singular) +
                     ", .kind = " + quoted(resource.kind) + ", .list_kind = " + quoted(resource.list_kind) +
                     ", .namespaced = " + (resource.namespaced ? "true" : "false") +
                     ", .type = &rows::" + resource.kind;
  if (!resource.list_kind.empty()) head += ", .list_type = &rows::" + resource.list_kind;
  head += ", .verbs = " + array("_verbs", resource.verbs);
  head += ", .short_names = " + array("_short", resource.short_names);
  head += ", .categories = " + array("_categories", resource.categories);
  std::string subs, columns;
  for (const Subresource& sub : resource.subresources) {
    const Message& m = *sub.message;
    std::string suffix = "_" + sub.name + "_verbs";
    std::replace(suffix.begin(), suffix.end(), '-', '_');
    const std::string verbs = array(suffix, sub.verbs);
    subs += "    {.name = " + quoted(sub.name) + ", .group = " + quoted(m.file->group) +
            ", .version = " + quoted(m.file->version) + ", .kind = " + quoted(m.name) + ", .type = &" + type_symbol(m) +
            ", .verbs = " + verbs + ", .connect = " + (sub.connect ? "true" : "false") + "},\n";
  }
  for (const Column& c : resource.columns)
    columns += "    {.name = " + quoted(c.name) + ", .type = " + quoted(c.type) + ", .format = " + quoted(c.format) +
               ", .priority = " + (c.wide ? "1" : "0") + ", .path = " + quoted(c.path) +
               ", .absent = " + quoted(c.absent) + "},\n";
  if (!subs.empty()) {
    out += "constinit const schema::Subresource " + name + "_subresources[] = {\n" + subs + "};\n";
    head += ", .subresources = " + name + "_subresources";
  }
  if (!columns.empty()) {
    out += "constinit const schema::Column " + name + "_columns[] = {\n" + columns + "};\n";
    head += ", .columns = " + name + "_columns";
  }
  head += ", .field_selectors = " + array("_selectors", resource.selectors);
  return "namespace {\n" + out + "}  // namespace\nconstinit const schema::Resource " + name + head + "};\n";
}

}  // namespace

std::string emit_tables(const Model&, const File& file, const std::string&) {
  std::string out = "// Made by rowc from " + file.stem +
                    ".rows.\n#include \"schema/hooks.h\"\n#include \"schema/resource.h\"\n"
                    "#include \"schema/rows.h\"\n\n";
  out += foreign_declarations(file);
  bool hooks = false;
  out += "namespace " + file.name_space + " {\n";
  for (const auto& message : file.messages) {
    if (message->hooks && !hooks) out += "namespace hooks {\n";
    hooks = hooks || message->hooks;
    if (message->hooks) out += "extern const schema::Hooks " + message->name + ";\n";
  }
  if (hooks) out += "}\n";
  out += "namespace rows {\n";
  for (const auto& message : file.messages) out += "extern const schema::Type " + message->name + ";\n";
  out += "using namespace schema;\n";
  for (const auto& message : file.messages) out += MessageWriter(*message).write();
  out += "}  // namespace rows\n";
  for (const Resource& resource : file.resources) out += "extern const schema::Resource " + resource.plural + ";\n";
  for (const Resource& resource : file.resources) out += resource_tables(file, resource);
  if (!file.methods.empty()) {
    out += "namespace {\nconstinit const schema::Method kMethods[] = {\n";
    for (const Method& m : file.methods)
      out += "    {" + quoted(file.package + "." + m.service) + ", " + quoted(m.name) + ", &rows::" + m.request +
             ", &rows::" + m.response + ", " + (m.stream ? "true" : "false") + "},\n";
    out +=
        "};\n}  // namespace\nextern const std::span<const schema::Method> methods;\n"
        "constinit const std::span<const schema::Method> methods = kMethods;\n";
  }
  return out + "}  // namespace " + file.name_space + "\n";
}

std::string emit_registry(const Model& model, const std::string& name_space) {
  std::string declarations, resources, kinds;
  for (const auto& file : model.files) {
    declarations += "namespace " + file->name_space + " {\n";
    for (const Resource& resource : file->resources) {
      declarations += "extern const schema::Resource " + resource.plural + ";\n";
      resources += "    &::" + file->name_space + "::" + resource.plural + ",\n";
    }
    declarations += "namespace rows {\n";
    for (const auto& message : file->messages) {
      if (!message->is_kind) continue;
      declarations += "extern const schema::Type " + message->name + ";\n";
      kinds += "    &" + type_symbol(*message) + ",\n";
    }
    declarations += "}\n}\n";
  }
  return "// Made by rowc.\n#include \"schema/resource.h\"\n#include \"schema/rows.h\"\n" + declarations +
         "namespace " + name_space +
         " {\nextern const schema::Resource* const kResources[];\nextern const size_t "
         "kResourceCount;\n"
         "extern const schema::Type* const kKinds[];\nextern const size_t kKindCount;\n"
         "constinit const schema::Resource* const kResources[] = {\n" +
         resources +
         "    nullptr};\n"
         "constinit const size_t kResourceCount = sizeof(kResources) / sizeof(kResources[0]) - 1;\n"
         "constinit const schema::Type* const kKinds[] = {\n" +
         kinds +
         "    nullptr};\n"
         "constinit const size_t kKindCount = sizeof(kKinds) / sizeof(kKinds[0]) - 1;\n}\n";
}

}  // namespace dure::rowc
