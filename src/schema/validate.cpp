#include "schema/validate.h"

#include <algorithm>

#include "schema/hooks.h"
#include "schema/json.h"
#include "schema/quantity.h"
#include "schema/rows.h"
#include "schema/text_rules.h"
#include "schema/values.h"

namespace dure::schema {

namespace {

constexpr int64_t kAnnotationBytesMax = 256 * 1024;
constexpr std::string_view kImmutable = "field is immutable";

class Walk {
 public:
  explicit Walk(std::vector<Cause>& causes) : causes_(causes) {}

  // `node` may be null: an absent struct whose rows may still be missed.
  void object(const Node* node, const Node* old, const Type& type, const Path& path, bool is_root) {
    const Node* child = node ? node->first() : nullptr;
    for (const Field& field : type.fields) {
      while (child && child->field() && child->field()->index < field.index) child = child->next();
      const Node* value = child && child->field() == &field && !child->is_null() ? child : nullptr;
      const Node* old_value = old ? old->find(field.name) : nullptr;
      if (value || field.nonempty || has_least(field) || (field.is_message() && !field.pointer) ||
          (old_value && field.immutable))
        member(value, old_value, old != nullptr, field, path.child(field.name));
      if (is_root && type.is_kind && field.name == "metadata")
        validate_metadata(value, old_value, type, path.child("metadata"), causes_);
    }
    if (node && type.hooks && type.hooks->validate) type.hooks->validate(node, old, path, causes_);
  }

 private:
  void add(Cause cause) { causes_.push_back(std::move(cause)); }

  // A number that is always there, zero when nobody set it, and must be larger.
  static bool has_least(const Field& field) {
    return field.always && !field.pointer && field.rules && field.rules->min > 0;
  }

  static bool is_empty(const Node* node, const Field& field) {
    if (!node) return true;
    if (node->is_string()) return node->string().empty();
    if (field.shape != Shape::single) return node->size() == 0;
    return false;
  }

  void member(const Node* value, const Node* old, bool updating, const Field& field, const Path& path) {
    const std::string_view says = field.rules ? field.rules->says : std::string_view();
    if (field.nonempty && is_empty(value, field)) {
      add(required(path, field.immutable ? std::string_view() : says));
      return;
    }
    if (field.immutable && updating && !equal(value, old)) add(invalid(path, value, says.empty() ? kImmutable : says));
    if (!value && has_least(field)) range(0, *field.rules, path);
    if (!value) {
      if (field.is_message() && field.value == Value::message && !field.pointer && field.type->has_validation)
        object(nullptr, nullptr, *field.type, path, false);
      return;
    }
    switch (field.shape) {
      case Shape::single:
        single(value, old, field, path);
        break;
      case Shape::list:
        list(value, field, path);
        break;
      case Shape::map:
        map(value, field, path);
        break;
    }
  }

  void single(const Node* value, const Node* old, const Field& field, const Path& path) {
    if (field.type) {
      if (field.type->has_validation && value->kind() == Kind::object) object(value, old, *field.type, path, false);
      return;
    }
    if (const Rules* rules = field.rules) check(value, *rules, path);
  }

  void check(const Node* value, const Rules& rules, const Path& path) {
    if (value->kind() == Kind::integer) return range(value->integer(), rules, path);
    if (!value->is_string()) return;
    const std::string_view text = value->string();
    if (!rules.enum_values.empty()) {
      if (std::find(rules.enum_values.begin(), rules.enum_values.end(), text) == rules.enum_values.end())
        add(not_supported(path, text, rules.enum_values));
      return;
    }
    if (text.size() > rules.max_length) add(too_long(path, rules.max_length));
    if (rules.format != Format::none && !text.empty())
      if (const std::string wrong = check_format(rules.format, text); !wrong.empty())
        add(invalid(path, text, rules.says.empty() ? std::string_view(wrong) : rules.says));
  }

  void range(int64_t value, const Rules& rules, const Path& path) {
    if (rules.format == Format::file_mode && (value < 0 || value > 0777))
      add(invalid(path, value, "must be a number between 0 and 0777 (octal), both inclusive"));
    if (value >= rules.min && value <= rules.max) return;
    if (!rules.says.empty()) return add(invalid(path, value, rules.says));
    const bool low = rules.min != INT64_MIN, high = rules.max != INT64_MAX;
    std::string wrong;
    if (low && high)
      wrong = "must be between " + std::to_string(rules.min) + " and " + std::to_string(rules.max) + ", inclusive";
    else if (low)
      wrong =
          rules.min == 1 ? "must be greater than 0" : "must be greater than or equal to " + std::to_string(rules.min);
    else
      wrong = "must be less than or equal to " + std::to_string(rules.max);
    add(invalid(path, value, wrong));
  }

