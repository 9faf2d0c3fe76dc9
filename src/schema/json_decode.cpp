#include <charconv>

#include "schema/json.h"
#include "schema/json_scan.h"
#include "schema/rows.h"
#include "schema/values.h"

namespace dure::schema {

namespace {

constexpr size_t kProblemsMax = 100;
constexpr uint16_t kSeenMax = 256;

// Where the decoder stands, as a chain of frames on the stack.
struct Frame {
  enum class Step : uint8_t { member, item, key };
  const Frame* up;
  std::string_view name;
  uint32_t index;
  Step step;
};

std::string path_of(const Frame* frame, std::string_view last) {
  if (!frame) return std::string(last);
  std::string path = path_of(frame->up, {});
  if (frame->step == Frame::Step::item) {
    path += "[" + std::to_string(frame->index) + "]";
  } else {
    if (!path.empty()) path += '.';
    path += frame->name;
  }
  if (!last.empty()) path += (path.empty() ? "" : ".") + std::string(last);
  return path;
}

// Go's path in mismatch errors: names of struct members only.
std::string member_path(const Frame* frame) {
  if (!frame) return {};
  std::string path = member_path(frame->up);
  if (frame->step != Frame::Step::member) return path;
  return path.empty() ? std::string(frame->name) : path + "." + std::string(frame->name);
}

std::string go_type(const Field& field) {
  if (field.shape == Shape::list) return "[]" + go_type(*field.item);
  if (field.shape == Shape::map) return "map[string]" + go_type(*field.item);
  switch (field.value) {
    case Value::string:
    case Value::time:
    case Value::micro_time:
    case Value::duration:
      return field.rules && !field.rules->enum_name.empty() ? "v1." + std::string(field.rules->enum_name) : "string";
    case Value::boolean:
      return "bool";
    case Value::int32:
      return "int32";
    case Value::int64:
      return "int64";
    case Value::uint32:
      return "uint32";
    case Value::uint64:
      return "uint64";
    case Value::float32:
      return "float32";
    case Value::float64:
      return "float64";
    case Value::bytes:
      return "[]uint8";
    case Value::quantity:
      return "resource.Quantity";
    case Value::int_or_string:
      return "int32";
    case Value::message:
    case Value::message_or_list:
    case Value::message_or_boolean:
    case Value::message_or_strings:
      return std::string(field.type->version) + "." + std::string(field.type->name);
    default:
      return "interface {}";
  }
}

class Decoder {
 public:
  Decoder(std::string_view text, Document& document, const DecodeOptions& options)
      : scan_(text, document), document_(document), options_(options) {}

  Status run_into(Node* node, int depth) {
    if (!untyped(node, depth) || !scan_.expect_end()) return fail(bad_request(scan_.error()));
    return {};
  }

  Status run(const Type* type) {
    root_type_ = type;
    const bool good = type ? typed_root(*type) : untyped(document_.root(), 0);
    if (!good || !scan_.expect_end()) return fail(bad_request(scan_.error()));
    if (!mismatch_.empty()) return fail(bad_request(wrapped(mismatch_)));
    if (options_.strictness == Strictness::strict && !problems_.empty()) {
      std::string all;
      for (const std::string& problem : problems_) all += (all.empty() ? "" : ", ") + problem;
      return fail(bad_request(wrapped("strict decoding error: " + all)));
    }
    if (options_.strictness == Strictness::warn && options_.problems)
      options_.problems->insert(options_.problems->end(), problems_.begin(), problems_.end());
    return {};
  }

 private:
  std::string wrapped(const std::string& why) const {
    if (!root_type_ || !root_type_->is_kind) return why;
    const std::string kind(root_type_->name);
    return kind + " in version \"" + std::string(root_type_->version) + "\" cannot be handled as a " + kind + ": " +
           why;
  }

  void problem(std::string_view what, const Frame* frame, std::string_view name) {
    if (options_.strictness == Strictness::ignore || problems_.size() >= kProblemsMax) return;
    std::string text = std::string(what) + " field \"" + path_of(frame, name) + "\"";
    problems_.push_back(std::move(text));
  }

