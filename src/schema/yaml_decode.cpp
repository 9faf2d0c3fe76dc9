#include <yaml.h>

#include <map>

#include "base/text.h"
#include "schema/values.h"
#include "schema/yaml.h"
#include "schema/yaml_scalar.h"

namespace dure::schema {

namespace {

constexpr size_t kNodesMax = 2'000'000;
constexpr size_t kAliasFloor = 100'000;  // nodes that aliases may add whatever the size of the text
constexpr size_t kAliasRatio = 10;       // ... and per node that is written out

class Event {
 public:
  Event() = default;
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event() { yaml_event_delete(&event_); }
  bool next(yaml_parser_t& parser) {
    yaml_event_delete(&event_);
    return yaml_parser_parse(&parser, &event_) != 0;
  }
  const yaml_event_t& operator*() const { return event_; }
  const yaml_event_t* operator->() const { return &event_; }

 private:
  yaml_event_t event_{};
};

// Builds an untyped tree out of the parser's events.
class Builder {
 public:
  explicit Builder(std::string_view text) {
    yaml_parser_initialize(&parser_);
    yaml_parser_set_input_string(&parser_, reinterpret_cast<const unsigned char*>(text.data()), text.size());
  }
  Builder(const Builder&) = delete;
  Builder& operator=(const Builder&) = delete;
  ~Builder() { yaml_parser_delete(&parser_); }

  Result<std::string> to_json() {
    Node* root = nullptr;
    if (!document(root)) return fail(bad_request("error converting YAML to JSON: yaml: " + error_));
    if (!root) return std::string("null");
    std::string out;
    encode_json(root, nullptr, out);
    return out;
  }

 private:
  bool broken(const std::string& what) {
    if (error_.empty()) error_ = what;
    return false;
  }

  bool next() {
    if (event_.next(parser_)) return true;
    if (parser_.error == YAML_MEMORY_ERROR) return broken("out of memory");
    const size_t line =
        parser_.problem_mark.line + (parser_.error == YAML_SCANNER_ERROR || parser_.error == YAML_PARSER_ERROR ? 1 : 0);
    return broken((line > 0 ? "line " + std::to_string(line) + ": " : "") +
                  (parser_.problem ? parser_.problem : "unreadable"));
  }

  bool document(Node*& root) {
    do {
      if (!next()) return false;
      if (event_->type == YAML_STREAM_END_EVENT) return true;
    } while (event_->type == YAML_STREAM_START_EVENT || event_->type == YAML_DOCUMENT_START_EVENT);
    root = tree_.append(holder());
    bool merge = false;
    return value(root, 0, merge);
  }

  Node* holder() {
    Node* list = tree_.member(tree_.root(), "documents");
    if (list->is_null()) tree_.make_list(list);
    return list;
  }

  static std::string_view text_of(const yaml_char_t* text, size_t size) {
    return {reinterpret_cast<const char*>(text), size};
  }
  static std::string_view text_of(const yaml_char_t* text) {
    return text ? std::string_view(reinterpret_cast<const char*>(text)) : std::string_view();
  }

  void anchor(const yaml_char_t* name, const Node* node) {
    if (name) anchors_[std::string(text_of(name))] = node;
  }

  // Reads the value whose first event is the current one.
  bool value(Node* node, int depth, bool& is_merge) {
    if (depth >= kDepthMax) return broken("exceeded max depth");
    if (++nodes_ > kNodesMax) return broken("document is too large");
    switch (event_->type) {
      case YAML_ALIAS_EVENT:
        return alias(node);
      case YAML_SCALAR_EVENT:
        return scalar(node, is_merge);
      case YAML_SEQUENCE_START_EVENT: {
        const std::string name(text_of(event_->data.sequence_start.anchor));
        tree_.make_list(node);
        while (true) {
          if (!next()) return false;
          if (event_->type == YAML_SEQUENCE_END_EVENT) break;
          bool merge = false;
          if (!value(tree_.append_member(node, {}, nullptr), depth + 1, merge)) return false;
        }
        if (!name.empty()) anchors_[name] = node;
        return true;
      }
      case YAML_MAPPING_START_EVENT:
        return mapping(node, depth);
      default:
        return broken("unexpected event");
    }
  }

  static size_t count(const Node* node) {
    size_t total = 1;
    for (const Node* child = node->first(); child; child = child->next()) total += count(child);
    return total;
  }

  bool alias(Node* node) {
    const std::string name(text_of(event_->data.alias.anchor));
    const auto found = anchors_.find(name);
    if (found == anchors_.end()) return broken("unknown anchor '" + name + "' referenced");
    aliased_ += count(found->second);
    if (aliased_ > kAliasFloor && aliased_ > kAliasRatio * nodes_)
      return broken("document contains excessive aliasing");
    tree_.copy(node, found->second);
    return true;
  }

  bool scalar(Node* node, bool& is_merge) {
    const auto& data = event_->data.scalar;
    const std::string_view text = text_of(data.value, data.length);
    const std::string_view tag = text_of(data.tag);
    const bool plain = data.style == YAML_PLAIN_SCALAR_STYLE;
    if (tag == "tag:yaml.org,2002:binary") {
      std::string compact;
      for (const char c : text)
        if (c != '\n' && c != '\r' && c != ' ') compact += c;
      auto bytes = base64_decode(compact);
      if (!bytes) return broken("!!binary value contains invalid base64 data");
      tree_.set(node, std::string_view(*bytes));
    } else if (tag == "tag:yaml.org,2002:str" || tag == "!" || (!plain && tag.empty())) {
      tree_.set(node, text);
    } else if (!plain_scalar(node, text, is_merge)) {
      return false;
    }
    anchor(data.anchor, node);
    return true;
  }

