// Writes the typed views of one file: one class per message, one-line accessors over schema/view.h.
#include <algorithm>
#include <set>

#include "schema/rowc/model.h"

namespace dure::rowc {

namespace {

const std::set<std::string, std::less<>> kKeywords = {
    "alignas",  "and",       "asm",      "auto",     "bool",      "break",  "case",     "catch",    "char",
    "class",    "const",     "continue", "default",  "delete",    "do",     "double",   "else",     "enum",
    "explicit", "export",    "extern",   "false",    "float",     "for",    "friend",   "goto",     "if",
    "inline",   "int",       "long",     "mutable",  "namespace", "new",    "not",      "operator", "or",
    "private",  "protected", "public",   "register", "requires",  "return", "short",    "signed",   "sizeof",
    "static",   "struct",    "switch",   "template", "this",      "throw",  "true",     "try",      "typedef",
    "typename", "union",     "unsigned", "using",    "virtual",   "void",   "volatile", "while",    "xor"};

// The API's name as an identifier without a trailing underscore: `x-kubernetes-int-or-string`,
// `$ref`.
std::string stem_of(std::string_view name) {
  std::string out;
  for (const char c : name) {
    if (c == '$')
      out += "dollar_";
    else
      out += c == '-' || c == '.' ? '_' : c;
  }
  return out;
}

std::string accessor(std::string_view name) {
  std::string out = stem_of(name);
  return kKeywords.contains(out) ? out + "_" : out;
}

std::string class_of(const Message& message, const File& from) {
  return message.file == &from ? message.name : "::" + message.file->name_space + "::" + message.name;
}

enum class Category { text, integer, boolean, number, node, message };

Category category(const TypeExpression& type) {
  switch (type.value) {
    case Value::string:
    case Value::bytes:
    case Value::quantity:
    case Value::time:
    case Value::micro_time:
    case Value::duration:
      return Category::text;
    case Value::int32:
    case Value::int64:
    case Value::uint32:
    case Value::uint64:
      return Category::integer;
    case Value::boolean:
      return Category::boolean;
    case Value::float64:
    case Value::float32:
      return Category::number;
    case Value::message:
      return Category::message;
    default:
      return Category::node;
  }
}

// The C++ type that one element reads as.
std::string element(const TypeExpression& type, const File& from) {
  if (type.item)
    return (type.shape == Shape::list ? "schema::List<" : "schema::Map<") + element(*type.item, from) + ">";
  switch (category(type)) {
    case Category::text:
      return "std::string_view";
    case Category::integer:
      return "int64_t";
    case Category::boolean:
      return "bool";
    case Category::number:
      return "double";
    case Category::node:
      return "const schema::Node*";
    case Category::message:
      return class_of(*type.message, from);
  }
  return "";
}

class ClassWriter {
 public:
  ClassWriter(const Message& message, const File& file) : message_(message), file_(file) {}

  std::string write() {
    const std::string& name = message_.name;
    if (!message_.doc.empty()) out_ += "// " + message_.doc + "\n";
    out_ += "class " + name + " : public schema::View {\n public:\n  using View::View;\n";
    out_ += "  static const schema::Type& schema_type() { return rows::" + name + "; }\n";
    const bool hidden =
        std::any_of(message_.fields.begin(), message_.fields.end(), [](const Row* r) { return r->name == "type"; });
    if (!hidden) out_ += "  static const schema::Type& type() { return rows::" + name + "; }\n";
    for (const Row* row : message_.fields) write_row(*row);
    out_ += "};\n";
    return out_;
  }

 private:
  void line(const std::string& text) { out_ += "  " + text + "\n"; }

  void write_row(const Row& row) {
    const std::string key = quoted(row.name), stem = stem_of(row.name), get = accessor(row.name);
    line("bool has_" + stem + "() const { return has_member(" + key + "); }");
    line("void clear_" + stem + "() const { erase_member(" + key + "); }");
    if (row.type.shape == Shape::list)
      write_list(*row.type.item, key, stem, get);
    else if (row.type.shape == Shape::map)
      write_map(*row.type.item, key, stem, get);
    else
      write_single(row.type, key, stem, get);
  }

  void write_single(const TypeExpression& type, const std::string& key, const std::string& stem,
                    const std::string& get) {
    switch (category(type)) {
      case Category::text:
        line("std::string_view " + get + "() const { return get_text(" + key + "); }");
        line("void set_" + stem + "(std::string_view v) const { put(" + key + ", v); }");
        break;
      case Category::integer:
        line("int64_t " + get + "() const { return get_integer(" + key + "); }");
        line("void set_" + stem + "(int64_t v) const { put(" + key + ", v); }");
        break;
      case Category::boolean:
        line("bool " + get + "() const { return get_boolean(" + key + "); }");
        line("void set_" + stem + "(bool v) const { put_boolean(" + key + ", v); }");
        break;
      case Category::number:
        line("double " + get + "() const { return get_number(" + key + "); }");
        line("void set_" + stem + "(double v) const { put_number(" + key + ", v); }");
        break;
      case Category::node:
        line("const schema::Node* " + get + "() const { return get_node(" + key + "); }");
        line("schema::Node* mutable_" + stem + "() const { return make_member(" + key + "); }");
        if (type.value == Value::int_or_string) {
          line("void set_" + stem + "(int64_t v) const { put(" + key + ", v); }");
          line("void set_" + stem + "(std::string_view v) const { put(" + key + ", v); }");
        }
        break;
      case Category::message: {
        const std::string type_name = class_of(*type.message, file_);
        line(type_name + " " + get + "() const { return " + type_name +
             "(document_, const_cast<schema::Node*>(get_node(" + key + "))); }");
        line(type_name + " mutable_" + stem + "() const { return " + type_name + "(document_, make_object(" + key +
             ")); }");
        break;
      }
    }
  }

