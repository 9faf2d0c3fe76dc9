#include "apiserver/peek.h"

#include <cstring>

namespace dure::apiserver {

namespace {

constexpr size_t npos = std::string_view::npos;

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

size_t skip_space(std::string_view json, size_t at) {
  while (at < json.size() && is_space(json[at])) ++at;
  return at;
}

// `at` is the opening quote.
size_t skip_string(std::string_view json, size_t at) {
  ++at;
  while (at < json.size()) {
    const char* quote = static_cast<const char*>(memchr(json.data() + at, '"', json.size() - at));
    if (!quote) return npos;
    const size_t found = static_cast<size_t>(quote - json.data());
    size_t slashes = 0;
    while (found - slashes > at && json[found - slashes - 1] == '\\') ++slashes;
    at = found + 1;
    if (slashes % 2 == 0) return at;
  }
  return npos;
}

size_t skip_container(std::string_view json, size_t at) {
  int depth = 0;
  while (at < json.size()) {
    switch (json[at]) {
      case '"':
        at = skip_string(json, at);
        if (at == npos) return npos;
        continue;
      case '{':
      case '[':
        ++depth;
        break;
      case '}':
      case ']':
        if (--depth == 0) return at + 1;
        break;
      default:
        break;
    }
    ++at;
  }
  return npos;
}

void append_utf8(std::string& out, uint32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xc0 | code >> 6);
    out += static_cast<char>(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xe0 | code >> 12);
    out += static_cast<char>(0x80 | (code >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (code & 0x3f));
  } else {
    out += static_cast<char>(0xf0 | code >> 18);
    out += static_cast<char>(0x80 | (code >> 12 & 0x3f));
    out += static_cast<char>(0x80 | (code >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (code & 0x3f));
  }
}

uint32_t hex4(std::string_view text, size_t at) {
  uint32_t value = 0;
  for (size_t i = at; i < at + 4 && i < text.size(); ++i) {
    const char c = text[i];
    const uint32_t digit = c >= '0' && c <= '9'   ? c - '0'
                           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                  : 0;
    value = value << 4 | digit;
  }
  return value;
}

char unescaped(char c) {
  switch (c) {
    case 'n':
      return '\n';
    case 't':
      return '\t';
    case 'r':
      return '\r';
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    default:
      return c;
  }
}

std::string unescape(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 >= text.size()) {
      out += text[i];
      continue;
    }
    if (text[++i] != 'u') {
      out += unescaped(text[i]);
      continue;
    }
    uint32_t code = hex4(text, i + 1);
    i += 4;
    if (code >= 0xd800 && code < 0xdc00 && i + 6 < text.size() && text[i + 1] == '\\' && text[i + 2] == 'u') {
      code = 0x10000 + ((code - 0xd800) << 10) + (hex4(text, i + 3) - 0xdc00);
      i += 6;
    }
    append_utf8(out, code);
  }
  return out;
}

}  // namespace

size_t skip_json_value(std::string_view json, size_t at) {
  at = skip_space(json, at);
  if (at >= json.size()) return npos;
  if (json[at] == '"') return skip_string(json, at);
  if (json[at] == '{' || json[at] == '[') return skip_container(json, at);
  const size_t start = at;
  while (at < json.size() && json[at] != ',' && json[at] != '}' && json[at] != ']' && !is_space(json[at])) ++at;
  return at == start ? npos : at;
}

JsonCursor::JsonCursor(std::string_view container) : json_(container) {
  at_ = skip_space(json_, 0);
  if (at_ >= json_.size() || (json_[at_] != '{' && json_[at_] != '[')) {
    at_ = npos;
    return;
  }
  close_ = json_[at_] == '{' ? '}' : ']';
  ++at_;
}

bool JsonCursor::next() {
  if (at_ == npos) return false;
  at_ = skip_space(json_, at_);
  if (at_ < json_.size() && json_[at_] == ',') at_ = skip_space(json_, at_ + 1);
  if (at_ >= json_.size() || json_[at_] == close_) return at_ = npos, false;
  if (close_ == '}') {
    if (json_[at_] != '"') return at_ = npos, false;
    const size_t end = skip_string(json_, at_);
    if (end == npos) return at_ = npos, false;
    key_ = json_.substr(at_ + 1, end - at_ - 2);
    at_ = skip_space(json_, end);
    if (at_ >= json_.size() || json_[at_] != ':') return at_ = npos, false;
    at_ = skip_space(json_, at_ + 1);
  }
  const size_t end = skip_json_value(json_, at_);
  if (end == npos) return at_ = npos, false;
  value_ = json_.substr(at_, end - at_);
  at_ = end;
  return true;
}

std::string_view json_member(std::string_view object, std::string_view key) {
  if (object.empty() || object[0] != '{') return {};
  JsonCursor cursor(object);
  while (cursor.next())
    if (cursor.key() == key) return cursor.value();
  return {};
}

std::string_view json_path(std::string_view object, std::string_view dotted) {
  while (!object.empty()) {
    const size_t dot = dotted.find('.');
    object = json_member(object, dotted.substr(0, dot));
    if (dot == npos) return object;
    dotted.remove_prefix(dot + 1);
  }
  return {};
}

std::string json_text(std::string_view raw) {
  if (raw.empty() || raw == "null") return {};
  if (raw[0] != '"' || raw.size() < 2) return std::string(raw);
  raw = raw.substr(1, raw.size() - 2);
  return raw.find('\\') == npos ? std::string(raw) : unescape(raw);
}

void append_json_string(std::string& out, std::string_view text) {
  static constexpr char hex[] = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '\r') {
      out += "\\r";
    } else if (byte < 0x20) {
      out += "\\u00";
      out += hex[byte >> 4];
      out += hex[byte & 15];
    } else {
      out += c;
    }
  }
  out += '"';
}

}  // namespace dure::apiserver