  // Go remembers the first mismatch and reads on, so that broken syntax later is told instead.
  void mismatch(std::string_view found, const std::string& wanted, const Type* owner, const Frame* frame) {
    if (!mismatch_.empty()) return;
    mismatch_ = "json: cannot unmarshal " + std::string(found) + " into Go ";
    const std::string path = member_path(frame);
    if (owner && !path.empty())
      mismatch_ += "struct field " + std::string(owner->name) + "." + path;
    else
      mismatch_ += "value";
    mismatch_ += " of type " + wanted;
  }

  bool typed_root(const Type& type) {
    const char c = scan_.peek();
    if (c == 'n') return scan_.read_literal("null");
    if (c == '{') return members(document_.root(), type, nullptr, 0);
    const std::string wanted = std::string(type.version) + "." + std::string(type.name);
    return skip_mismatched(wanted, nullptr, nullptr, 0);
  }

  // --- Typed
  // ---------------------------------------------------------------------------------------------------------

  // Reads the value that stands at the scanner into `node`. `keep` becomes false when it means the
  // same as absence.
  bool value(Node* node, const Field& field, const Type* owner, const Frame* frame, int depth, bool& keep) {
    const char c = scan_.peek();
    if (c == 'n') {
      keep = false;
      return scan_.read_literal("null");
    }
    if (field.shape == Shape::list) return list(node, field, owner, frame, depth, keep);
    if (field.shape == Shape::map) return map(node, field, owner, frame, depth, keep);
    switch (field.value) {
      case Value::string:
        if (c != '"') break;
        {
          std::string_view text;
          if (!scan_.read_string(text)) return false;
          document_.set_borrowed(node, text);
          keep = field.pointer || !text.empty();
          return true;
        }
      case Value::boolean:
        if (c != 't' && c != 'f') break;
        if (!scan_.read_literal(c == 't' ? "true" : "false")) return false;
        document_.set(node, c == 't');
        keep = field.pointer || c == 't';
        return true;
      case Value::int32:
      case Value::int64:
      case Value::uint32:
      case Value::uint64:
      case Value::float32:
      case Value::float64:
        if (c != '-' && (c < '0' || c > '9')) break;
        return number(node, field, owner, frame, keep);
      case Value::bytes:
      case Value::time:
      case Value::micro_time:
      case Value::duration:
        if (c != '"') break;
        return special(node, field, owner, frame, keep);
      case Value::quantity:
        return quantity(node, field, frame, depth, keep);
      case Value::int_or_string:
        return int_or_string(node, field, owner, frame, depth, keep);
      case Value::any:
      case Value::raw_extension:
      case Value::fields_v1:
        return untyped(node, depth);
      case Value::message:
        if (c != '{') break;
        document_.make_object(node);
        if (!members(node, *field.type, frame, depth)) return false;
        keep = field.pointer || node->size() > 0;
        return true;
      case Value::message_or_list:
      case Value::message_or_boolean:
      case Value::message_or_strings:
        return alternative(node, field, owner, frame, depth);
    }
    keep = false;
    return skip_mismatched(go_type(field), owner, frame, depth);
  }

  bool number(Node* node, const Field& field, const Type* owner, const Frame* frame, bool& keep) {
    JsonScanner::Number n;
    if (!scan_.read_number(n)) return false;
    if (field.value == Value::float64 || field.value == Value::float32) {
      double v = 0;
      if (std::from_chars(n.text.data(), n.text.data() + n.text.size(), v).ec != std::errc())
        mismatch("number " + std::string(n.text), go_type(field), owner, frame);
      document_.set(node, v + 0.0);  // no -0
      keep = field.pointer || v != 0;
      return true;
    }
    const bool fits = n.is_integer &&
                      (field.value != Value::int32 || (n.integer >= INT32_MIN && n.integer <= INT32_MAX)) &&
                      (field.value != Value::uint32 || (n.integer >= 0 && n.integer <= UINT32_MAX)) &&
                      (field.value != Value::uint64 || n.integer >= 0);
    if (!fits) mismatch("number " + std::string(n.text), go_type(field), owner, frame);
    document_.set(node, n.integer);
    keep = field.pointer || n.integer != 0;
    return true;
  }

