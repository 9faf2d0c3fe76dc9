#include "base/text.h"
#include "base/time.h"
#include "schema/json.h"
#include "schema/proto.h"
#include "schema/proto_wire.h"
#include "schema/rows.h"
#include "schema/values.h"

namespace dure::schema {

namespace {

using namespace wire_format;

constexpr std::string_view kMagic{"k8s\0", 4};

class Decoder {
 public:
  explicit Decoder(Document& document) : document_(document) {}

  const std::string& error() const { return error_; }

  bool object(Node* node, std::string_view bytes, const Type& type, int depth) {
    if (node->kind() != Kind::object) document_.make_object(node);
    if (!rows(node, bytes, type, type.fields.data(), depth)) return false;
    finish(node);
    return true;
  }

 private:
  bool fail(std::string_view what) {
    if (error_.empty()) error_ = "proto: " + std::string(what);
    return false;
  }

  // Fields came by number; members stand in row order, maps by key. Lists and maps whose members
  // repeat are one node each.
  void finish(Node* node) {
    bool sorted = true;
    const Node* last = nullptr;
    for (const Node* child = node->first(); child; last = child, child = child->next())
      if (last && child->field() && last->field() && last->field()->index > child->field()->index) sorted = false;
    if (!sorted) document_.sort_members(node);
    for (Node* child = node->first(); child; child = child->next()) {
      const Field* field = child->field();
      if (field && field->shape == Shape::map && child->kind() == Kind::object) sort_map(child);
    }
  }

  void sort_map(Node* map) {
    const Node* last = nullptr;
    for (const Node* child = map->first(); child; last = child, child = child->next())
      if (last && last->key() >= child->key()) {
        document_.sort_members(map);
        return;
      }
  }

  bool rows(Node* node, std::string_view bytes, const Type& type, const Field* fields, int depth) {
    if (depth >= kDepthMax) return fail("exceeded max depth");
    Reader reader(bytes);
    while (!reader.done()) {
      uint32_t number;
      Wire kind;
      if (!reader.read_tag(number, kind)) return fail("unexpected EOF");
      const int16_t place = number <= type.by_number.size() ? type.by_number[number - 1] : Type::none;
      if (place == Type::none) {
        if (!reader.skip(kind)) return fail("unexpected EOF");
        continue;
      }
      if (place < 0) {
        const Field& in_line = type.inlines[static_cast<size_t>(~place)];
        std::string_view inner;
        if (kind != delimited || !reader.read_delimited(inner)) return fail("wrong wireType");
        if (!rows(node, inner, *in_line.type, fields + in_line.index, depth + 1)) return false;
        continue;
      }
      if (!row(node, fields[place], reader, kind, depth)) return false;
    }
    return true;
  }

  Node* member(Node* node, const Field& field) {
    if (Node* last = node->last(); last && last->field() == &field) return last;
    for (Node* child = node->first(); child; child = child->next())
      if (child->field() == &field) return child;
    return document_.append_member(node, field.name, &field);
  }

  bool row(Node* node, const Field& field, Reader& reader, Wire kind, int depth) {
    if (field.shape == Shape::single) {
      Node* const before = node->last();
      Node* child = member(node, field);
      bool keep = true;
      if (!value(child, field, reader, kind, depth, keep)) return false;
      if (!keep) {
        if (child == node->last() && before != child)
          document_.drop_last(node, before);
        else
          document_.erase(node, child);
      }
      return true;
    }
    Node* container = member(node, field);
    if (container->is_null())
      field.shape == Shape::list ? document_.make_list(container) : document_.make_object(container);
    if (field.shape == Shape::map) return entry(container, *field.item, reader, kind, depth);
    if (field.wrapped) {
      std::string_view inner;
      return kind == delimited && reader.read_delimited(inner) ? items(container, *field.item, inner, depth)
                                                               : fail("wrong wireType");
    }
    if (kind == delimited && is_packable(field.item->value)) {
      std::string_view packed;
      if (!reader.read_delimited(packed)) return fail("unexpected EOF");
      Reader each(packed);
      const auto item_kind = field.item->value == Value::float64   ? fixed64
                             : field.item->value == Value::float32 ? fixed32
                                                                   : varint;
      while (!each.done())
        if (!element(container, *field.item, each, item_kind, depth)) return false;
      return true;
    }
    return element(container, *field.item, reader, kind, depth);
  }

