// Rows: what is known about a message type and its fields, as tables.
//
// Built-in tables are constants that rowc compiles from `kinds/*.rows` (the language is described
// in schema/rowc/README.md); a CRD's are the same structs filled at run time
// (schema/type_builder.h). Everything is immutable once reachable and may be read by any number of
// threads; it lives as long as its schema. Codecs, defaults, validation, merges and OpenAPI are
// interpreters of these tables.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace dure::schema {

struct Type;
struct Hooks;  // schema/hooks.h

enum class Value : uint8_t {
  string,
  boolean,
  int32,
  int64,
  uint32,
  uint64,
  float64,
  float32,
  bytes,     // base64 text in JSON and in nodes
  any,       // any JSON value; in protobuf a message with raw JSON in field 1 (apiextensions JSON)
  quantity,  // string or number in JSON; canonical text in nodes
  int_or_string,
  time,  // RFC 3339, seconds, UTC
  micro_time,
  duration,       // Go's text: 1m30s
  raw_extension,  // an object of any type
  fields_v1,
  message,             // Field::type says which
  message_or_list,     // apiextensions JSONSchemaPropsOrArray
  message_or_boolean,  // ... OrBool
  message_or_strings,  // ... OrStringArray
};

enum class Shape : uint8_t { single, list, map };  // map: string keys
enum class ListKind : uint8_t { unspecified, atomic, set, map };

// Text rules a string can be held against (schema/validate.h has the messages).
enum class Format : uint8_t {
  none,
  dns1123_label,
  dns1123_subdomain,
  dns1035_label,
  qualified_name,  // label key: [prefix/]name
  label_value,
  labels,       // of a map: keys qualified names, values label values
  annotations,  // of a map: keys qualified names, at most 256 KiB in all
  env_name,
  port_name,  // IANA service name
  ip,
  cidr,
  absolute_path,
  config_key,     // of a map: keys of ConfigMap and Secret
  resource_name,  // of a map: keys of resource lists; values not negative
  finalizer,
  http_header,
  path_segment,
  file_mode,  // of a number: 0 to 0777
};

// What only some rows have.
struct Rules {
  std::string_view default_json;  // "TCP" for strings (bare), otherwise JSON: 30, true, {}, ["Persistent"]
  // Of the same object: "", "type=A|B" and "field" (looked at after plain defaults), "!field" (the
  // object as it came).
  std::string_view default_when;
  std::span<const std::string_view> list_keys;
  std::string_view merge_key;  // patchMergeKey
  std::span<const std::string_view> enum_values;
  std::string_view enum_name;  // "Protocol"
  std::string_view gate;
  std::string_view pattern;
  std::string_view says;  // the sentence when the rule is broken, where upstream has one of its own
  int64_t min = INT64_MIN, max = INT64_MAX;
  uint32_t min_length = 0, max_length = UINT32_MAX;  // characters, items or members
  Format format = Format::none;
  bool has_default = false;
};

struct Field {
  std::string_view name;        // in JSON
  const Type* type = nullptr;   // of messages
  const Field* item = nullptr;  // of lists and maps: one element, its shape may again be list; named ""
  const Rules* rules = nullptr;
  const char* doc = nullptr;    // one line, or null
  uint16_t number = 0;          // in protobuf; 0: not there. For a map or list item: 0
  uint16_t index = 0;           // place in Type::fields; of an inline row: index of its first flattened field
  Value value = Value::string;  // of the element when shape is list or map and it is not nested
  Shape shape = Shape::single;
  ListKind list_kind = ListKind::unspecified;
  bool required : 1 = false;
  bool omit_empty : 1 = false;
  bool omit_zero : 1 = false;
  bool pointer : 1 = false;
  bool always : 1 = false;  // written in JSON also when absent: {}, "", 0, null
  bool atomic : 1 = false;  // map or struct that apply replaces as a whole
  bool deprecated : 1 = false;
  bool immutable : 1 = false;
  bool union_member : 1 = false;
  bool discriminator : 1 = false;
  bool wrapped : 1 = false;  // in protobuf the list sits in a message {repeated items = 1}
  bool patch_merge : 1 = false;
  bool patch_replace : 1 = false;
  bool patch_retain_keys : 1 = false;
  bool internal : 1 = false;  // not part of the published API
  bool nonempty : 1 = false;  // absent or empty is "Required value"; `required` is only what OpenAPI says
  bool unique : 1 = false;    // list: no two items with the same keys (or the same value)

