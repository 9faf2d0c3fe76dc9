// JsonScanner: the tokens of a JSON text and the sentences for what is wrong with it. Internal to
// the JSON decoder.
#pragma once

#include <string>
#include <string_view>

#include "schema/document.h"

namespace dure::schema {

class JsonScanner {
 public:
  struct Number {
    std::string_view text;
    bool is_integer = false;  // no fraction, no exponent, fits int64
    int64_t integer = 0;
  };

  JsonScanner(std::string_view text, Document& document)
      : position_(text.data()), start_(text.data()), end_(text.data() + text.size()), document_(document) {}

  bool failed() const { return !error_.empty(); }
  const std::string& error() const { return error_; }
  bool fail(std::string sentence) {  // keeps the first; always false
    if (error_.empty()) error_ = std::move(sentence);
    return false;
  }

  void skip_space() {
    while (position_ < end_ && (*position_ == ' ' || *position_ == '\n' || *position_ == '\t' || *position_ == '\r'))
      ++position_;
  }
  // Next character after white space, 0 at the end.
  char peek() {
    skip_space();
    return position_ < end_ ? *position_ : '\0';
  }
  void advance() { ++position_; }
  const char* position() const { return position_; }

  // Each expects `position` on the first character of the token.
  bool read_string(std::string_view& out);
  bool read_number(Number& out);
  bool read_literal(std::string_view word);
  bool expect_end();
  // After the first character of a value was no such character.
  bool unexpected(std::string_view where);

 private:
  bool read_slow_string(const char* first, std::string_view& out);
  bool read_escape(std::string& out);
  bool read_hex(uint32_t& out);

  const char* position_;
  const char* start_;
  const char* end_;
  Document& document_;
  std::string error_;
  std::string scratch_;
};

}  // namespace dure::schema
