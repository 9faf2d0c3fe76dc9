#include "wire/proxy.h"

#include "base/ip.h"
#include "base/text.h"
#include "wire/socket.h"

namespace dure::wire {
namespace {

Error bad_proxy(std::string_view url, std::string_view why) {
  return Error{400, "BadProxy", "the proxy \"" + proxy_without_secret(url) + "\" cannot be used: " + std::string(why),
               "write it as http://HOST:PORT or http://USER:PASSWORD@HOST:PORT"};
}

// "host", "host:port", "[v6]:port", "v6"; port 0: none was given.
HostPort split_entry(std::string_view entry) {
  if (Ip::parse(entry)) return {std::string(entry), 0};
  if (auto with_port = parse_host_port(entry)) return *with_port;
  if (entry.starts_with('[') && entry.ends_with(']')) entry = entry.substr(1, entry.size() - 2);
  return {std::string(entry), 0};
}

bool entry_takes(std::string_view entry, std::string_view host, int port) {
  if (entry == "*") return true;
  const auto ip = Ip::parse(host);
  if (const auto range = IpPrefix::parse(entry)) return ip && range->contains(*ip);
  const HostPort wanted = split_entry(entry);
  if (wanted.port != 0 && wanted.port != port) return false;
  if (ip) return Ip::parse(wanted.host) == ip;
  std::string name = lower(wanted.host);
  if (name.starts_with("*.")) name.erase(0, 1);
  if (name.starts_with('.')) name.erase(0, 1);
  if (name.empty()) return false;
  const std::string asked = lower(host);
  return asked == name || asked.ends_with("." + name);
}

}  // namespace

std::string proxy_without_secret(std::string_view url) {
  const size_t at = url.rfind('@');
  if (at == std::string_view::npos) return std::string(url);
  const size_t scheme = url.find("://");
  const std::string_view front = scheme == std::string_view::npos ? std::string_view() : url.substr(0, scheme + 3);
  return std::string(front) + std::string(url.substr(at + 1));
}

Result<Proxy> parse_proxy(std::string_view url) {
  std::string_view rest = trim(url);
  if (const size_t scheme = rest.find("://"); scheme != std::string_view::npos) {
    if (!equal_ignore_case(rest.substr(0, scheme), "http"))
      return fail(bad_proxy(url, "only plain http:// proxies are spoken to"));
    rest.remove_prefix(scheme + 3);
  }
  rest = rest.substr(0, rest.find('/'));
  Proxy proxy;
  if (const size_t at = rest.rfind('@'); at != std::string_view::npos) {
    proxy.authorization = "Basic " + base64_encode(percent_decode(rest.substr(0, at)));
    rest.remove_prefix(at + 1);
  }
  HostPort target = split_entry(rest);
  if (target.host.empty()) return fail(bad_proxy(url, "it names no host"));
  for (const char c : target.host)
    if (c <= ' ' || c > '~') return fail(bad_proxy(url, "its host is not a name"));
  if (target.port == 0) target.port = 80;
  const bool v6 = target.host.find(':') != std::string::npos;
  proxy.address = (v6 ? "[" + target.host + "]" : target.host) + ":" + std::to_string(target.port);
  return proxy;
}

bool bypasses_proxy(std::string_view no_proxy, std::string_view host, int port) {
  if (equal_ignore_case(host, "localhost")) return true;
  if (const auto ip = Ip::parse(host); ip && ip->is_loopback()) return true;
  for (std::string_view entry : split(no_proxy, ','))
    if (entry = trim(entry); !entry.empty() && entry_takes(entry, host, port)) return true;
  return false;
}

std::string connect_request(const Proxy& proxy, std::string_view target) {
  std::string out = "CONNECT " + std::string(target) + " HTTP/1.1\r\nhost: " + std::string(target) + "\r\n";
  if (!proxy.authorization.empty()) out += "proxy-authorization: " + proxy.authorization + "\r\n";
  return out + "\r\n";
}

Status check_connect_answer(std::string_view answer, const Proxy& proxy) {
  const std::string_view line = answer.substr(0, answer.find('\r'));
  const auto words = split(line, ' ');
  const auto status = words.size() >= 2 && words[0].starts_with("HTTP/1.") ? parse_int(words[1]) : std::nullopt;
  if (status && *status >= 200 && *status < 300) return {};
  Error error{503, "ProxyRefused",
              "the proxy " + proxy.address + " answered \"" + std::string(line.substr(0, 100)) + "\""};
  if (status == 407)
    error = Error{503, "ProxyRefused", "the proxy " + proxy.address + " wants another user and password (407)",
                  "give them in the proxy's address: http://USER:PASSWORD@HOST:PORT"};
  return fail(std::move(error));
}

}  // namespace dure::wire
