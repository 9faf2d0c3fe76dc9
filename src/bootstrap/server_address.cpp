#include "bootstrap/server_address.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "base/ip.h"
#include "base/text.h"

namespace dure::bootstrap {
namespace {

Error garbled(std::string_view text, std::string_view why, std::string fix) {
  return Error{400, "AddressGarbled", fmt::format("\"{}\" is not an address: {}", text, why), std::move(fix)};
}

struct Foreign {
  size_t at = 0, size = 0;
  uint32_t code = 0;
};

// The first character outside ASCII; of broken UTF-8 its byte.
std::optional<Foreign> first_foreign(std::string_view text) {
  for (size_t at = 0; at < text.size(); ++at) {
    const auto lead = static_cast<unsigned char>(text[at]);
    if (lead < 0x80) continue;
    const size_t size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
    uint32_t code = size == 1 ? lead : lead & (0xff >> (size + 1));
    for (size_t i = 1; i < size && at + i < text.size(); ++i)
      code = code << 6 | (static_cast<unsigned char>(text[at + i]) & 0x3f);
    return Foreign{at, std::min(size, text.size() - at), code};
  }
  return std::nullopt;
}

std::string shown(std::string_view text, const Foreign& foreign) {
  return fmt::format("\"{}\" (U+{:04X})", text.substr(foreign.at, foreign.size), foreign.code);
}

bool is_host_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
}

bool looks_like_v4(std::string_view host) { return host.find_first_not_of("0123456789.") == std::string_view::npos; }

// Why `host` can be neither a name nor an address; empty: it can.
std::string host_problem(std::string_view host) {
  if (host.empty()) return "there is no host in it";
  if (looks_like_v4(host) && !Ip::parse(host)) return "an IPv4 address has four numbers from 0 to 255";
  if (host.size() > 253) return "a host name has at most 253 characters";
  for (const std::string_view label : split(host.ends_with('.') ? host.substr(0, host.size() - 1) : host, '.'))
    if (label.empty() || label.size() > 63 || label.front() == '-' || label.back() == '-')
      return fmt::format("\"{}\" is not a part of a host name", label);
  return {};
}

// The text up to the first character that cannot belong to an address.
std::string plain_part(std::string_view text) {
  const auto end = std::ranges::find_if(text, [](char c) { return !is_host_character(c) && c != ':'; });
  std::string out(text.begin(), end);
  while (!out.empty() && (out.back() == ':' || out.back() == '.')) out.pop_back();
  return out;
}

std::string try_instead(std::string_view text) {
  const std::string plain = plain_part(text);
  return plain.empty() ? "give HOST:PORT, such as 192.168.0.10:6443" : "if that is what was meant: " + plain;
}

// What surrounds the host and port: scheme, slash at the end.
Result<std::string_view> without_scheme(std::string_view text) {
  std::string_view rest = text;
  if (rest.starts_with("http://"))
    return fail(Error{400, "PlainHttp", fmt::format("{} is plain HTTP, and the server speaks TLS only", text),
                      fmt::format("https://{}", rest.substr(7))});
  if (rest.starts_with("https://")) rest.remove_prefix(8);
  if (rest.ends_with('/')) rest.remove_suffix(1);
  return rest;
}

Status check_characters(std::string_view text, std::string_view rest) {
  if (const auto foreign = first_foreign(rest))
    return fail(garbled(text,
                        fmt::format("it holds {}, as copied text does that had a footnote", shown(rest, *foreign)),
                        try_instead(rest)));
  if (rest.find_first_of("<>") != std::string_view::npos)
    return fail(garbled(text, "it is a placeholder", "put the server's own address there"));
  if (const size_t at = rest.find('/'); at != std::string_view::npos)
    return fail(garbled(text, "it holds a path", try_instead(rest)));
  return {};
}

}  // namespace

std::string ServerAddress::text() const {
  const bool v6 = host.find(':') != std::string::npos;
  return fmt::format("{}{}{}:{}", v6 ? "[" : "", host, v6 ? "]" : "", port);
}

Result<ServerAddress> parse_server_address(std::string_view text) {
  DURE_TRY(std::string_view rest, without_scheme(trim(text)));
  DURE_CHECK(check_characters(text, rest));
  ServerAddress out;
  if (const auto v6 = Ip::parse(rest); v6 && v6->v6) {
    out.host = v6->text();  // one spelling: the same address is the same server
    return out;
  }
  std::string_view port;
  if (rest.starts_with('[')) {
    const size_t end = rest.find(']');
    const auto ip = Ip::parse(rest.substr(1, end == std::string_view::npos ? end : end - 1));
    if (!ip || end == std::string_view::npos)
      return fail(garbled(text, "there is no address in the brackets", try_instead("")));
    out.host = ip->text();
    rest = rest.substr(end + 1);
    if (!rest.empty() && rest[0] != ':') return fail(garbled(text, "something follows the brackets", out.text()));
    port = rest.empty() ? rest : rest.substr(1);
    if (rest.empty()) return out;
  } else {
    const size_t colon = rest.find(':');
    out.host = rest.substr(0, colon);
    if (const auto bad = std::ranges::find_if_not(out.host, is_host_character); bad != out.host.end())
      return fail(garbled(text, fmt::format("\"{}\" cannot be part of it", *bad), try_instead(rest)));
    if (const std::string why = host_problem(out.host); !why.empty())
      return fail(garbled(text, why, "give HOST:PORT, such as 192.168.0.10:6443"));
    if (colon == std::string_view::npos) return out;
    port = rest.substr(colon + 1);
  }
  const auto number = port.size() <= 5 && port.find_first_not_of("0123456789") == std::string_view::npos
                          ? parse_int(port)
                          : std::nullopt;
  if (!number || *number < 1 || *number > 65535)
    return fail(garbled(text, fmt::format("\"{}\" is not a port", port), try_instead(out.host + ":6443")));
  out.port = static_cast<int>(*number);
  return out;
}

Status check_own_address(std::string_view flag, std::string_view text) {
  if (Ip::parse(text)) return {};
  const auto problem = parse_server_address(text);
  const std::string why = problem ? fmt::format("\"{}\" is not one IP address", text) : problem.error().message;
  const std::string plain = plain_part(text);
  return fail(Error{400, "AddressGarbled", fmt::format("{}: {}", flag, why),
                    Ip::parse(plain)
                        ? fmt::format("{} {}", flag, plain)
                        : fmt::format("leave {} away, and the address of the default route is taken", flag)});
}

Status check_plain_text(std::string_view argument) {
  const auto foreign = first_foreign(argument);
  if (!foreign) return {};
  return fail(
      Error{400, "GarbledArgument",
            fmt::format("the argument \"{}\" holds {}: text that was copied often brings such a character along",
                        argument, shown(argument, *foreign)),
            "type the line again with plain quotes, dashes and spaces"});
}

}  // namespace dure::bootstrap
