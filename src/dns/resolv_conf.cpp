#include "dns/resolv_conf.h"

#include <algorithm>

#include "base/text.h"

namespace dure::dns {

namespace {
constexpr size_t upstream_max = 3;  // as resolvers read it
}

std::vector<Ip> upstream_of(std::string_view resolv_conf, const std::vector<Ip>& own) {
  std::vector<Ip> out;
  for (std::string_view line : split(resolv_conf, '\n')) {
    line = trim(line);
    constexpr std::string_view word = "nameserver";
    if (!line.starts_with(word) || line.size() == word.size()) continue;
    std::string_view rest = line.substr(word.size());
    if (rest[0] != ' ' && rest[0] != '\t') continue;
    rest = trim(rest);
    auto ip = Ip::parse(rest.substr(0, rest.find_first_of(" \t#;")));
    bool usable = ip && std::ranges::find(own, *ip) == own.end() && std::ranges::find(out, *ip) == out.end();
    if (usable && out.size() < upstream_max) out.push_back(*ip);
  }
  return out;
}

}  // namespace dure::dns