  bool plain_scalar(Node* node, std::string_view text, bool& is_merge) {
    const YamlScalar scalar = read_yaml_scalar(text);
    switch (scalar.kind) {
      case YamlScalar::Kind::null:
        tree_.set_null(node);
        return true;
      case YamlScalar::Kind::boolean:
        tree_.set(node, scalar.boolean);
        return true;
      case YamlScalar::Kind::integer:
        tree_.set(node, scalar.integer);
        return true;
      case YamlScalar::Kind::number:
        tree_.set(node, scalar.number);
        return true;
      case YamlScalar::Kind::not_json:
        return broken("json: unsupported value: " + std::string(text));
      case YamlScalar::Kind::merge:
        is_merge = true;
        [[fallthrough]];
      case YamlScalar::Kind::string:
        tree_.set(node, text);
        return true;
    }
    return true;
  }

  // Keys are text in JSON: 1 is "1", yes is "true".
  bool key_text(const Node* node, std::string& out) {
    out.clear();
    switch (node->kind()) {
      case Kind::string:
        out = node->string();
        return true;
      case Kind::boolean:
        out = node->boolean() ? "true" : "false";
        return true;
      case Kind::integer:
        append_integer(out, node->integer());
        return true;
      case Kind::number:
        append_number(out, node->number());
        return true;
      case Kind::null:
        return broken("Unsupported map key of type: null");
      default:
        return broken("invalid map key");
    }
  }

  bool mapping(Node* node, int depth) {
    const std::string name(text_of(event_->data.mapping_start.anchor));
    tree_.make_object(node);
    std::vector<Node*> merged;
    Node* scratch = tree_.append(holder());
    std::string key;
    while (true) {
      if (!next()) return false;
      if (event_->type == YAML_MAPPING_END_EVENT) break;
      bool is_merge = false, ignored = false;
      if (!value(scratch, depth + 1, is_merge)) return false;
      if (!is_merge && !key_text(scratch, key)) return false;
      if (!next()) return false;
      Node* child = is_merge ? tree_.append(holder()) : tree_.append_member(node, tree_.intern(key), nullptr);
      if (!value(child, depth + 1, ignored)) return false;
      if (is_merge) merged.push_back(child);
    }
    for (const Node* source : merged)
      if (!merge(node, source)) return false;
    if (!name.empty()) anchors_[name] = node;
    return true;
  }

  // `<<`: members of another map (or of several) that are not set here.
  bool merge(Node* node, const Node* source) {
    if (source->kind() == Kind::list) {
      for (const Node* item = source->first(); item; item = item->next())
        if (item->kind() != Kind::object || !merge(node, item))
          return broken("map merge requires map or sequence of maps as the value");
      return true;
    }
    if (source->kind() != Kind::object) return broken("map merge requires map or sequence of maps as the value");
    for (const Node* child = source->first(); child; child = child->next())
      if (!node->find(child->key())) tree_.copy(tree_.append_member(node, child->key(), nullptr), child);
    return true;
  }

  yaml_parser_t parser_{};
  Event event_;
  Document tree_;
  std::map<std::string, const Node*, std::less<>> anchors_;
  size_t nodes_ = 0, aliased_ = 0;
  std::string error_;
};

}  // namespace

Result<std::string> yaml_to_json(std::string_view yaml) { return Builder(yaml).to_json(); }

Result<Document> decode_yaml(std::string_view yaml, const Type& type, const DecodeOptions& options) {
  DURE_TRY(std::string json, yaml_to_json(yaml));
  return decode_json(SharedBytes(std::move(json)), type, options);
}

Result<Document> decode_yaml(std::string_view yaml) {
  DURE_TRY(std::string json, yaml_to_json(yaml));
  return decode_json(SharedBytes(std::move(json)));
}

std::vector<std::string_view> split_yaml(std::string_view text) {
  std::vector<std::string_view> parts;
  const auto has_content = [](std::string_view part) {
    for (const std::string_view line : split(part, '\n')) {
      const std::string_view bare = trim(line);
      if (!bare.empty() && bare[0] != '#') return true;
    }
    return false;
  };
  size_t start = 0, line = 0;
  while (line <= text.size()) {
    const size_t end = std::min(text.find('\n', line), text.size());
    const std::string_view content = text.substr(line, end - line);
    const bool separator =
        content.starts_with("---") && (content.size() == 3 || content[3] == ' ' || content[3] == '\r');
    if (separator || end == text.size()) {
      const std::string_view part = text.substr(start, (separator ? line : end) - start);
      if (has_content(part)) parts.push_back(part);
      start =
          std::min(separator && trim(content.substr(3)).empty() ? end + 1 : line + (separator ? 3 : 0), text.size());
      if (separator && end == text.size() && has_content(text.substr(start))) parts.push_back(text.substr(start));
    }
    line = end + 1;
  }
  return parts;
}

}  // namespace dure::schema