  // Texts with a canonical form.
  bool special(Node* node, const Field& field, const Type* owner, const Frame* frame, bool& keep) {
    std::string_view text;
    if (!scan_.read_string(text)) return false;
    const auto canonical = field.value == Value::time         ? canonical_time(text, scratch_)
                           : field.value == Value::micro_time ? canonical_micro_time(text, scratch_)
                           : field.value == Value::duration   ? canonical_duration(text, scratch_)
                                                              : canonical_base64(text, scratch_);
    if (!canonical) {
      if (mismatch_.empty()) mismatch_ = scratch_;
      keep = false;
      return true;
    }
    set_text(node, text, *canonical);
    keep = field.pointer || !canonical->empty();
    const bool is_time = field.value == Value::time || field.value == Value::micro_time;
    if (is_time && canonical->starts_with("0001-01-01T00:00:00")) keep = false;  // Go's zero time, written as null
    return true;
  }

  void set_text(Node* node, std::string_view given, std::string_view canonical) {
    document_.set_borrowed(node, canonical.data() == given.data() ? canonical : document_.intern(canonical));
  }

  bool quantity(Node* node, const Field& field, const Frame* frame, int depth, bool& keep) {
    const char c = scan_.peek();
    std::string_view text;
    if (c == '"') {
      if (!scan_.read_string(text)) return false;
    } else if (c == '-' || (c >= '0' && c <= '9')) {
      JsonScanner::Number n;
      if (!scan_.read_number(n)) return false;
      text = n.text;
    } else {
      if (mismatch_.empty()) {
        canonical_quantity("{", scratch_);
        mismatch_ = scratch_;
      }
      keep = false;
      return skip(depth);
    }
    const auto canonical = canonical_quantity(text, scratch_);
    if (!canonical) {
      if (mismatch_.empty()) mismatch_ = scratch_;
      keep = false;
      return true;
    }
    set_text(node, text, *canonical);
    return true;
  }

  bool int_or_string(Node* node, const Field& field, const Type* owner, const Frame* frame, int depth, bool& keep) {
    const char c = scan_.peek();
    if (c == '"') {
      std::string_view text;
      if (!scan_.read_string(text)) return false;
      document_.set_borrowed(node, text);
      return true;
    }
    if (c != '-' && (c < '0' || c > '9')) {
      keep = false;
      return skip_mismatched("int32", owner, frame, depth);
    }
    JsonScanner::Number n;
    if (!scan_.read_number(n)) return false;
    if (!n.is_integer || n.integer < INT32_MIN || n.integer > INT32_MAX)
      mismatch("number " + std::string(n.text), "int32", owner, frame);
    document_.set(node, n.integer);
    keep = field.pointer || n.integer != 0;
    return true;
  }

  bool alternative(Node* node, const Field& field, const Type* owner, const Frame* frame, int depth) {
    const char c = scan_.peek();
    if (c == '{') {
      document_.make_object(node);
      return members(node, *field.type, frame, depth);
    }
    if (c == '[' && field.value != Value::message_or_boolean) return untyped(node, depth);
    if ((c == 't' || c == 'f') && field.value == Value::message_or_boolean) return untyped(node, depth);
    return skip_mismatched(go_type(field), owner, frame, depth);
  }

  // A list or map element: null there is the zero value.
  bool element(Node* node, const Field& item, const Type* owner, const Frame* frame, int depth) {
    bool keep = true;
    if (!value(node, item, owner, frame, depth, keep)) return false;
    if (node->is_null()) set_zero(node, item);
    return true;
  }

  void set_zero(Node* node, const Field& item) {
    if (item.shape != Shape::single) return;
    switch (item.value) {
      case Value::string:
      case Value::duration:
        document_.set_borrowed(node, "");
        break;
      case Value::boolean:
        document_.set(node, false);
        break;
      case Value::int32:
      case Value::int64:
      case Value::uint32:
      case Value::uint64:
      case Value::int_or_string:
        document_.set(node, int64_t{0});
        break;
      case Value::float32:
      case Value::float64:
        document_.set(node, 0.0);
        break;
      case Value::quantity:
        document_.set_borrowed(node, "0");
        break;
      case Value::message:
        document_.make_object(node);
        break;
      default:
        break;
    }
  }

  bool enter(int depth) { return depth < kDepthMax || scan_.fail("exceeded max depth"); }