  void list(const Node* value, const Field& field, const Path& path) {
    if (field.rules && value->size() > field.rules->max_length)
      add(too_many(path, value->size(), field.rules->max_length));
    const Field& item = *field.item;
    const bool deep = item.type ? item.type->has_validation : item.rules != nullptr;
    if (deep) {
      uint32_t index = 0;
      for (const Node* child = value->first(); child; child = child->next())
        single(child, nullptr, item, path.index(index++));
    }
    if (field.unique) unique(value, field, path);
  }

  static bool same_keys(const Node* a, const Node* b, const Field& field) {
    if (!field.rules || field.rules->list_keys.empty()) return equal(a, b);
    for (const std::string_view key : field.rules->list_keys) {
      const Node *x = a->find(key), *y = b->find(key);
      if (!x || !y || !equal(x, y)) return false;
    }
    return true;
  }

  // Lists are short; one with thousands of items is compared through their sorted texts.
  void unique(const Node* value, const Field& field, const Path& path) {
    constexpr uint32_t kFew = 64;
    if (value->size() > kFew) return unique_many(value, field, path);
    uint32_t index = 0;
    for (const Node* child = value->first(); child; child = child->next(), ++index) {
      for (const Node* earlier = value->first(); earlier != child; earlier = earlier->next()) {
        if (!same_keys(earlier, child, field)) continue;
        add(duplicate_item(child, field, path.index(index)));
        break;
      }
    }
  }

  void unique_many(const Node* value, const Field& field, const Path& path) {
    std::vector<std::pair<std::string, uint32_t>> texts;
    std::vector<const Node*> nodes;
    for (const Node* child = value->first(); child; child = child->next()) {
      texts.emplace_back(key_text(child, field), static_cast<uint32_t>(nodes.size()));
      nodes.push_back(child);
    }
    std::sort(texts.begin(), texts.end());
    std::vector<uint32_t> found;
    for (size_t i = 1; i < texts.size(); ++i)
      if (texts[i].first == texts[i - 1].first && !texts[i].first.empty()) found.push_back(texts[i].second);
    std::sort(found.begin(), found.end());
    for (const uint32_t index : found) add(duplicate_item(nodes[index], field, path.index(index)));
  }

  static std::string key_text(const Node* item, const Field& field) {
    std::string out;
    if (!field.rules || field.rules->list_keys.empty()) {
      encode_json(item, nullptr, out);
      return out;
    }
    for (const std::string_view key : field.rules->list_keys) {
      const Node* node = item->find(key);
      if (!node) return {};
      encode_json(node, nullptr, out);
      out += ',';
    }
    return out;
  }

  static Cause duplicate_item(const Node* item, const Field& field, const Path& path) {
    if (!field.rules || field.rules->list_keys.empty()) return duplicate(path, item);
    const auto& keys = field.rules->list_keys;
    if (keys.size() == 1) return duplicate(path.child(keys[0]), item->find(keys[0]));
    Document picked;
    for (const std::string_view key : keys)
      if (const Node* node = item->find(key)) picked.copy(picked.member(picked.root(), key), node);
    return duplicate(path, picked.root());
  }

  void map(const Node* value, const Field& field, const Path& path) {
    const Field& item = *field.item;
    const Format format = field.rules ? field.rules->format : Format::none;
    int64_t bytes = 0;
    for (const Node* child = value->first(); child; child = child->next()) {
      const std::string_view key = child->key();
      switch (format) {
        case Format::labels:
          if (const std::string wrong = check_qualified_name(key); !wrong.empty()) add(invalid(path, key, wrong));
          if (const std::string wrong = check_label_value(child->string()); !wrong.empty())
            add(invalid(path, child->string(), wrong));
          break;
        case Format::annotations:
          bytes += static_cast<int64_t>(key.size() + child->string().size());
          if (const std::string wrong = check_qualified_name(lowered(key)); !wrong.empty())
            add(invalid(path, key, wrong));
          break;
        case Format::config_key:
          if (const std::string wrong = check_config_key(key); !wrong.empty()) add(invalid(path.key(key), key, wrong));
          break;
        case Format::resource_name:
          if (const std::string wrong = check_qualified_name(key); !wrong.empty())
            add(invalid(path.key(key), key, wrong));
          if (child->string().starts_with('-'))
            add(invalid(path.key(key), child->string(), "must be greater than or equal to 0"));
          break;
        default:
          break;
      }
      if (item.type && item.type->has_validation) single(child, nullptr, item, path.key(key));
    }
    if (bytes > kAnnotationBytesMax) add(too_long(path, kAnnotationBytesMax));
  }

  static std::string lowered(std::string_view text) {
    std::string out(text);
    for (char& c : out)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return out;
  }

