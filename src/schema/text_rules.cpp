#include "schema/text_rules.h"

#include "base/text.h"

namespace dure::schema {

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_letter(char c) { return is_lower(c) || (c >= 'A' && c <= 'Z'); }
bool is_lower_alnum(char c) { return is_lower(c) || is_digit(c); }
bool is_alnum(char c) { return is_letter(c) || is_digit(c); }

bool is_dns_label(std::string_view text) {
  if (text.empty() || !is_lower_alnum(text.front()) || !is_lower_alnum(text.back())) return false;
  for (const char c : text)
    if (!is_lower_alnum(c) && c != '-') return false;
  return true;
}

bool is_dns_subdomain(std::string_view text) {
  for (size_t start = 0; start <= text.size();) {
    const size_t dot = std::min(text.find('.', start), text.size());
    if (!is_dns_label(text.substr(start, dot - start))) return false;
    start = dot + 1;
  }
  return true;
}

// ([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]
bool is_name(std::string_view text) {
  if (text.empty() || !is_alnum(text.front()) || !is_alnum(text.back())) return false;
  for (const char c : text)
    if (!is_alnum(c) && c != '-' && c != '_' && c != '.') return false;
  return true;
}

std::string too_long(int most) { return "must be no more than " + std::to_string(most) + " characters"; }

constexpr std::string_view kNameRule =
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character";
constexpr std::string_view kNameExamples =
    " (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

bool is_ip_v4(std::string_view text) {
  int parts = 0;
  for (const std::string_view part : split(text, '.')) {
    if (++parts > 4 || part.empty() || part.size() > 3 || (part.size() > 1 && part[0] == '0')) return false;
    int value = 0;
    for (const char c : part) {
      if (!is_digit(c)) return false;
      value = value * 10 + (c - '0');
    }
    if (value > 255) return false;
  }
  return parts == 4;
}

bool is_hex_group(std::string_view text) {
  if (text.empty() || text.size() > 4) return false;
  for (const char c : text)
    if (!is_digit(c) && !(c >= 'a' && c <= 'f') && !(c >= 'A' && c <= 'F')) return false;
  return true;
}

// Groups of a side of "::"; -1 when one is broken.
int ip_v6_groups(std::string_view text, bool may_end_in_v4) {
  if (text.empty()) return 0;
  int groups = 0;
  const auto parts = split(text, ':');
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i + 1 == parts.size() && may_end_in_v4 && is_ip_v4(parts[i])) return groups + 2;
    if (!is_hex_group(parts[i])) return -1;
    ++groups;
  }
  return groups;
}

bool is_ip_v6(std::string_view text) {
  const size_t gap = text.find("::");
  if (gap == text.npos) return ip_v6_groups(text, true) == 8;
  const std::string_view right = text.substr(gap + 2);
  if (right.find("::") != right.npos) return false;
  const int left_groups = ip_v6_groups(text.substr(0, gap), false), right_groups = ip_v6_groups(right, true);
  return left_groups >= 0 && right_groups >= 0 && left_groups + right_groups <= 7;
}

}  // namespace

std::string check_dns1123_label(std::string_view text) {
  if (text.size() > 63) return too_long(63);
  if (is_dns_label(text)) return {};
  return "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
         "and must start and end with an "
         "alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
         "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
}

std::string check_dns1123_subdomain(std::string_view text) {
  if (text.size() > 253) return too_long(253);
  if (is_dns_subdomain(text)) return {};
  return "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' "
         "or '.', and must start and end "
         "with an alphanumeric character (e.g. 'example.com', regex used for validation is "
         "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
}

std::string check_dns1035_label(std::string_view text) {
  if (text.size() > 63) return too_long(63);
  if (is_dns_label(text) && is_lower(text.front())) return {};
  return "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with "
         "an alphabetic character, and end "
         "with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation "
         "is '[a-z]([-a-z0-9]*[a-z0-9])?')";
}

std::string check_qualified_name(std::string_view text) {
  const size_t slash = text.find('/');
  std::string_view name = text;
  if (slash != text.npos) {
    if (text.find('/', slash + 1) != text.npos)
      return "a qualified name " + std::string(kNameRule) + std::string(kNameExamples) +
             " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
    if (slash == 0) return "prefix part must be non-empty";
    if (std::string wrong = check_dns1123_subdomain(text.substr(0, slash)); !wrong.empty())
      return "prefix part " + wrong;
    name = text.substr(slash + 1);
  }
  if (name.empty()) return "name part must be non-empty";
  if (name.size() > 63) return "name part " + too_long(63);
  if (is_name(name)) return {};
  return "name part " + std::string(kNameRule) + std::string(kNameExamples);
}