  static bool is_packable(Value value) {
    return value == Value::boolean || value == Value::int32 || value == Value::int64 || value == Value::uint32 ||
           value == Value::uint64 || value == Value::float64 || value == Value::float32;
  }

  bool element(Node* list, const Field& item, Reader& reader, Wire kind, int depth) {
    bool keep = true;
    Node* child = document_.append_member(list, {}, &item);
    return value(child, item, reader, kind, depth, keep);
  }

  // A message {repeated items = 1}.
  bool items(Node* list, const Field& item, std::string_view bytes, int depth) {
    if (list->is_null()) document_.make_list(list);
    Reader reader(bytes);
    while (!reader.done()) {
      uint32_t number;
      Wire kind;
      if (!reader.read_tag(number, kind)) return fail("unexpected EOF");
      if (number != 1) {
        if (!reader.skip(kind)) return fail("unexpected EOF");
        continue;
      }
      if (!element(list, item, reader, kind, depth)) return false;
    }
    return true;
  }

  bool entry(Node* map, const Field& item, Reader& reader, Wire kind, int depth) {
    std::string_view bytes, key;
    if (kind != delimited || !reader.read_delimited(bytes)) return fail("wrong wireType");
    Node* child = document_.append_member(map, {}, &item);
    Reader inner(bytes);
    while (!inner.done()) {
      uint32_t number;
      Wire inner_kind;
      bool keep = true;
      if (!inner.read_tag(number, inner_kind)) return fail("unexpected EOF");
      if (number == 1 && inner_kind == delimited) {
        if (!inner.read_delimited(key)) return fail("unexpected EOF");
      } else if (number == 2 && item.shape == Shape::list) {
        std::string_view list;
        if (inner_kind != delimited || !inner.read_delimited(list)) return fail("wrong wireType");
        if (!items(child, *item.item, list, depth)) return false;
      } else if (number == 2) {
        if (!value(child, item, inner, inner_kind, depth, keep)) return false;
      } else if (!inner.skip(inner_kind)) {
        return fail("unexpected EOF");
      }
    }
    document_.rename(child, text(key));
    if (child->is_null()) set_zero(child, item);
    return true;
  }

  void set_zero(Node* node, const Field& item) {
    switch (item.value) {
      case Value::string:
        document_.set_borrowed(node, {});
        return;
      case Value::boolean:
        document_.set(node, false);
        return;
      case Value::quantity:
        document_.set_borrowed(node, "0");
        return;
      case Value::message:
        document_.make_object(node);
        return;
      case Value::int32:
      case Value::int64:
      case Value::uint32:
      case Value::uint64:
        document_.set(node, int64_t{0});
        return;
      default:
        return;
    }
  }

  bool value(Node* node, const Field& field, Reader& reader, Wire kind, int depth, bool& keep) {
    uint64_t number;
    switch (field.value) {
      case Value::boolean:
        if (kind != varint || !reader.read_varint(number)) return fail("wrong wireType");
        document_.set(node, number != 0);
        keep = field.pointer || number != 0;
        return true;
      case Value::int32:
      case Value::int64:
      case Value::uint32:
      case Value::uint64: {
        if (kind != varint || !reader.read_varint(number)) return fail("wrong wireType");
        auto integer = static_cast<int64_t>(number);
        if (field.value == Value::int32) integer = static_cast<int32_t>(number);
        if (field.value == Value::uint32) integer = static_cast<uint32_t>(number);
        document_.set(node, integer);
        keep = field.pointer || integer != 0;
        return true;
      }
      case Value::float64: {
        if (kind != fixed64 || !reader.read_fixed64(number)) return fail("wrong wireType");
        double v;
        std::memcpy(&v, &number, 8);
        document_.set(node,
                      v == v && v - v == 0 ? v + 0.0 : 0.0);  // JSON has no NaN and no infinity
        keep = field.pointer || v != 0;
        return true;
      }
      case Value::float32: {
        uint32_t bits;
        if (kind != fixed32 || !reader.read_fixed32(bits)) return fail("wrong wireType");
        float v;
        std::memcpy(&v, &bits, 4);
        document_.set(node, v == v && v - v == 0 ? static_cast<double>(v) + 0.0 : 0.0);
        keep = field.pointer || v != 0;
        return true;
      }
      default:
        break;
    }
    std::string_view bytes;
    if (kind != delimited || !reader.read_delimited(bytes)) return fail("wrong wireType");
    if (field.value == Value::string) {
      document_.set_borrowed(node, text(bytes));
      keep = field.pointer || !bytes.empty();
      return true;
    }
    if (field.value == Value::bytes) {
      document_.set(node, std::string_view(base64_encode(bytes)));
      keep = field.pointer || !bytes.empty();
      return true;
    }
    return nested(node, field, bytes, depth + 1, keep);
  }