  bool is_message() const { return shape == Shape::single && type != nullptr; }
  bool has_format(Format f) const { return rules && rules->format == f; }
};

struct Type {
  std::string_view name;            // "PodSpec"
  std::string_view group, version;  // "apps", "v1"
  std::string_view package;         // protobuf package, and the start of OpenAPI names
  std::span<const Field> fields;    // JSON order; inline rows flattened; kind and apiVersion first when is_kind
  std::span<const Field> inlines;   // rows whose fields sit in this JSON object but in protobuf stay a message
  // Open hash of names: slot = name_hash(name) & (size - 1), linear probing; 0 empty, otherwise
  // index + 1.
  std::span<const uint16_t> by_name;
  std::span<const int16_t> by_number;         // protobuf number - 1 -> index, ~index into inlines, or none
  std::span<const int16_t> wire_order;        // the same values in the order of numbers
  std::span<const uint16_t> always;           // indexes of fields that JSON always writes
  std::span<const uint16_t> defaults;         // indexes of fields with a default
  std::span<const uint16_t> absent_defaults;  // ... of structs (no pointers) that get defaults even when absent
  const Hooks* hooks = nullptr;
  const char* doc = nullptr;
  bool is_kind = false;  // has kind and apiVersion
  bool atomic = false;
  bool is_union = false;
  bool deprecated = false;
  bool proto3 = false;        // plain protobuf (CRI): zero scalars are not written
  bool has_defaults = false;  // it or something below has a default or a default hook
  bool has_validation = false;
  std::string_view api_version = {};               // "apps/v1"; Status and options of meta say "v1"
  Format name_format = Format::dns1123_subdomain;  // of metadata.name of a kind
  enum class Scope : uint8_t { none, namespaced, cluster } scope = Scope::none;  // of a kind that is a resource

  static constexpr int16_t none = INT16_MIN;
  const Field* find(std::string_view field_name) const;
  const Field* find_number(uint32_t number) const {  // not for inline rows
    if (number == 0 || number > by_number.size() || by_number[number - 1] < 0) return nullptr;
    return &fields[static_cast<size_t>(by_number[number - 1])];
  }
};

// Shared with rowc: the hash behind Type::by_name.
inline uint32_t name_hash(std::string_view name) {
  uint64_t head = 0, tail = 0;
  const size_t n = name.size();
  if (n >= 8) {
    std::memcpy(&head, name.data(), 8);
    std::memcpy(&tail, name.data() + n - 8, 8);
  } else if (n >= 4) {
    uint32_t a, b;
    std::memcpy(&a, name.data(), 4);
    std::memcpy(&b, name.data() + n - 4, 4);
    head = a, tail = b;
  } else {
    for (const char c : name) head = head << 8 | static_cast<uint8_t>(c);
  }
  uint64_t h = (head ^ (n * 0x9E3779B97F4A7C15ull)) * 0xBF58476D1CE4E5B9ull;
  h ^= (tail + (h >> 29)) * 0x94D049BB133111EBull;
  return static_cast<uint32_t>(h >> 33);
}

inline const Field* Type::find(std::string_view field_name) const {
  if (by_name.empty()) return nullptr;
  const uint32_t mask = static_cast<uint32_t>(by_name.size()) - 1;
  for (uint32_t slot = name_hash(field_name) & mask;; slot = (slot + 1) & mask) {
    const uint16_t entry = by_name[slot];
    if (entry == 0) return nullptr;
    const Field& field = fields[entry - 1u];
    if (field.name == field_name) return &field;
  }
}

}  // namespace dure::schema
