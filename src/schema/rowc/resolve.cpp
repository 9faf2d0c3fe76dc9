// Resolves names between files, flattens inline rows, and works out which types have something to
// default or validate.
#include "schema/rowc/model.h"

namespace dure::rowc {

const Message* File::message(std::string_view name) const {
  for (const auto& message : messages)
    if (message->name == name) return message.get();
  return nullptr;
}

const Enum* File::enumeration(std::string_view name) const {
  for (const Enum& e : enums)
    if (e.name == name) return &e;
  return nullptr;
}

const File* Model::file(std::string_view stem) const {
  for (const auto& file : files)
    if (file->stem == stem) return file.get();
  return nullptr;
}

namespace {

// "core_v1.PodSpec" or "PodSpec": the file it is in, and the bare name.
std::pair<const File*, std::string> place(const Model& model, const File& from, int line, const std::string& name) {
  const size_t dot = name.find('.');
  if (dot == std::string::npos) return {&from, name};
  const File* file = model.file(name.substr(0, dot));
  if (!file) mistake(from, line, "no rows file for " + name);
  return {file, name.substr(dot + 1)};
}

void resolve_type(const Model& model, const File& file, const Row& row, TypeExpression& type) {
  if (type.item) {
    resolve_type(model, file, row, *type.item);
    type.value = type.item->value;
    return;
  }
  if (type.name.empty()) return;
  const auto [home, name] = place(model, file, row.line, type.name);
  if (const Enum* e = home->enumeration(name)) {
    type.enumeration = e;
    type.value = e->numbers.empty() ? Value::string : Value::int32;
    return;
  }
  type.message = home->message(name);
  if (!type.message) mistake(file, row.line, "unknown type " + type.name);
}

void flatten(Message& message) {
  if (!message.fields.empty()) return;
  for (Row& row : message.rows) {
    if (!row.is_inline) {
      message.fields.push_back(&row);
      continue;
    }
    Message& inner = const_cast<Message&>(*row.type.message);
    flatten(inner);
    message.inlines.emplace_back(&row, message.fields.size());
    message.fields.insert(message.fields.end(), inner.fields.begin(), inner.fields.end());
  }
}

const Message* leaf(const TypeExpression& type) { return type.item ? leaf(*type.item) : type.message; }

bool own_validation(const Row& row) {
  return row.nonempty || row.unique || row.min || row.max || row.min_length || row.max_length || !row.format.empty() ||
         row.immutable || !row.pattern.empty() || row.discriminator || row.union_member ||
         (row.type.item ? row.type.item->enumeration : row.type.enumeration) != nullptr;
}

bool spread(Model& model) {
  bool changed = false;
  for (auto& file : model.files)
    for (auto& message : file->messages) {
      bool defaults = message->hooks, validation = message->hooks || message->is_union;
      for (const Row* row : message->fields) {
        const Message* below = leaf(row->type);
        defaults = defaults || row->default_json || (below && below->has_defaults);
        validation = validation || own_validation(*row) || (below && below->has_validation);
      }
      bool fills = message->hooks;
      for (const Row* row : message->fields) {
        const bool plain_struct = !row->pointer && !row->type.item && row->type.value == Value::message;
        fills = fills || row->default_json || (plain_struct && row->type.message->fills_itself);
      }
      changed = changed || fills != message->fills_itself;
      message->fills_itself = fills;
      changed = changed || defaults != message->has_defaults || validation != message->has_validation;
      message->has_defaults = defaults;
      message->has_validation = validation;
    }
  return changed;
}

}  // namespace

void resolve(Model& model) {
  for (auto& file : model.files) {
    for (auto& message : file->messages)
      for (Row& row : message->rows) resolve_type(model, *file, row, row.type);
    for (const Method& method : file->methods)
      for (const std::string& name : {method.request, method.response})
        if (!file->message(name)) mistake(*file, method.line, "unknown type " + name);
    for (Resource& resource : file->resources) {
      if (const Message* kind = file->message(resource.kind))
        const_cast<Message*>(kind)->resource = &resource;
      else
        mistake(*file, resource.line, "unknown kind " + resource.kind);
      if (!resource.list_kind.empty() && !file->message(resource.list_kind))
        mistake(*file, resource.line, "unknown kind " + resource.list_kind);
      for (Subresource& sub : resource.subresources) {
        const auto [home, name] = place(model, *file, resource.line, sub.kind);
        sub.message = home->message(name);
        if (!sub.message) mistake(*file, resource.line, "unknown kind " + sub.kind);
      }
    }
  }
  for (auto& file : model.files)
    for (auto& message : file->messages) flatten(*message);
  while (spread(model)) {
  }
}

bool is_always_written(const Row& row) {
  if (row.pointer) return row.null_when_absent;
  if (!row.optional) return true;
  if (row.omit_zero || row.type.shape != Shape::single) return false;
  switch (row.type.value) {  // Go's omitempty never drops a struct
    case Value::message:
    case Value::quantity:
    case Value::int_or_string:
    case Value::time:
    case Value::micro_time:
    case Value::duration:
    case Value::raw_extension:
      return true;
    default:
      return false;
  }
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

}  // namespace dure::rowc
