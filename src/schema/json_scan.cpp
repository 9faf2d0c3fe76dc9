#include "schema/json_scan.h"

#include <charconv>
#include <cstring>

#include "schema/values.h"

namespace dure::schema {

namespace {

constexpr uint64_t kOnes = 0x0101010101010101ull, kTops = 0x8080808080808080ull;

// A byte of the eight that ends or complicates a string: quote, backslash, control or not ASCII.
uint64_t special_bytes(uint64_t x) {
  const uint64_t quote = x ^ (kOnes * '"'), slash = x ^ (kOnes * '\\');
  return (x | (x - kOnes * 0x20) | ((quote - kOnes) & ~quote) | ((slash - kOnes) & ~slash)) & kTops;
}

const char* skip_plain(const char* p, const char* end) {
  while (end - p >= 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    const uint64_t hit = special_bytes(word);
    if (hit) return p + (__builtin_ctzll(hit) >> 3);
    p += 8;
  }
  while (p < end && *p != '"' && *p != '\\' && static_cast<uint8_t>(*p) >= 0x20 && static_cast<uint8_t>(*p) < 0x80) ++p;
  return p;
}

std::string quote_character(char c) {
  switch (c) {
    case '\'':
      return "'\\''";
    case '"':
      return "'\"'";
    case '\n':
      return "'\\n'";
    case '\r':
      return "'\\r'";
    case '\t':
      return "'\\t'";
    case '\\':
      return "'\\\\'";
    default:
      break;
  }
  const auto byte = static_cast<uint8_t>(c);
  if (byte >= 0x20 && byte < 0x7F) return std::string("'") + c + "'";
  constexpr char kHex[] = "0123456789abcdef";
  if (byte < 0x80) return std::string("'\\x") + kHex[byte >> 4] + kHex[byte & 15] + "'";
  std::string text = "'";  // Go prints the byte as the code point of that number
  text += static_cast<char>(0xC0 | byte >> 6);
  text += static_cast<char>(0x80 | (byte & 0x3F));
  return text + "'";
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

void append_utf8(std::string& out, uint32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | code >> 6);
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0 | code >> 12);
    out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | code >> 18);
    out += static_cast<char>(0x80 | (code >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  }
}

constexpr const char* kUnexpectedEnd = "unexpected end of JSON input";

}  // namespace

bool JsonScanner::unexpected(std::string_view where) {
  if (position_ >= end_) return fail(kUnexpectedEnd);
  return fail("invalid character " + quote_character(*position_) + " " + std::string(where));
}

bool JsonScanner::read_string(std::string_view& out) {
  const char* const first = ++position_;  // the quote
  const char* p = skip_plain(first, end_);
  while (p < end_ && static_cast<uint8_t>(*p) >= 0x80) {
    const size_t length = utf8_sequence(p, end_);
    if (length == 0) break;
    p = skip_plain(p + length, end_);
  }
  position_ = p;
  if (p < end_ && *p == '"') {
    out = {first, static_cast<size_t>(p - first)};
    ++position_;
    return true;
  }
  return read_slow_string(first, out);
}

bool JsonScanner::read_slow_string(const char* first, std::string_view& out) {
  scratch_.assign(first, position_);
  while (true) {
    const char* p = skip_plain(position_, end_);
    scratch_.append(position_, p);
    position_ = p;
    if (p >= end_) return fail(kUnexpectedEnd);
    if (*p == '"') {
      ++position_;
      out = document_.intern(scratch_);
      return true;
    }
    if (*p == '\\') {
      if (!read_escape(scratch_)) return false;
    } else if (static_cast<uint8_t>(*p) < 0x20) {
      return unexpected("in string literal");
    } else if (const size_t length = utf8_sequence(p, end_)) {
      scratch_.append(p, length);
      position_ += length;
    } else {
      scratch_ += "\xEF\xBF\xBD";
      ++position_;
    }
  }
}

bool JsonScanner::read_hex(uint32_t& out) {
  out = 0;
  for (int i = 0; i < 4; ++i) {
    const char c = position_ < end_ ? *position_ : '\0';
    const int digit = is_digit(c)            ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0) return unexpected("in \\u hexadecimal character escape");
    out = out << 4 | static_cast<uint32_t>(digit);
    ++position_;
  }
  return true;
}

bool JsonScanner::read_escape(std::string& out) {
  ++position_;  // the backslash
  if (position_ >= end_) return fail(kUnexpectedEnd);
  switch (*position_) {
    case '"':
    case '\\':
    case '/':
      out += *position_++;
      return true;
    case 'b':
      out += '\b';
      ++position_;
      return true;
    case 'f':
      out += '\f';
      ++position_;
      return true;
    case 'n':
      out += '\n';
      ++position_;
      return true;
    case 'r':
      out += '\r';
      ++position_;
      return true;
    case 't':
      out += '\t';
      ++position_;
      return true;
    case 'u':
      break;
    default:
      return unexpected("in string escape code");
  }
  ++position_;
  uint32_t code;
  if (!read_hex(code)) return false;
  if (code >= 0xD800 && code < 0xDC00 && end_ - position_ >= 6 && position_[0] == '\\' && position_[1] == 'u') {
    const char* const rest = position_;
    position_ += 2;
    uint32_t low;
    if (!read_hex(low)) return false;
    if (low >= 0xDC00 && low < 0xE000) {
      append_utf8(out, 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00));
      return true;
    }
    position_ = rest;  // a lone surrogate; what follows stands for itself
  }
  append_utf8(out, code >= 0xD800 && code < 0xE000 ? 0xFFFD : code);
  return true;
}

bool JsonScanner::read_number(Number& out) {
  const char* const first = position_;
  const char* p = first;
  if (*p == '-') ++p;
  position_ = p;
  if (p >= end_ || !is_digit(*p)) return unexpected("in numeric literal");
  uint64_t magnitude = 0;
  bool fits = true;
  if (*p == '0') {
    ++p;
  } else {
    for (; p < end_ && is_digit(*p); ++p) {
      const auto digit = static_cast<uint64_t>(*p - '0');
      fits = fits && magnitude <= (INT64_MAX - digit) / 10;
      magnitude = magnitude * 10 + digit;
    }
  }
  bool whole = true;
  if (p < end_ && *p == '.') {
    whole = false;
    position_ = ++p;
    if (p >= end_ || !is_digit(*p)) return unexpected("after decimal point in numeric literal");
    while (p < end_ && is_digit(*p)) ++p;
  }
  if (p < end_ && (*p == 'e' || *p == 'E')) {
    whole = false;
    ++p;
    if (p < end_ && (*p == '+' || *p == '-')) ++p;
    position_ = p;
    if (p >= end_ || !is_digit(*p)) return unexpected("in exponent of numeric literal");
    while (p < end_ && is_digit(*p)) ++p;
  }
  position_ = p;
  out.text = {first, static_cast<size_t>(p - first)};
  out.is_integer = whole && fits;
  out.integer = static_cast<int64_t>(*first == '-' ? uint64_t{0} - magnitude : magnitude);
  if (out.text == "-9223372036854775808") out.is_integer = true;
  return true;
}

bool JsonScanner::read_literal(std::string_view word) {
  for (size_t i = 0; i < word.size(); ++i, ++position_)
    if (position_ >= end_ || *position_ != word[i])
      return unexpected("in literal " + std::string(word) + " (expecting " + quote_character(word[i]) + ")");
  return true;
}

bool JsonScanner::expect_end() {
  skip_space();
  return position_ >= end_ || unexpected("after top-level value");
}

}  // namespace dure::schema