  std::vector<Cause>& causes_;
};

std::string quote(std::string_view text) {
  std::string out = "\"";
  constexpr char kHex[] = "0123456789abcdef";
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (static_cast<uint8_t>(c) < 0x20 || c == 0x7F) {
          out += "\\x";
          out += kHex[static_cast<uint8_t>(c) >> 4];
          out += kHex[static_cast<uint8_t>(c) & 15];
        } else {
          out += c;
        }
    }
  }
  return out + "\"";
}

std::string shown(const Node* value) {
  if (!value) return "null";
  if (value->is_string()) return quote(value->string());
  std::string out;
  encode_json(value, nullptr, out);
  return out;
}

Cause cause(std::string_view reason, std::string message, const Path& path) {
  return {std::string(reason), std::move(message), path.text()};
}

}  // namespace

std::string Path::text() const {
  if (!up_) return {};
  std::string out = up_->text();
  switch (step_) {
    case Step::root:
      break;
    case Step::member:
      if (!out.empty()) out += '.';
      out += name_;
      break;
    case Step::index:
      out += "[" + std::to_string(index_) + "]";
      break;
    case Step::key:
      out += "[" + std::string(name_) + "]";
      break;
  }
  return out;
}

Cause required(const Path& path, std::string_view detail) {
  return cause("FieldValueRequired", detail.empty() ? "Required value" : "Required value: " + std::string(detail),
               path);
}
Cause invalid(const Path& path, std::string_view value, std::string_view detail) {
  return cause("FieldValueInvalid", "Invalid value: " + quote(value) + ": " + std::string(detail), path);
}
Cause invalid(const Path& path, int64_t value, std::string_view detail) {
  return cause("FieldValueInvalid", "Invalid value: " + std::to_string(value) + ": " + std::string(detail), path);
}
Cause invalid(const Path& path, const Node* value, std::string_view detail) {
  return cause("FieldValueInvalid", "Invalid value: " + shown(value) + ": " + std::string(detail), path);
}
Cause not_supported(const Path& path, std::string_view value, std::span<const std::string_view> supported) {
  std::vector<std::string> sorted;
  for (const std::string_view text : supported) sorted.push_back(quote(text));
  std::sort(sorted.begin(), sorted.end());
  std::string all;
  for (const std::string& text : sorted) all += (all.empty() ? "" : ", ") + text;
  return cause("FieldValueNotSupported", "Unsupported value: " + quote(value) + ": supported values: " + all, path);
}
Cause duplicate(const Path& path, const Node* value) {
  return cause("FieldValueDuplicate", "Duplicate value: " + shown(value), path);
}
Cause duplicate(const Path& path, std::string_view value) {
  return cause("FieldValueDuplicate", "Duplicate value: " + quote(value), path);
}
Cause forbidden(const Path& path, std::string_view detail) {
  return cause("FieldValueForbidden", "Forbidden: " + std::string(detail), path);
}
Cause too_long(const Path& path, int64_t bytes_max) {
  return cause("FieldValueTooLong", "Too long: may not be more than " + std::to_string(bytes_max) + " bytes", path);
}
Cause too_many(const Path& path, int64_t actual, int64_t most) {
  return cause("FieldValueTooMany",
               "Too many: " + std::to_string(actual) + ": must have at most " + std::to_string(most) +
                   (most == 1 ? " item" : " items"),
               path);
}
Cause reference_not_found(const Path& path, std::string_view value) {
  return cause("FieldValueNotFound", "Not found: " + quote(value), path);
}

std::string cause_text(const Cause& cause) {
  return cause.field.empty() ? cause.message : cause.field + ": " + cause.message;
}

Error invalid_object(const Type& kind, std::string_view name, std::vector<Cause> causes) {
  std::vector<std::string> texts;
  for (const Cause& c : causes) {
    std::string text = cause_text(c);
    if (std::find(texts.begin(), texts.end(), text) == texts.end()) texts.push_back(std::move(text));
  }
  std::string all;
  for (const std::string& text : texts) all += (all.empty() ? "" : ", ") + text;
  if (texts.size() > 1) all = "[" + all + "]";
  Error error{.code = 422, .reason = "Invalid"};
  error.message = std::string(kind.name) + (kind.group.empty() ? "" : "." + std::string(kind.group)) + " " +
                  quote(name) + " is invalid: " + all;
  error.causes = std::move(causes);
  error.details_group = kind.group;
  error.details_kind = kind.name;
  error.details_name = name;
  return error;
}

void validate(const Node* node, const Node* old, const Type& type, const Path& path, std::vector<Cause>& causes) {
  Walk(causes).object(node, old, type, path, false);
}

std::vector<Cause> validate(const Document& object, const Document* old) {
  std::vector<Cause> causes;
  if (const Type* type = object.type())
    Walk(causes).object(object.root(), old ? old->root() : nullptr, *type, Path(), true);
  return causes;
}

}  // namespace dure::schema
