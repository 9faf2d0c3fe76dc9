#include "schema/json.h"
#include "schema/rows.h"
#include "schema/values.h"
#include "schema/zero.h"

namespace dure::schema {

namespace {

bool is_zero(const Node* node, const Field& field) {
  if (!node->is_container()) return node->is_null() || is_zero_scalar(node);
  if (node->kind() == Kind::list) return node->size() == 0;
  return node->size() == 0 && (field.shape == Shape::map || field.omit_zero);
}

class Encoder {
 public:
  Encoder(std::string& out, bool indent) : out_(out), indent_(indent) {}

  void value(const Node* node, const Type* type) {
    switch (node->kind()) {
      case Kind::null:
        out_ += "null";
        return;
      case Kind::boolean:
        out_ += node->boolean() ? "true" : "false";
        return;
      case Kind::integer:
        append_integer(out_, node->integer());
        return;
      case Kind::number:
        append_number(out_, node->number());
        return;
      case Kind::string:
        append_json_string(out_, node->string());
        return;
      case Kind::list:
        list(node);
        return;
      case Kind::object:
        if (type)
          structure(node, *type);
        else
          object(node);
        return;
    }
  }

 private:
  static const Type* type_below(const Node* node) {
    const Field* field = node->field();
    return field && field->shape == Shape::single ? field->type : nullptr;
  }

  void line() {
    if (!indent_) return;
    out_ += '\n';
    out_.append(static_cast<size_t>(depth_) * 2, ' ');
  }

  void open(char bracket) {
    out_ += bracket;
    ++depth_;
    first_ = true;
  }

  void separate() {
    if (!first_) out_ += ',';
    first_ = false;
    line();
  }

  void close(char bracket) {
    --depth_;
    if (!first_) line();
    out_ += bracket;
    first_ = false;
  }

  void key(std::string_view name) {
    separate();
    append_json_string(out_, name);
    out_ += indent_ ? ": " : ":";
  }

  void list(const Node* node) {
    open('[');
    for (const Node* child = node->first(); child; child = child->next()) {
      separate();
      value(child, type_below(child));
    }
    close(']');
  }

  void object(const Node* node) {
    open('{');
    for (const Node* child = node->first(); child; child = child->next()) {
      key(child->key());
      value(child, type_below(child));
    }
    close('}');
  }

  // `node` may be null: an absent struct whose always-written rows appear.
  void structure(const Node* node, const Type& type) {
    open('{');
    size_t always = 0;
    for (const Node* child = node ? node->first() : nullptr; child; child = child->next()) {
      const Field* field = child->field();
      if (!field) {  // a member the type does not know; it stands last
        for (; always < type.always.size(); ++always) absent(type.fields[type.always[always]]);
        key(child->key());
        value(child, nullptr);
        continue;
      }
      for (; always < type.always.size() && type.always[always] < field->index; ++always)
        absent(type.fields[type.always[always]]);
      if (always < type.always.size() && type.always[always] == field->index) {
        ++always;
        if (child->is_null()) {
          absent(*field);
          continue;
        }
      } else if (child->is_null() || (!field->pointer && is_zero(child, *field))) {
        continue;
      }
      key(field->name);
      value(child, type_below(child));
    }
    for (; always < type.always.size(); ++always) absent(type.fields[type.always[always]]);
    close('}');
  }

  void absent(const Field& field) {
    key(field.name);
    if (field.pointer || field.shape != Shape::single) {
      out_ += "null";
      return;
    }
    switch (field.value) {
      case Value::string:
        out_ += "\"\"";
        return;
      case Value::boolean:
        out_ += "false";
        return;
      case Value::int32:
      case Value::int64:
      case Value::uint32:
      case Value::uint64:
      case Value::float32:
      case Value::float64:
      case Value::int_or_string:
        out_ += '0';
        return;
      case Value::quantity:
        out_ += "\"0\"";
        return;
      case Value::duration:
        out_ += "\"0s\"";
        return;
      case Value::message:
        structure(nullptr, *field.type);
        return;
      default:
        out_ += "null";
        return;
    }
  }

  std::string& out_;
  const bool indent_;
  int depth_ = 0;
  bool first_ = true;
};

}  // namespace

void encode_json(const Node* node, const Type* type, std::string& out, bool indent) {
  if (!type && node->field() && node->field()->shape == Shape::single) type = node->field()->type;
  Encoder(out, indent).value(node, type);
}

void encode_json(const Document& document, std::string& out, bool indent) {
  encode_json(document.root(), document.type(), out, indent);
}

std::string to_json(const Document& document) {
  std::string out;
  encode_json(document, out);
  return out;
}

}  // namespace dure::schema
