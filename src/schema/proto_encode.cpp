#include "base/text.h"
#include "base/time.h"
#include "schema/json.h"
#include "schema/proto.h"
#include "schema/proto_wire.h"
#include "schema/rows.h"
#include "schema/values.h"
#include "schema/zero.h"

namespace dure::schema {

namespace {

using namespace wire_format;

constexpr std::string_view kMagic{"k8s\0", 4};
constexpr size_t kFewFields = 64;

class Encoder {
 public:
  explicit Encoder(std::string& out) : out_(out) {}

  // Members of `node` (may be null) that are rows fields[0 .. type.fields.size()) of an object
  // whose type may be a larger one.
  void message(const Node* node, const Type& type) {
    const Node* few[kFewFields] = {};
    std::vector<const Node*> many;
    if (type.fields.size() > kFewFields) many.resize(type.fields.size());
    const Node** members = many.empty() ? few : many.data();
    for (const Node* child = node ? node->first() : nullptr; child; child = child->next())
      if (const Field* field = child->field(); field && !child->is_null() && field->index < type.fields.size())
        members[field->index] = child;
    rows(type, type.fields.data(), members);
  }

 private:
  void rows(const Type& type, const Field* fields, const Node** members) {
    for (const int16_t place : type.wire_order) {
      if (place >= 0) {
        row(fields[place], members[place], type.proto3);
        continue;
      }
      const Field& in_line = type.inlines[static_cast<size_t>(~place)];
      Delimited frame(out_, in_line.number);
      rows(*in_line.type, fields + in_line.index, members + in_line.index);
      frame.close();
    }
  }

  void row(const Field& field, const Node* node, bool proto3) {
    if (field.shape == Shape::list) return node ? list(field, node, proto3) : void();
    if (field.shape == Shape::map) return node ? map(field, node, proto3) : void();
    if (!node) {
      if (!field.pointer && !proto3 && field.value != Value::bytes) value(field.number, field, nullptr, proto3);
      return;
    }
    if (proto3 && field.value != Value::message && is_zero_scalar(node)) return;
    value(field.number, field, node, proto3);
  }

  static bool packs(Value value) {
    return value == Value::boolean || value == Value::int32 || value == Value::int64 || value == Value::uint32 ||
           value == Value::uint64 || value == Value::float64 || value == Value::float32;
  }

  void list(const Field& field, const Node* node, bool proto3) {
    const Field& item = *field.item;
    if (field.wrapped) {
      Delimited frame(out_, field.number);
      for (const Node* child = node->first(); child; child = child->next()) value(1, item, child, proto3);
      frame.close();
    } else if (proto3 && packs(item.value) && node->size() > 0) {
      Delimited frame(out_, field.number);
      for (const Node* child = node->first(); child; child = child->next()) scalar(item, child);
      frame.close();
    } else {
      for (const Node* child = node->first(); child; child = child->next()) value(field.number, item, child, proto3);
    }
  }

  void map(const Field& field, const Node* node, bool proto3) {
    for (const Node* child = node->first(); child; child = child->next()) {
      Delimited entry(out_, field.number);
      put_text(out_, 1, child->key());
      if (field.item->shape == Shape::list) {  // map of lists: the value is a message {repeated items = 1}
        Delimited inner(out_, 2);
        for (const Node* item = child->first(); item; item = item->next()) value(1, *field.item->item, item, proto3);
        inner.close();
      } else if (!child->is_null() || field.item->value != Value::bytes) {
        value(2, *field.item, child, proto3);
      }
      entry.close();
    }
  }

  // A varint or a fixed number without its tag.
  void scalar(const Field& field, const Node* node) {
    switch (field.value) {
      case Value::boolean:
        out_ += node && node->boolean() ? '\1' : '\0';
        return;
      case Value::float64: {
        const double v = node ? node->number() : 0;
        char bytes[8];
        std::memcpy(bytes, &v, 8);
        out_.append(bytes, 8);
        return;
      }
      case Value::float32: {
        const auto v = static_cast<float>(node ? node->number() : 0);
        char bytes[4];
        std::memcpy(bytes, &v, 4);
        out_.append(bytes, 4);
        return;
      }
      default:
        put_varint(out_, static_cast<uint64_t>(node ? node->integer() : 0));
        return;
    }
  }