  void write_list(const TypeExpression& item, const std::string& key, const std::string& stem, const std::string& get) {
    const std::string type = element(item, file_);
    line("schema::List<" + type + "> " + get + "() const { return get_list<" + type + ">(" + key + "); }");
    if (item.item) {
      line("schema::Node* add_" + stem + "() const { return add_item(" + key + ", false); }");
      return;
    }
    switch (category(item)) {
      case Category::text:
        line("void add_" + stem + "(std::string_view v) const { put_item(" + key + ", v); }");
        break;
      case Category::integer:
        line("void add_" + stem + "(int64_t v) const { put_item(" + key + ", v); }");
        break;
      case Category::message:
        // Not inline in spirit: the item class may still be incomplete here, so these are templates
        // over it.
        line("template <class T = " + type + "> T add_" + stem + "() const { return T(document_, add_item(" + key +
             ", true)); }");
        line("schema::List<" + type + "> mutable_" + stem + "() const { return get_list<" + type + ">(" + key + "); }");
        break;
      default:
        line("schema::Node* add_" + stem + "() const { return add_item(" + key + ", false); }");
        break;
    }
  }

  void write_map(const TypeExpression& item, const std::string& key, const std::string& stem, const std::string& get) {
    const std::string type = element(item, file_);
    line("schema::Map<" + type + "> " + get + "() const { return get_map<" + type + ">(" + key + "); }");
    line("void erase_" + stem + "(std::string_view key) const { erase_entry(" + key + ", key); }");
    if (item.item) {
      line("schema::Node* mutable_" + stem + "(std::string_view key) const { return make_entry(" + key +
           ", key, false); }");
      if (item.shape == Shape::list && category(*item.item) == Category::text)
        line("void add_" + stem + "(std::string_view key, std::string_view v) const { put_entry_item(" + key +
             ", key, v); }");
      return;
    }
    switch (category(item)) {
      case Category::text:
        line("void set_" + stem + "(std::string_view key, std::string_view v) const { put_entry(" + key +
             ", key, v); }");
        break;
      case Category::integer:
        line("void set_" + stem + "(std::string_view key, int64_t v) const { put_entry(" + key + ", key, v); }");
        break;
      case Category::message:
        line("template <class T = " + type + "> T mutable_" + stem +
             "(std::string_view key) const { return T(document_, make_entry(" + key + ", key, true)); }");
        break;
      default:
        line("schema::Node* mutable_" + stem + "(std::string_view key) const { return make_entry(" + key +
             ", key, false); }");
        break;
    }
  }

  const Message& message_;
  const File& file_;
  std::string out_;
};

// Classes in an order in which every single message member is complete before its owner.
void order(const Message& message, const File& file, std::vector<const Message*>& out, std::set<const Message*>& open) {
  if (std::find(out.begin(), out.end(), &message) != out.end()) return;
  if (!open.insert(&message).second)
    mistake(file, message.line, "types that contain each other directly: " + message.name);
  for (const Row* row : message.fields) {
    const Message* below = row->type.value == Value::message && !row->type.item ? row->type.message : nullptr;
    if (below && below != &message && below->file == &file) order(*below, file, out, open);
  }
  open.erase(&message);
  out.push_back(&message);
}

void collect_files(const TypeExpression& type, std::set<const File*>& files) {
  if (type.message) files.insert(type.message->file);
  if (type.item) collect_files(*type.item, files);
}

}  // namespace

std::string emit_view_header(const Model&, const File& file, const std::string& include_folder) {
  std::set<const File*> files;
  for (const auto& message : file.messages)
    for (const Row* row : message->fields) collect_files(row->type, files);
  std::set<std::string> includes;
  for (const File* other : files)
    if (other != &file) includes.insert("#include \"" + include_folder + "/" + other->stem + ".h\"\n");
  std::string out = "// Made by rowc from " + file.stem + ".rows.\n#pragma once\n\n";
  for (const std::string& include : includes) out += include;
  out += "#include \"schema/resource.h\"\n#include \"schema/view.h\"\n\n";
  out += "namespace " + file.name_space + " {\n\nnamespace rows {\n";
  for (const auto& message : file.messages) out += "extern const schema::Type " + message->name + ";\n";
  out += "}\n\n";
  for (const Resource& resource : file.resources) out += "extern const schema::Resource " + resource.plural + ";\n";
  if (!file.methods.empty()) out += "extern const std::span<const schema::Method> methods;\n";
  for (const Enum& e : file.enums) {
    if (e.numbers.empty()) continue;
    out += "enum " + e.name + " : int64_t {";
    for (size_t i = 0; i < e.values.size(); ++i)
      out += (i ? ", " : " ") + e.values[i] + " = " + std::to_string(e.numbers[i]);
    out += " };\n";
  }
  for (const auto& message : file.messages) out += "class " + message->name + ";\n";
  out += "\n";
  std::vector<const Message*> ordered;
  std::set<const Message*> open;
  for (const auto& message : file.messages) order(*message, file, ordered, open);
  for (const Message* message : ordered) out += ClassWriter(*message, file).write() + "\n";
  return out + "}  // namespace " + file.name_space + "\n";
}

}  // namespace dure::rowc