  std::string_view text(std::string_view bytes) {
    const std::string_view good = repair_utf8(bytes, scratch_);
    return good.data() == bytes.data() ? bytes : document_.intern(good);
  }

  bool nested(Node* node, const Field& field, std::string_view bytes, int depth, bool& keep) {
    switch (field.value) {
      case Value::message:
        if (!object(node, bytes, *field.type, depth)) return false;
        keep = field.pointer || node->size() > 0;
        return true;
      case Value::quantity:
        return quantity(node, bytes);
      case Value::time:
      case Value::micro_time:
        return time(node, field, bytes, keep);
      case Value::duration:
        return duration(node, field, bytes, keep);
      case Value::int_or_string:
        return int_or_string(node, field, bytes, keep);
      case Value::any:
      case Value::raw_extension:
      case Value::fields_v1:
        return raw(node, bytes, depth, keep);
      default:
        return alternative(node, field, bytes, depth, keep);
    }
  }

  // Calls each(number, kind, reader) for the fields of a small message.
  template <class Each>
  bool fields_of(std::string_view bytes, Each each) {
    Reader reader(bytes);
    while (!reader.done()) {
      uint32_t number;
      Wire kind;
      if (!reader.read_tag(number, kind) || !each(number, kind, reader)) return fail("unexpected EOF");
    }
    return true;
  }

  bool quantity(Node* node, std::string_view bytes) {
    std::string_view text = "0";
    const bool good = fields_of(bytes, [&](uint32_t number, Wire kind, Reader& reader) {
      return number == 1 && kind == delimited ? reader.read_delimited(text) : reader.skip(kind);
    });
    if (!good) return false;
    const auto canonical = canonical_quantity(text, scratch_);
    if (!canonical) return fail(scratch_);
    document_.set_borrowed(node, canonical->data() == text.data() ? text : document_.intern(*canonical));
    return true;
  }