  bool list(Node* node, const Field& field, const Type* owner, const Frame* frame, int depth, bool& keep) {
    if (scan_.peek() != '[') {
      keep = false;
      return skip_mismatched(go_type(field), owner, frame, depth);
    }
    if (!enter(depth)) return false;
    scan_.advance();
    document_.make_list(node);
    if (scan_.peek() == ']') {
      scan_.advance();
      keep = field.pointer || !field.omit_empty;
      return true;
    }
    Frame here{frame, {}, 0, Frame::Step::item};
    while (true) {
      Node* child = document_.append_member(node, {}, field.item);
      if (!element(child, *field.item, owner, &here, depth + 1)) return false;
      ++here.index;
      const char c = scan_.peek();
      if (c == ',') {
        scan_.advance();
        continue;
      }
      if (c != ']') return scan_.unexpected("after array element");
      scan_.advance();
      return true;
    }
  }

  bool map(Node* node, const Field& field, const Type* owner, const Frame* frame, int depth, bool& keep) {
    if (scan_.peek() != '{') {
      keep = false;
      return skip_mismatched(go_type(field), owner, frame, depth);
    }
    document_.make_object(node);
    bool sorted = true;
    const bool good = each_member(depth, [&](std::string_view key) {
      if (const Node* last = node->last(); last && last->key() >= key) sorted = false;
      Frame here{frame, key, 0, Frame::Step::key};
      return element(document_.append_member(node, key, field.item), *field.item, owner, &here, depth + 1);
    });
    if (!good) return false;
    if (!sorted) drop_duplicates(node, frame);
    keep = field.pointer || !field.omit_empty || node->size() > 0;
    return true;
  }

  void drop_duplicates(Node* node, const Frame* frame) {
    struct Context {
      Decoder* self;
      const Frame* frame;
    } context{this, frame};
    document_.sort_members(
        node,
        [](void* c, std::string_view key) {
          auto* context = static_cast<Context*>(c);
          context->self->problem("duplicate", context->frame, key);
        },
        &context);
  }

  bool members(Node* node, const Type& type, const Frame* frame, int depth) {
    uint64_t seen[kSeenMax / 64] = {};
    bool sorted = true;
    uint32_t next = 0;  // rows at and after this one have not been read
    const bool good = each_member(depth, [&](std::string_view key) {
      const Field* field =
          next < type.fields.size() && type.fields[next].name == key ? &type.fields[next] : type.find(key);
      if (!field || field->internal) {
        problem("unknown", frame, key);
        return skip(depth);
      }
      if (field->index < kSeenMax) {
        uint64_t& word = seen[field->index / 64];
        const uint64_t bit = uint64_t{1} << (field->index % 64);
        if (word & bit) {
          problem("duplicate", frame, key);
          document_.erase(node, field->name);
        }
        word |= bit;
      }
      if (field->index < next) sorted = false;
      next = field->index + 1u;
      Node* const before = node->last();
      Node* child = document_.append_member(node, field->name, field);
      Frame here{frame, field->name, 0, Frame::Step::member};
      bool keep = true;
      if (!value(child, *field, &type, &here, depth + 1, keep)) return false;
      if (!keep || child->is_null()) document_.drop_last(node, before);
      return true;
    });
    if (!good) return false;
    if (!sorted) document_.sort_members(node);
    return true;
  }

  // Calls member(key) with the scanner on the value of each member.
  template <class Member>
  bool each_member(int depth, Member member) {
    if (!enter(depth)) return false;
    scan_.advance();
    if (scan_.peek() == '}') {
      scan_.advance();
      return true;
    }
    while (true) {
      if (scan_.peek() != '"') return scan_.unexpected("looking for beginning of object key string");
      std::string_view key;
      if (!scan_.read_string(key)) return false;
      if (scan_.peek() != ':') return scan_.unexpected("after object key");
      scan_.advance();
      if (!member(key)) return false;
      const char c = scan_.peek();
      if (c == ',') {
        scan_.advance();
        continue;
      }
      if (c != '}') return scan_.unexpected("after object key:value pair");
      scan_.advance();
      return true;
    }
  }

  // --- Untyped
  // -------------------------------------------------------------------------------------------------------

