#include "apiserver/names.h"

#include <fmt/format.h>

namespace dure::apiserver {

namespace {

constexpr std::string_view label_regex = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
constexpr std::string_view label_1035_regex = "[a-z]([-a-z0-9]*[a-z0-9])?";
constexpr std::string_view qualified_regex = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_alnum(char c) { return is_lower(c) || is_digit(c) || (c >= 'A' && c <= 'Z'); }
bool is_lower_alnum(char c) { return is_lower(c) || is_digit(c); }

bool label_shape(std::string_view text) {
  if (text.empty() || !is_lower_alnum(text.front()) || !is_lower_alnum(text.back())) return false;
  for (const char c : text)
    if (!is_lower_alnum(c) && c != '-') return false;
  return true;
}

bool subdomain_shape(std::string_view text) {
  for (;;) {
    const size_t dot = text.find('.');
    if (!label_shape(text.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    text.remove_prefix(dot + 1);
  }
}

bool qualified_shape(std::string_view text) {
  if (text.empty() || !is_alnum(text.front()) || !is_alnum(text.back())) return false;
  for (const char c : text)
    if (!is_alnum(c) && c != '-' && c != '_' && c != '.') return false;
  return true;
}

std::string too_long(size_t most) { return fmt::format("must be no more than {} characters", most); }

std::string subdomain_problem(std::string_view name) {
  if (name.size() > 253) return too_long(253);
  if (subdomain_shape(name)) return {};
  return fmt::format(
      "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and "
      "must start and "
      "end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{0}(\\.{0})*')",
      label_regex);
}

std::string label_problem(std::string_view name) {
  if (name.size() > 63) return too_long(63);
  if (label_shape(name)) return {};
  return fmt::format(
      "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start "
      "and end with an "
      "alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{}')",
      label_regex);
}

std::string label_1035_problem(std::string_view name) {
  if (name.size() > 63) return too_long(63);
  if (label_shape(name) && is_lower(name.front())) return {};
  return fmt::format(
      "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
      "character, and "
      "end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '{}')",
      label_1035_regex);
}

std::string path_segment_problem(std::string_view name) {
  if (name == "." || name == "..") return fmt::format("may not be '{}'", name);
  for (const char c : {'/', '%'})
    if (name.find(c) != std::string_view::npos) return fmt::format("may not contain '{}'", c);
  return {};
}

std::string qualified_problem(std::string_view what) {
  return fmt::format(
      "{} must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
      "alphanumeric character "
      "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{}')",
      what, qualified_regex);
}

}  // namespace

bool is_dns_subdomain(std::string_view text) { return text.size() <= 253 && subdomain_shape(text); }
bool is_dns_label(std::string_view text) { return text.size() <= 63 && label_shape(text); }

std::string name_problem(std::string_view name, kinds::NameRule rule) {
  switch (rule) {
    case kinds::NameRule::subdomain:
      return subdomain_problem(name);
    case kinds::NameRule::label:
      return label_problem(name);
    case kinds::NameRule::label_1035:
      return label_1035_problem(name);
    case kinds::NameRule::path_segment:
      return path_segment_problem(name);
  }
  return {};
}

std::string label_key_problem(std::string_view key) {
  std::string_view name = key;
  if (const size_t slash = key.find('/'); slash != std::string_view::npos) {
    const std::string_view prefix = key.substr(0, slash);
    name = key.substr(slash + 1);
    if (prefix.empty()) return "prefix part must be non-empty";
    if (const std::string why = subdomain_problem(prefix); !why.empty()) return "prefix part " + why;
    if (name.find('/') != std::string_view::npos)
      return "a qualified name " + qualified_problem("").substr(1) +
             " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
  }
  if (name.empty()) return "name part must be non-empty";
  if (name.size() > 63) return "name part " + too_long(63);
  return qualified_shape(name) ? std::string{} : qualified_problem("name part");
}

std::string label_value_problem(std::string_view value) {
  if (value.size() > 63) return too_long(63);
  if (value.empty() || qualified_shape(value)) return {};
  return fmt::format(
      "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and "
      "must start and end "
      "with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for "
      "validation is '({})?')",
      qualified_regex);
}

}  // namespace dure::apiserver