  bool time(Node* node, const Field& field, std::string_view bytes, bool& keep) {
    uint64_t seconds = 0, nanos = 0;
    const bool good = fields_of(bytes, [&](uint32_t number, Wire kind, Reader& reader) {
      if (number > 2 || kind != varint) return reader.skip(kind);
      return reader.read_varint(number == 1 ? seconds : nanos);
    });
    if (!good) return false;
    keep = !bytes.empty();
    const auto whole = static_cast<int64_t>(seconds);
    const bool micro = field.value == Value::micro_time;
    if (!keep) return true;
    if (whole < kInstantFirst || whole > kInstantLast) return fail("time is out of range");
    const Instant instant{whole, static_cast<int32_t>(nanos % 1'000'000'000)};
    document_.set(node, std::string_view(format_instant(instant, micro)));
    keep = whole != kInstantFirst || (micro && instant.nanoseconds >= 1000);
    return true;
  }

  bool duration(Node* node, const Field& field, std::string_view bytes, bool& keep) {
    uint64_t nanos = 0;
    const bool good = fields_of(bytes, [&](uint32_t number, Wire kind, Reader& reader) {
      return number == 1 && kind == varint ? reader.read_varint(nanos) : reader.skip(kind);
    });
    if (!good) return false;
    document_.set(node, std::string_view(format_duration(Duration(static_cast<int64_t>(nanos)))));
    keep = field.pointer || nanos != 0;
    return true;
  }

  bool int_or_string(Node* node, const Field& field, std::string_view bytes, bool& keep) {
    uint64_t type = 0, integer = 0;
    std::string_view text;
    const bool good = fields_of(bytes, [&](uint32_t number, Wire kind, Reader& reader) {
      if (number == 1 && kind == varint) return reader.read_varint(type);
      if (number == 2 && kind == varint) return reader.read_varint(integer);
      if (number == 3 && kind == delimited) return reader.read_delimited(text);
      return reader.skip(kind);
    });
    if (!good) return false;
    if (type == 1) {
      document_.set_borrowed(node, this->text(text));
      return true;
    }
    document_.set(node, static_cast<int64_t>(static_cast<int32_t>(integer)));
    keep = field.pointer || static_cast<int32_t>(integer) != 0;
    return true;
  }

  bool raw(Node* node, std::string_view bytes, int depth, bool& keep) {
    std::string_view text;
    const bool good = fields_of(bytes, [&](uint32_t number, Wire kind, Reader& reader) {
      return number == 1 && kind == delimited ? reader.read_delimited(text) : reader.skip(kind);
    });
    if (!good) return false;
    keep = !text.empty();
    if (!keep) return true;
    if (auto status = decode_json_into(document_, node, text, depth); !status)
      return fail("raw object: " + status.error().message);
    keep = !node->is_null();
    return true;
  }

  bool alternative(Node* node, const Field& field, std::string_view bytes, int depth, bool& keep) {
    const uint32_t message_number = field.value == Value::message_or_boolean ? 2 : 1;
    uint64_t allows = 0;
    const bool good = fields_of(bytes, [&](uint32_t number, Wire kind, Reader& reader) {
      if (field.value == Value::message_or_boolean && number == 1 && kind == varint) return reader.read_varint(allows);
      std::string_view inner;
      if (number > 2 || kind != delimited) return reader.skip(kind);
      if (!reader.read_delimited(inner)) return false;
      if (number == message_number) return object(node, inner, *field.type, depth);
      if (node->kind() != Kind::list) document_.make_list(node);
      Node* item = document_.append_member(node, {}, nullptr);
      if (field.value == Value::message_or_strings) {
        document_.set_borrowed(item, text(inner));
        return true;
      }
      // The list's items carry no rows.
      Document typed(*field.type);
      if (!Decoder(typed).object(typed.root(), inner, *field.type, depth)) return false;
      std::string text;
      encode_json(typed, text);
      SharedBytes kept(std::move(text));
      document_.keep(kept);
      return decode_json_into(document_, item, kept.view(), depth).has_value();
    });
    if (!good) return false;
    if (field.value == Value::message_or_boolean && node->kind() != Kind::object) document_.set(node, allows != 0);
    keep = !node->is_null();
    return true;
  }

  Document& document_;
  std::string error_;
  std::string scratch_;
};

Status decode_root(Document& document, std::string_view bytes, const Type& type) {
  Decoder decoder(document);
  if (!decoder.object(document.root(), bytes, type, 0)) return fail(bad_request(decoder.error()));
  return {};
}

}  // namespace

Result<ProtoEnvelope> open_envelope(std::string_view bytes) {
  if (!bytes.starts_with(kMagic))
    return fail(bad_request("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"));
  ProtoEnvelope envelope;
  Reader reader(bytes.substr(kMagic.size()));
  const auto broken = [] { return fail(bad_request("proto: unexpected EOF")); };
  while (!reader.done()) {
    uint32_t number;
    Wire kind;
    std::string_view part;
    if (!reader.read_tag(number, kind)) return broken();
    if (number > 4 || kind != delimited) {
      if (!reader.skip(kind)) return broken();
      continue;
    }
    if (!reader.read_delimited(part)) return broken();
    if (number == 2) envelope.raw = part;
    if (number == 3) envelope.content_encoding = part;
    if (number == 4) envelope.content_type = part;
    if (number != 1) continue;
    Reader meta(part);
    while (!meta.done()) {
      std::string_view text;
      if (!meta.read_tag(number, kind)) return broken();
      if (number > 2 || kind != delimited) {
        if (!meta.skip(kind)) return broken();
        continue;
      }
      if (!meta.read_delimited(text)) return broken();
      (number == 1 ? envelope.api_version : envelope.kind) = text;
    }
  }
  return envelope;
}

Result<Document> decode_proto(SharedBytes input, const Type& type) {
  DURE_TRY(const ProtoEnvelope envelope, open_envelope(input.view()));
  Document document(&type, std::move(input));
  if (type.is_kind && !type.fields.empty() && type.fields[0].name == "kind") {
    const auto set = [&](size_t row, std::string_view text) {
      if (!text.empty())
        document.set_borrowed(document.append_member(document.root(), type.fields[row].name, &type.fields[row]), text);
    };
    set(0, envelope.kind);
    set(1, envelope.api_version);
  }
  DURE_CHECK(decode_root(document, envelope.raw, type));
  return document;
}

Result<Document> decode_message(SharedBytes input, const Type& type) {
  const std::string_view bytes = input.view();
  Document document(&type, std::move(input));
  DURE_CHECK(decode_root(document, bytes, type));
  return document;
}

}  // namespace dure::schema