  bool untyped(Node* node, int depth) {
    const char c = scan_.peek();
    switch (c) {
      case '{':
        return untyped_object(node, depth);
      case '[':
        return untyped_list(node, depth);
      case '"': {
        std::string_view text;
        if (!scan_.read_string(text)) return false;
        document_.set_borrowed(node, text);
        return true;
      }
      case 't':
      case 'f':
        document_.set(node, c == 't');
        return scan_.read_literal(c == 't' ? "true" : "false");
      case 'n':
        document_.set_null(node);
        return scan_.read_literal("null");
      default:
        break;
    }
    if (c != '-' && (c < '0' || c > '9')) return scan_.unexpected("looking for beginning of value");
    JsonScanner::Number n;
    if (!scan_.read_number(n)) return false;
    if (n.is_integer) {
      document_.set(node, n.integer);
      return true;
    }
    double v = 0;
    if (std::from_chars(n.text.data(), n.text.data() + n.text.size(), v).ec != std::errc())
      return scan_.fail("json: cannot unmarshal number " + std::string(n.text) + " into Go value of type float64");
    document_.set(node, v + 0.0);  // no -0
    return true;
  }

  bool untyped_list(Node* node, int depth) {
    if (!enter(depth)) return false;
    scan_.advance();
    document_.make_list(node);
    if (scan_.peek() == ']') {
      scan_.advance();
      return true;
    }
    while (true) {
      if (!untyped(document_.append_member(node, {}, nullptr), depth + 1)) return false;
      const char c = scan_.peek();
      if (c == ',') {
        scan_.advance();
        continue;
      }
      if (c != ']') return scan_.unexpected("after array element");
      scan_.advance();
      return true;
    }
  }

  bool untyped_object(Node* node, int depth) {
    document_.make_object(node);
    bool rising = true;  // then there are no duplicates
    const bool good = each_member(depth, [&](std::string_view key) {
      if (const Node* last = node->last(); last && last->key() >= key) rising = false;
      return untyped(document_.append_member(node, key, nullptr), depth + 1);
    });
    if (good && !rising) document_.sort_members(node);
    return good;
  }

  // Reads over a value that nobody wants.
  bool skip(int depth) {
    const char c = scan_.peek();
    std::string_view text;
    JsonScanner::Number n;
    switch (c) {
      case '{':
        return each_member(depth, [&](std::string_view) { return skip(depth + 1); });
      case '[': {
        if (!enter(depth)) return false;
        scan_.advance();
        if (scan_.peek() == ']') {
          scan_.advance();
          return true;
        }
        while (true) {
          if (!skip(depth + 1)) return false;
          const char after = scan_.peek();
          if (after != ',' && after != ']') return scan_.unexpected("after array element");
          scan_.advance();
          if (after == ']') return true;
        }
      }
      case '"':
        return scan_.read_string(text);
      case 't':
        return scan_.read_literal("true");
      case 'f':
        return scan_.read_literal("false");
      case 'n':
        return scan_.read_literal("null");
      default:
        break;
    }
    if (c != '-' && (c < '0' || c > '9')) return scan_.unexpected("looking for beginning of value");
    return scan_.read_number(n);
  }

  bool skip_mismatched(const std::string& wanted, const Type* owner, const Frame* frame, int depth) {
    const char c = scan_.peek();
    const char* found = c == '{'               ? "object"
                        : c == '['             ? "array"
                        : c == '"'             ? "string"
                        : c == 't' || c == 'f' ? "bool"
                                               : "number";
    mismatch(found, wanted, owner, frame);
    return skip(depth);
  }

  JsonScanner scan_;
  Document& document_;
  const DecodeOptions& options_;
  const Type* root_type_ = nullptr;
  std::vector<std::string> problems_;
  std::string mismatch_;
  std::string scratch_;
};

Result<Document> decode(SharedBytes input, const Type* type, const DecodeOptions& options) {
  const std::string_view text = input.view();
  Document document(type, std::move(input));
  DURE_CHECK(Decoder(text, document, options).run(type));
  return document;
}

}  // namespace

Result<Document> decode_json(SharedBytes input, const Type& type, const DecodeOptions& options) {
  return decode(std::move(input), &type, options);
}

Result<Document> decode_json(SharedBytes input) { return decode(std::move(input), nullptr, {}); }

Status decode_json_into(Document& document, Node* node, std::string_view text, int depth) {
  const DecodeOptions options;
  return Decoder(text, document, options).run_into(node, depth);
}

Result<Document> retype(const Node* root, const Type& type, const DecodeOptions& options) {
  std::string text;
  encode_json(root, nullptr, text);
  return decode_json(SharedBytes(std::move(text)), type, options);
}

}  // namespace dure::schema