  void value(uint32_t number, const Field& field, const Node* node, bool proto3) {
    const std::string_view text = node ? node->string() : std::string_view{};
    switch (field.value) {
      case Value::string:
        return put_text(out_, number, text);
      case Value::boolean:
      case Value::int32:
      case Value::int64:
      case Value::uint32:
      case Value::uint64:
        put_tag(out_, number, varint);
        return scalar(field, node);
      case Value::float64:
        put_tag(out_, number, fixed64);
        return scalar(field, node);
      case Value::float32:
        put_tag(out_, number, fixed32);
        return scalar(field, node);
      case Value::bytes: {
        auto bytes = base64_decode(text);
        return put_text(out_, number, bytes ? *bytes : std::string());
      }
      default:
        break;
    }
    Delimited frame(out_, number);
    nested(field, node, text, proto3);
    frame.close();
  }

  // The inside of a message of a special type.
  void nested(const Field& field, const Node* node, std::string_view text, bool proto3) {
    const bool set = node && !node->is_null();
    switch (field.value) {
      case Value::message:
        return message(set ? node : nullptr, *field.type);
      case Value::quantity:
        return put_text(out_, 1, text.empty() ? "0" : text);
      case Value::time:
      case Value::micro_time:
        return time(text);
      case Value::duration: {
        put_tag(out_, 1, varint);
        const auto duration = parse_duration(text);
        return put_varint(out_, static_cast<uint64_t>(duration ? duration->count() : 0));
      }
      case Value::int_or_string:
        put_tag(out_, 1, varint);
        put_varint(out_, set && node->is_string() ? 1 : 0);
        put_tag(out_, 2, varint);
        put_varint(out_, static_cast<uint64_t>(set ? node->integer() : 0));
        return put_text(out_, 3, text);
      case Value::any:
      case Value::raw_extension:
      case Value::fields_v1:
        if (set) raw(node);
        return;
      case Value::message_or_list:
      case Value::message_or_strings:
      case Value::message_or_boolean:
        return alternative(field, node, proto3);
      default:
        return;
    }
  }

  void time(std::string_view text) {
    const auto instant = parse_instant(text);
    if (!instant || (instant->seconds == kInstantFirst && instant->nanoseconds == 0))
      return;  // the zero time has no content
    put_tag(out_, 1, varint);
    put_varint(out_, static_cast<uint64_t>(instant->seconds));
    put_tag(out_, 2, varint);
    put_varint(out_, static_cast<uint64_t>(instant->nanoseconds));
  }

  void raw(const Node* node) {
    std::string text;
    encode_json(node, nullptr, text);
    put_text(out_, 1, text);
  }

  void alternative(const Field& field, const Node* node, bool proto3) {
    const uint32_t message_number = field.value == Value::message_or_boolean ? 2 : 1;
    const bool object = node && node->kind() == Kind::object;
    if (field.value == Value::message_or_boolean) {
      put_tag(out_, 1, varint);
      // An object allows, as upstream's decoder sets it.
      out_ += object || (node && node->boolean()) ? '\1' : '\0';
    }
    if (object) {
      Delimited frame(out_, message_number);
      message(node, *field.type);
      frame.close();
    } else if (node && node->kind() == Kind::list) {
      for (const Node* child = node->first(); child; child = child->next()) {
        if (field.value == Value::message_or_strings) {
          put_text(out_, 2, child->string());
          continue;
        }
        // Items of such a list carry no rows; they are read again as what they are.
        Delimited frame(out_, 2);
        if (auto typed = retype(child, *field.type)) message(typed->root(), *field.type);
        frame.close();
      }
    }
  }

  std::string& out_;
};

}  // namespace

void encode_message(const Node* node, const Type& type, std::string& out) { Encoder(out).message(node, type); }

void encode_envelope(std::string_view api_version, std::string_view kind, std::string_view raw, std::string& out) {
  out += kMagic;
  Delimited type_meta(out, 1);
  put_text(out, 1, api_version);
  put_text(out, 2, kind);
  type_meta.close();
  put_text(out, 2, raw);
  put_text(out, 3, {});
  put_text(out, 4, {});
}

void encode_proto(const Document& document, std::string& out) {
  const Type& type = *document.type();
  const Node* root = document.root();
  std::string_view api_version, kind;
  if (type.find("apiVersion") == &type.fields[1]) {
    const Node* given = root->find("apiVersion");
    api_version = given ? given->string() : type.api_version;
    const Node* given_kind = root->find("kind");
    kind = given_kind ? given_kind->string() : type.name;
  }
  out += kMagic;
  Delimited type_meta(out, 1);
  put_text(out, 1, api_version);
  put_text(out, 2, kind);
  type_meta.close();
  Delimited raw(out, 2);
  encode_message(root, type, out);
  raw.close();
  put_text(out, 3, {});
  put_text(out, 4, {});
}

void encode_watch_event(std::string_view event_type, std::string_view encoded_object, std::string& out) {
  put_text(out, 1, event_type);
  Delimited object(out, 2);
  put_text(out, 1, encoded_object);
  object.close();
}

}  // namespace dure::schema
