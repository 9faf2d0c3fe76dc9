#include "schema/defaults.h"

#include "base/text.h"
#include "schema/hooks.h"
#include "schema/json.h"
#include "schema/rows.h"

namespace dure::schema {

namespace {

const Node* present(const Node* object, const Field& field) {
  for (const Node* child = object->first(); child; child = child->next())
    if (child->field() == &field) return child->is_null() ? nullptr : child;
  return nullptr;
}

// One condition of Rules::default_when: "field", "!field", "field=A|B".
bool holds(const Node* object, std::string_view condition) {
  if (condition[0] == '!') return object->find(condition.substr(1)) == nullptr;
  const size_t equals = condition.find('=');
  const Node* member = object->find(condition.substr(0, equals));
  if (equals == condition.npos) return member != nullptr;
  if (!member) return false;
  for (const std::string_view wanted : split(condition.substr(equals + 1), '|'))
    if (member->string() == wanted) return true;
  return false;
}

void set_default(Document& document, Node* node, const Field& field) {
  const std::string_view text = field.rules->default_json;
  if (field.shape == Shape::single) {
    switch (field.value) {
      case Value::boolean:
        return document.set(node, text == "true");
      case Value::int32:
      case Value::int64:
      case Value::uint32:
      case Value::uint64:
        return document.set(node, parse_int(text).value_or(0));
      case Value::int_or_string:
        if (const auto number = parse_int(text)) return document.set(node, *number);
        return document.set_borrowed(node, text);
      case Value::message:
        if (text == "{}") return document.make_object(node);
        break;
      case Value::float32:
      case Value::float64:
        break;
      default:
        return document.set_borrowed(node, text);
    }
  }
  auto value = decode_json(SharedBytes(std::string(text)));
  DURE_ASSERT(value.has_value());  // rows are part of the program
  document.copy(node, value->root());
}

enum class Phase { absent, plain, present };

Phase phase_of(const Field& field) {
  const std::string_view when = field.rules->default_when;
  return when.empty() ? Phase::plain : when[0] == '!' ? Phase::absent : Phase::present;
}

void own_defaults(Document& document, Node* object, const Type& type) {
  bool conditional = false;
  for (const uint16_t index : type.defaults) conditional = conditional || phase_of(type.fields[index]) != Phase::plain;
  for (const Phase phase : {Phase::absent, Phase::plain, Phase::present}) {
    if (phase != Phase::plain && !conditional) continue;
    for (const uint16_t index : type.defaults) {
      const Field& field = type.fields[index];
      if (phase_of(field) != phase || present(object, field)) continue;
      if (phase != Phase::plain && !holds(object, field.rules->default_when)) continue;
      set_default(document, document.insert_row(object, field), field);
    }
  }
}

void below(Document& document, Node* node, const Field& field) {
  if (field.shape == Shape::single) {
    if (field.type && field.type->has_defaults && node->kind() == Kind::object)
      apply_defaults(document, node, *field.type);
    return;
  }
  const Field& item = *field.item;
  if (item.shape == Shape::single && !(item.type && item.type->has_defaults)) return;
  for (Node* child = node->first(); child; child = child->next()) below(document, child, item);
}

}  // namespace

void apply_defaults(Document& document, Node* node, const Type& type) {
  if (!type.has_defaults) return;
  own_defaults(document, node, type);
  if (type.hooks && type.hooks->apply_defaults) type.hooks->apply_defaults(document, node);
  for (Node* child = node->first(); child; child = child->next())
    if (child->field()) below(document, child, *child->field());
  for (const uint16_t index : type.absent_defaults) {
    const Field& field = type.fields[index];
    if (present(node, field)) continue;
    Node* child = document.insert_row(node, field);
    document.make_object(child);
    apply_defaults(document, child, *field.type);
    if (child->size() == 0) document.erase(node, child);
  }
}

void apply_defaults(Document& document) {
  if (document.type()) apply_defaults(document, document.root(), *document.type());
}

}  // namespace dure::schema
