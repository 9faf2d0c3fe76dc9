#include <yaml.h>

#include <algorithm>
#include <charconv>

#include "schema/values.h"
#include "schema/yaml.h"
#include "schema/yaml_scalar.h"

namespace dure::schema {

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || static_cast<uint8_t>(c) >= 0x80; }

// The order of keys that Go's YAML writes: runs of digits by number, digits before letters only at
// the start of a run.
bool key_before(std::string_view a, std::string_view b) {
  bool digits = false;
  for (size_t i = 0; i < a.size() && i < b.size(); ++i) {
    if (a[i] == b[i]) {
      digits = is_digit(a[i]);
      continue;
    }
    const bool letter_a = is_letter(a[i]), letter_b = is_letter(b[i]);
    if (letter_a && letter_b) return static_cast<uint8_t>(a[i]) < static_cast<uint8_t>(b[i]);
    if (letter_a || letter_b) return digits ? letter_a : letter_b;
    uint64_t number_a = 0, number_b = 0;
    if (a[i] == '0' || b[i] == '0') {
      for (size_t j = i; j-- > 0 && is_digit(a[j]);)
        if (a[j] != '0') {
          number_a = number_b = 1;
          break;
        }
    }
    size_t end_a = i, end_b = i;
    for (; end_a < a.size() && is_digit(a[end_a]); ++end_a)
      number_a = number_a * 10 + static_cast<uint64_t>(a[end_a] - '0');
    for (; end_b < b.size() && is_digit(b[end_b]); ++end_b)
      number_b = number_b * 10 + static_cast<uint64_t>(b[end_b] - '0');
    if (number_a != number_b) return number_a < number_b;
    if (end_a != end_b) return end_a < end_b;
    return static_cast<uint8_t>(a[i]) < static_cast<uint8_t>(b[i]);
  }
  return a.size() < b.size();
}

// 190:20:30 reads as a number in YAML 1.1 parsers other than Go's.
bool is_base_60(std::string_view text) {
  if (text.empty() || (text[0] != '+' && text[0] != '-' && !is_digit(text[0])) || text.find(':') == text.npos)
    return false;
  size_t i = text[0] == '+' || text[0] == '-' ? 1 : 0;
  if (i >= text.size() || !is_digit(text[i])) return false;
  while (i < text.size() && (is_digit(text[i]) || text[i] == '_')) ++i;
  bool any = false;
  while (i < text.size() && text[i] == ':') {
    size_t n = 0;
    for (++i; i < text.size() && n < 2 && is_digit(text[i]); ++i) ++n;
    if (n == 0) return false;
    any = true;
  }
  if (i < text.size() && text[i] == '.')
    for (++i; i < text.size() && (is_digit(text[i]) || text[i] == '_');) ++i;
  return any && i == text.size();
}

class Writer {
 public:
  explicit Writer(std::string& out) : out_(out) {
    yaml_emitter_initialize(&emitter_);
    yaml_emitter_set_output(
        &emitter_,
        [](void* self, unsigned char* bytes, size_t size) {
          static_cast<Writer*>(self)->out_.append(reinterpret_cast<const char*>(bytes), size);
          return 1;
        },
        this);
    yaml_emitter_set_unicode(&emitter_, 1);
    yaml_emitter_set_width(&emitter_, 80);
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  ~Writer() { yaml_emitter_delete(&emitter_); }

  void document(const Node* root) {
    yaml_event_t event;
    yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING);
    emit(event);
    yaml_document_start_event_initialize(&event, nullptr, nullptr, nullptr, 1);
    emit(event);
    value(root);
    yaml_document_end_event_initialize(&event, 1);
    emit(event);
    yaml_stream_end_event_initialize(&event);
    emit(event);
    yaml_emitter_flush(&emitter_);
  }

 private:
  void emit(yaml_event_t& event) { yaml_emitter_emit(&emitter_, &event); }

  void scalar(std::string_view text, yaml_scalar_style_t style) {
    yaml_event_t event;
    yaml_scalar_event_initialize(&event, nullptr, nullptr, reinterpret_cast<const yaml_char_t*>(text.data()),
                                 static_cast<int>(text.size()), 1, 1, style);
    emit(event);
  }

  void text(std::string_view text) {
    const bool reads_as_text =
        read_yaml_scalar(text).kind == YamlScalar::Kind::string && !is_yaml_timestamp(text) && !is_base_60(text);
    if (text.find('\n') != text.npos) return scalar(text, YAML_LITERAL_SCALAR_STYLE);
    scalar(text, reads_as_text ? YAML_PLAIN_SCALAR_STYLE : YAML_DOUBLE_QUOTED_SCALAR_STYLE);
  }

  void value(const Node* node) {
    std::string digits;
    switch (node->kind()) {
      case Kind::null:
        return scalar("null", YAML_PLAIN_SCALAR_STYLE);
      case Kind::boolean:
        return scalar(node->boolean() ? "true" : "false", YAML_PLAIN_SCALAR_STYLE);
      case Kind::integer:
        append_integer(digits, node->integer());
        return scalar(digits, YAML_PLAIN_SCALAR_STYLE);
      case Kind::number: {
        char buffer[64];
        const double v = node->number();
        const bool exponent = v != 0 && (v < 0 ? -v : v) >= 1e21;
        const auto end = exponent ? std::to_chars(buffer, buffer + sizeof buffer, v, std::chars_format::scientific).ptr
                                  : std::to_chars(buffer, buffer + sizeof buffer, v).ptr;
        return scalar({buffer, static_cast<size_t>(end - buffer)}, YAML_PLAIN_SCALAR_STYLE);
      }
      case Kind::string:
        return text(node->string());
      case Kind::list:
        return list(node);
      case Kind::object:
        return object(node);
    }
  }

  void list(const Node* node) {
    yaml_event_t event;
    yaml_sequence_start_event_initialize(&event, nullptr, nullptr, 1,
                                         node->size() ? YAML_BLOCK_SEQUENCE_STYLE : YAML_FLOW_SEQUENCE_STYLE);
    emit(event);
    for (const Node* child = node->first(); child; child = child->next()) value(child);
    yaml_sequence_end_event_initialize(&event);
    emit(event);
  }

  void object(const Node* node) {
    yaml_event_t event;
    yaml_mapping_start_event_initialize(&event, nullptr, nullptr, 1,
                                        node->size() ? YAML_BLOCK_MAPPING_STYLE : YAML_FLOW_MAPPING_STYLE);
    emit(event);
    std::vector<const Node*> members;
    for (const Node* child = node->first(); child; child = child->next()) members.push_back(child);
    std::stable_sort(members.begin(), members.end(),
                     [](const Node* a, const Node* b) { return key_before(a->key(), b->key()); });
    for (const Node* child : members) {
      text(child->key());
      value(child);
    }
    yaml_mapping_end_event_initialize(&event);
    emit(event);
  }

  yaml_emitter_t emitter_{};
  std::string& out_;
};

}  // namespace

void encode_yaml(const Document& document, std::string& out) {
  auto plain = decode_json(SharedBytes(to_json(document)));  // brings in what is always written
  if (plain) Writer(out).document(plain->root());
}

}  // namespace dure::schema
