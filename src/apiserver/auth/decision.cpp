#include "apiserver/auth/decision.h"

namespace dure::apiserver {
namespace {

// The sentence ends up in terminals and web pages: upstream takes the three characters out, and
// clients compare.
std::string sanitized(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else
      out += c;
  }
  return out;
}

std::string who_cannot_what(const User& user, const Attributes& a) {
  const std::string start = "User " + quoted(user.name) + " cannot " + std::string(a.verb);
  if (!a.is_resource()) return start + " path " + quoted(a.path);
  std::string resource(a.resource);
  if (!a.subresource.empty()) resource.append("/").append(a.subresource);
  const std::string what = start + " resource " + quoted(resource) + " in API group " + quoted(a.group);
  return a.namespace_.empty() ? what + " at the cluster scope" : what + " in the namespace " + quoted(a.namespace_);
}

}  // namespace

std::string quoted(std::string_view text) {
  constexpr std::string_view hex = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\')
      out.append(1, '\\').append(1, c);
    else if (c == '\n')
      out += "\\n";
    else if (c == '\r')
      out += "\\r";
    else if (c == '\t')
      out += "\\t";
    else if (byte < 0x20 || byte == 0x7f)
      out.append("\\x").append(1, hex[byte >> 4]).append(1, hex[byte & 15]);
    else
      out += c;
  }
  return out + "\"";
}

Error refused_object(std::string_view group, std::string_view resource, std::string_view name, std::string_view why) {
  std::string what(resource);
  if (!group.empty()) what.append(".").append(group);
  if (!name.empty()) what.append(" ").append(quoted(name));
  const std::string start = resource.empty() ? "forbidden: " : what + " is forbidden: ";
  Error error = forbidden(start + std::string(why));
  error.details_group = group;
  error.details_kind = resource;
  error.details_name = name;
  return error;
}

Error refused_request(const User& user, const Attributes& a, std::string_view reason) {
  std::string why = sanitized(who_cannot_what(user, a));
  if (!reason.empty()) why.append(": ").append(reason);
  if (!a.is_resource()) return refused_object("", "", "", why);
  return refused_object(a.group, a.resource, a.name, why);
}

}  // namespace dure::apiserver
