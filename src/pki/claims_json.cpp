#include "pki/claims_json.h"

#include <cmath>
#include <cstdlib>

namespace dure::pki {
namespace {

constexpr size_t text_max = 64 << 10;
constexpr int depth_max = 16;

void append_utf8(std::string& out, uint32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xc0 | c >> 6);
    out += static_cast<char>(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xe0 | c >> 12);
    out += static_cast<char>(0x80 | (c >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (c & 0x3f));
  } else {
    out += static_cast<char>(0xf0 | c >> 18);
    out += static_cast<char>(0x80 | (c >> 12 & 0x3f));
    out += static_cast<char>(0x80 | (c >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (c & 0x3f));
  }
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<Json> document() {
    Json value;
    if (text_.size() > text_max || !parse(value, 0)) return wrong();
    skip_space();
    if (at_ != text_.size()) return wrong();
    return value;
  }

 private:
  static std::unexpected<Error> wrong() { return fail(bad_request("not valid JSON")); }

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool take(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  bool take_word(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }
  void skip_space() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").contains(text_[at_])) ++at_;
  }

  bool parse(Json& out, int depth) {
    if (depth > depth_max) return false;
    skip_space();
    switch (peek()) {
      case '{':
        return parse_object(out, depth);
      case '[':
        return parse_list(out, depth);
      case '"':
        out.kind = Json::Kind::string;
        return parse_string(out.string);
      case 't':
        out.kind = Json::Kind::boolean;
        out.boolean = true;
        return take_word("true");
      case 'f':
        out.kind = Json::Kind::boolean;
        return take_word("false");
      case 'n':
        return take_word("null");
      default:
        out.kind = Json::Kind::number;
        return parse_number(out.number);
    }
  }

  bool parse_object(Json& out, int depth) {
    out.kind = Json::Kind::object;
    take('{');
    skip_space();
    if (take('}')) return true;
    do {
      skip_space();
      auto& [key, value] = out.members.emplace_back(std::string(), Json());
      if (!parse_string(key)) return false;
      skip_space();
      if (!take(':') || !parse(value, depth + 1)) return false;
      skip_space();
    } while (take(','));
    return take('}');
  }

  bool parse_list(Json& out, int depth) {
    out.kind = Json::Kind::list;
    take('[');
    skip_space();
    if (take(']')) return true;
    do {
      if (!parse(out.items.emplace_back(), depth + 1)) return false;
      skip_space();
    } while (take(','));
    return take(']');
  }

  bool parse_number(double& out) {
    const size_t end = text_.find_first_not_of("+-.0123456789eE", at_);
    const std::string digits(text_.substr(at_, end == std::string_view::npos ? end : end - at_));
    if (digits.empty() || digits.front() == '+' || digits.front() == '.' || digits.size() > 64) return false;
    char* rest = nullptr;
    out = std::strtod(digits.c_str(), &rest);
    at_ += digits.size();
    return *rest == '\0' && std::isfinite(out);
  }

  bool parse_string(std::string& out) {
    if (!take('"')) return false;
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c == '"') return true;
      if (static_cast<unsigned char>(c) < 0x20) return false;
      if (c != '\\') {
        out += c;
      } else if (!parse_escape(out)) {
        return false;
      }
    }
    return false;
  }

  bool parse_escape(std::string& out) {
    constexpr std::string_view names = "\"\\/bfnrt";
    constexpr std::string_view values = "\"\\/\b\f\n\r\t";
    const char c = peek();
    ++at_;
    if (const size_t i = names.find(c); c != '\0' && i != std::string_view::npos) {
      out += values[i];
      return true;
    }
    uint32_t code = 0;
    if (c != 'u' || !parse_hex(code)) return false;
    if (code >= 0xdc00 && code < 0xe000) return false;
    if (code >= 0xd800 && code < 0xdc00) {
      uint32_t low = 0;
      if (!take('\\') || !take('u') || !parse_hex(low) || low < 0xdc00 || low >= 0xe000) return false;
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    append_utf8(out, code);
    return true;
  }

  bool parse_hex(uint32_t& out) {
    for (int i = 0; i < 4; ++i) {
      const char c = peek();
      uint32_t digit = 0;
      if (c >= '0' && c <= '9')
        digit = static_cast<uint32_t>(c - '0');
      else if (c >= 'a' && c <= 'f')
        digit = static_cast<uint32_t>(c - 'a' + 10);
      else if (c >= 'A' && c <= 'F')
        digit = static_cast<uint32_t>(c - 'A' + 10);
      else
        return false;
      out = out << 4 | digit;
      ++at_;
    }
    return true;
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

const Json* Json::find(std::string_view key) const {
  for (auto it = members.rbegin(); it != members.rend(); ++it)
    if (it->first == key) return &it->second;
  return nullptr;
}

std::string Json::text(std::string_view key) const {
  const Json* value = find(key);
  return value && value->kind == Kind::string ? value->string : std::string();
}

int64_t Json::integer(std::string_view key) const {
  const Json* value = find(key);
  const bool fits = value && value->kind == Kind::number && std::abs(value->number) < 9e15;
  return fits ? static_cast<int64_t>(value->number) : 0;
}

Result<Json> parse_json(std::string_view text) { return Parser(text).document(); }

std::string quote_json(std::string_view text) {
  constexpr std::string_view hex = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += "\\u00";
      out += hex[static_cast<unsigned char>(c) >> 4];
      out += hex[static_cast<unsigned char>(c) & 15];
    } else {
      out += c;
    }
  }
  return out + "\"";
}

}  // namespace dure::pki