std::string check_label_value(std::string_view text) {
  if (text.size() > 63) return too_long(63);
  if (text.empty() || is_name(text)) return {};
  return "a valid label must be an empty string or " + std::string(kNameRule).substr(5) +
         " (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
         "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
}

std::string check_env_name(std::string_view text) {
  if (text.empty()) return "environment variable name must be non-empty";
  for (const char c : text)
    if (c < 0x20 || c > 0x7E || c == '=')
      return "a valid environment variable name must consist only of printable ASCII characters "
             "other than '='";
  return {};
}

std::string check_port_name(std::string_view text) {
  if (text.size() > 15) return too_long(15);
  bool letter = false, other = false;
  for (const char c : text) {
    letter = letter || is_lower(c);
    other = other || (!is_lower_alnum(c) && c != '-');
  }
  if (other) return "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)";
  if (!letter) return "must contain at least one letter (a-z)";
  if (text.find("--") != text.npos) return "must not contain consecutive hyphens";
  if (text.front() == '-' || text.back() == '-') return "must not begin or end with a hyphen";
  return {};
}

std::string check_ip(std::string_view text) {
  if (is_ip_v4(text) || is_ip_v6(text)) return {};
  return "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
}

std::string check_cidr(std::string_view text) {
  const size_t slash = text.find('/');
  if (slash != text.npos) {
    const std::string_view address = text.substr(0, slash), digits = text.substr(slash + 1);
    const auto length = parse_int(digits);
    const bool plain = !digits.empty() && is_digit(digits[0]) && (digits.size() == 1 || digits[0] != '0');
    if (length && plain && ((is_ip_v4(address) && *length <= 32) || (is_ip_v6(address) && *length <= 128))) return {};
  }
  return "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
}

std::string check_config_key(std::string_view text) {
  if (text.size() > 253) return too_long(253);
  bool plain = !text.empty();
  for (const char c : text) plain = plain && (is_alnum(c) || c == '-' || c == '_' || c == '.');
  if (!plain)
    return "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. "
           "'key.name',  or 'KEY_NAME',  or "
           "'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
  if (text == ".") return "must not be '.'";
  if (text == "..") return "must not be '..'";
  if (text.starts_with("..")) return "must not start with '..'";
  return {};
}

std::string check_http_header(std::string_view text) {
  bool plain = !text.empty();
  for (const char c : text) plain = plain && (is_alnum(c) || c == '-');
  if (plain) return {};
  return "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. "
         "'X-Header-Name', regex used for validation is "
         "'[-A-Za-z0-9]+')";
}

std::string check_path_segment(std::string_view text) {
  if (text == "." || text == "..") return "may not be '" + std::string(text) + "'";
  for (const char c : {'/', '%'})
    if (text.find(c) != text.npos) return std::string("may not contain '") + c + "'";
  return {};
}

std::string check_absolute_path(std::string_view text) {
  return text.starts_with('/') ? std::string() : std::string("must be an absolute path");
}

std::string check_format(Format format, std::string_view text) {
  switch (format) {
    case Format::dns1123_label:
      return check_dns1123_label(text);
    case Format::dns1123_subdomain:
      return check_dns1123_subdomain(text);
    case Format::dns1035_label:
      return check_dns1035_label(text);
    case Format::qualified_name:
      return check_qualified_name(text);
    case Format::label_value:
      return check_label_value(text);
    case Format::env_name:
      return check_env_name(text);
    case Format::port_name:
      return check_port_name(text);
    case Format::ip:
      return check_ip(text);
    case Format::cidr:
      return check_cidr(text);
    case Format::absolute_path:
      return check_absolute_path(text);
    case Format::config_key:
      return check_config_key(text);
    case Format::finalizer:
      return check_qualified_name(text);
    case Format::http_header:
      return check_http_header(text);
    case Format::path_segment:
      return check_path_segment(text);
    default:
      return {};
  }
}

std::string check_name_prefix(Format format, std::string_view text) {
  std::string masked(text);
  if (masked.size() > 1 && masked.back() == '-') {
    masked.pop_back();
    masked.back() = 'a';
  }
  return check_format(format, masked);
}

}  // namespace dure::schema
