#include "apiserver/selector.h"

#include <algorithm>

#include <fmt/format.h>

#include "apiserver/names.h"
#include "apiserver/peek.h"
#include "base/text.h"

namespace dure::apiserver {

namespace {

// --- Labels: tokens are words, operators and punctuation, as upstream's lexer sees them.
struct Token {
  enum class Kind { end, word, punctuation };
  Kind kind = Kind::end;
  std::string_view text;
};

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  Token peek() const {
    Lexer copy = *this;
    return copy.next();
  }

  Token next() {
    while (at_ < text_.size() && is_space(text_[at_])) ++at_;
    if (at_ >= text_.size()) return {};
    const size_t start = at_;
    if (is_special(text_[at_])) {
      ++at_;
      if (at_ < text_.size() && text_[at_] == '=' && (text_[start] == '=' || text_[start] == '!')) ++at_;
      return {Token::Kind::punctuation, text_.substr(start, at_ - start)};
    }
    while (at_ < text_.size() && !is_special(text_[at_]) && !is_space(text_[at_])) ++at_;
    return {Token::Kind::word, text_.substr(start, at_ - start)};
  }

 private:
  static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
  static bool is_special(char c) {
    return c == '=' || c == '!' || c == '(' || c == ')' || c == ',' || c == '>' || c == '<';
  }
  std::string_view text_;
  size_t at_ = 0;
};

Error bad_requirement(std::string_view found, std::string_view expected) {
  return bad_request(fmt::format("unable to parse requirement: found '{}', expected: {}", found, expected));
}

Status check_requirement(const LabelSelector::Requirement& r) {
  if (const std::string why = label_key_problem(r.key); !why.empty())
    return fail(bad_request(fmt::format("unable to parse requirement: <nil>: Invalid value: \"{}\": {}", r.key, why)));
  for (const std::string& value : r.values) {
    if (const std::string why = label_value_problem(value); !why.empty())
      return fail(bad_request(
          fmt::format("unable to parse requirement: values[0][{}]: Invalid value: \"{}\": {}", r.key, value, why)));
    if ((r.op == LabelSelector::Operator::greater || r.op == LabelSelector::Operator::less) && !parse_int(value))
      return fail(
          bad_request(fmt::format("unable to parse requirement: values[0]: Invalid value: \"{}\": for 'Gt', "
                                  "'Lt' operators, the value must be an "
                                  "integer",
                                  value)));
  }
  return {};
}

// "(a, b,c)": an empty item is the empty value.
Result<std::vector<std::string>> parse_values(Lexer& lexer) {
  if (const Token open = lexer.next(); open.text != "(") return fail(bad_requirement(open.text, "'('"));
  std::vector<std::string> values;
  bool want_value = true;
  for (;;) {
    const Token token = lexer.next();
    if (token.kind == Token::Kind::word && want_value) {
      values.emplace_back(token.text);
      want_value = false;
    } else if (token.text == ",") {
      if (want_value) values.emplace_back();
      want_value = true;
    } else if (token.text == ")") {
      if (want_value) values.emplace_back();
      return values;
    } else {
      return fail(bad_requirement(token.text, "',', ')' or identifier"));
    }
  }
}

Result<LabelSelector::Requirement> parse_requirement(Lexer& lexer) {
  using Operator = LabelSelector::Operator;
  LabelSelector::Requirement r;
  Token token = lexer.next();
  if (token.text == "!") {
    r.op = Operator::not_exists;
    token = lexer.next();
  }
  if (token.kind != Token::Kind::word) return fail(bad_requirement(token.text, "identifier"));
  r.key = token.text;
  const Token after = lexer.peek();
  if (r.op == Operator::not_exists) return r;
  if (after.kind == Token::Kind::end || after.text == ",") {
    r.op = Operator::exists;
    return r;
  }
  const Token op = lexer.next();
  if (op.text == "in" || op.text == "notin") {
    r.op = op.text == "in" ? Operator::in : Operator::not_in;
    DURE_TRY(r.values, parse_values(lexer));
    std::sort(r.values.begin(), r.values.end());
    return r;
  }
  if (op.text == "=" || op.text == "==")
    r.op = Operator::in;
  else if (op.text == "!=")
    r.op = Operator::not_in;
  else if (op.text == ">")
    r.op = Operator::greater;
  else if (op.text == "<")
    r.op = Operator::less;
  else
    return fail(bad_requirement(op.text, "in, notin, =, ==, !=, gt, lt"));
  const Token value = lexer.peek();
  if (value.kind == Token::Kind::word)
    r.values.emplace_back(lexer.next().text);
  else if (value.kind == Token::Kind::end || value.text == ",")
    r.values.emplace_back();
  else
    return fail(bad_requirement(value.text, "identifier"));
  return r;
}

const std::string* find_label(const LabelList& labels, std::string_view key) {
  for (const auto& [name, value] : labels)
    if (name == key) return &value;
  return nullptr;
}

bool requirement_matches(const LabelSelector::Requirement& r, const LabelList& labels) {
  using Operator = LabelSelector::Operator;
  const std::string* value = find_label(labels, r.key);
  const auto listed = [&] { return std::find(r.values.begin(), r.values.end(), *value) != r.values.end(); };
  switch (r.op) {
    case Operator::in:
      return value && listed();
    case Operator::not_in:
      return !value || !listed();
    case Operator::exists:
      return value != nullptr;
    case Operator::not_exists:
      return value == nullptr;
    case Operator::greater:
    case Operator::less: {
      if (!value) return false;
      const auto have = parse_int(*value), bound = parse_int(r.values[0]);
      if (!have || !bound) return false;
      return r.op == Operator::greater ? *have > *bound : *have < *bound;
    }
  }
  return false;
}

// --- Fields: terms at unescaped commas; "=", "==" or "!="; backslash before , = or backslash.
std::vector<std::string> split_terms(std::string_view text) {
  std::vector<std::string> terms(1);
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) {
      terms.back() += text[i];
      terms.back() += text[++i];
    } else if (text[i] == ',') {
      terms.emplace_back();
    } else {
      terms.back() += text[i];
    }
  }
  return terms;
}

Result<std::string> unescape_value(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') {
      if (i + 1 >= text.size() || (text[i + 1] != '\\' && text[i + 1] != ',' && text[i + 1] != '='))
        return fail(bad_request(fmt::format("invalid field selector: invalid escape sequence in value: {}", text)));
      out += text[++i];
    } else if (text[i] == '=') {
      return fail(bad_request(fmt::format("invalid field selector: unescaped character in value: {}", text)));
    } else {
      out += text[i];
    }
  }
  return out;
}

Result<FieldSelector::Term> parse_term(std::string_view text) {
  size_t at = 0;
  while (at < text.size() && text[at] != '=' && text[at] != '!') at += text[at] == '\\' ? 2 : 1;
  FieldSelector::Term term;
  size_t value_at = std::string_view::npos;
  if (at < text.size()) {
    if (text.substr(at, 2) == "!=") {
      term.equal = false;
      value_at = at + 2;
    } else if (text.substr(at, 2) == "==") {
      value_at = at + 2;
    } else if (text[at] == '=') {
      value_at = at + 1;
    }
  }
  if (value_at == std::string_view::npos)
    return fail(bad_request(fmt::format("invalid selector: '{}'; can't understand '{}'", text, text)));
  term.field = text.substr(0, at);
  DURE_TRY(term.value, unescape_value(text.substr(value_at)));
  return term;
}

bool known_field(std::string_view field, std::span<const std::string_view> known, bool namespaced) {
  if (field == "metadata.name" || (namespaced && field == "metadata.namespace")) return true;
  return std::find(known.begin(), known.end(), field) != known.end();
}

// What a field reads as when it is not there: upstream's selectable booleans read "false".
std::string field_text(std::string_view json, std::string_view field) {
  const std::string_view raw = json_path(json, field);
  if (!raw.empty() && raw[0] == '[') {  // the first item's only member or itself: status.podIPs
    JsonCursor items(raw);
    if (!items.next()) return {};
    if (items.value().starts_with('{')) {
      JsonCursor members(items.value());
      return members.next() ? json_text(members.value()) : std::string{};
    }
    return json_text(items.value());
  }
  return json_text(raw);
}

bool term_matches(const FieldSelector::Term& term, std::string_view json) {
  const std::string have = field_text(json, term.field);
  bool equal = have == term.value;
  if (!equal && have.empty()) equal = term.value == "false" || term.value == "0";
  return equal == term.equal;
}

}  // namespace

Result<LabelSelector> LabelSelector::parse(std::string_view text) {
  LabelSelector selector;
  Lexer lexer(text);
  if (lexer.peek().kind == Token::Kind::end) return selector;
  for (;;) {
    DURE_TRY(Requirement r, parse_requirement(lexer));
    DURE_CHECK(check_requirement(r));
    selector.requirements_.push_back(std::move(r));
    const Token token = lexer.next();
    if (token.kind == Token::Kind::end) return selector;
    if (token.text != ",") return fail(bad_requirement(token.text, "',' or 'end of string'"));
    if (const Token after = lexer.peek(); after.kind == Token::Kind::end)
      return fail(bad_requirement("", "identifier after ','"));
  }
}

bool LabelSelector::matches(const LabelList& labels) const {
  for (const Requirement& r : requirements_)
    if (!requirement_matches(r, labels)) return false;
  return true;
}

Result<FieldSelector> FieldSelector::parse(std::string_view text, std::span<const std::string_view> known,
                                           bool namespaced) {
  FieldSelector selector;
  for (const std::string& part : split_terms(text)) {
    if (part.empty()) continue;
    DURE_TRY(Term term, parse_term(part));
    if (!known_field(term.field, known, namespaced))
      return fail(bad_request(fmt::format("field label not supported: {}", term.field)));
    selector.terms_.push_back(std::move(term));
  }
  return selector;
}

std::string_view FieldSelector::required(std::string_view field) const {
  for (const Term& term : terms_)
    if (term.equal && term.field == field) return term.value;
  return {};
}

bool FieldSelector::matches(std::string_view stored_json) const {
  for (const Term& term : terms_)
    if (!term_matches(term, stored_json)) return false;
  return true;
}

LabelList labels_of(std::string_view stored_json) {
  LabelList labels;
  JsonCursor cursor(json_path(stored_json, "metadata.labels"));
  while (cursor.next())
    labels.emplace_back(json_text('"' + std::string(cursor.key()) + '"'), json_text(cursor.value()));
  return labels;
}

}  // namespace dure::apiserver
