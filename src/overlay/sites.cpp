#include "overlay/sites.h"

#include <algorithm>
#include <numeric>
#include <set>

#include <fmt/format.h>

namespace dure::overlay {
namespace {

// FNV-1a: a name, not a secret.
std::string name_from(std::string_view identity) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : identity) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return fmt::format("site-{:06x}", (hash ^ hash >> 32) & 0xffffff);
}

// The connected parts, each a list of indices.
std::vector<std::vector<size_t>> parts_of(const std::vector<SiteMember>& members) {
  std::vector<size_t> root(members.size());
  std::iota(root.begin(), root.end(), size_t{0});
  const auto find = [&](size_t i) {
    while (root[i] != i) i = root[i] = root[root[i]];
    return i;
  };
  for (size_t i = 0; i < members.size(); ++i)
    for (const std::string& name : members[i].lan) {
      const auto at = std::ranges::lower_bound(members, name, {}, &SiteMember::node);
      if (at == members.end() || at->node != name) continue;
      root[find(i)] = find(static_cast<size_t>(at - members.begin()));
    }
  std::map<size_t, std::vector<size_t>> parts;
  for (size_t i = 0; i < members.size(); ++i) parts[find(i)].push_back(i);
  std::vector<std::vector<size_t>> out;
  for (auto& [first, part] : parts) out.push_back(std::move(part));
  return out;
}

struct Claim {
  size_t votes;
  std::string name;
  size_t part;
};

}  // namespace

std::map<std::string, std::string> name_sites(std::vector<SiteMember> members) {
  std::ranges::sort(members, {}, &SiteMember::node);
  const auto parts = parts_of(members);
  std::vector<Claim> claims;
  for (size_t part = 0; part < parts.size(); ++part) {
    std::map<std::string, size_t> votes;
    for (const size_t i : parts[part])
      if (!members[i].site.empty()) ++votes[members[i].site];
    for (const auto& [name, count] : votes) claims.push_back({count, name, part});
  }
  // The strongest claim first; a name goes to one part, and a part takes one name.
  std::ranges::sort(claims, [](const Claim& a, const Claim& b) {
    return a.votes != b.votes ? a.votes > b.votes : a.name != b.name ? a.name < b.name : a.part < b.part;
  });
  std::vector<std::string> names(parts.size());
  std::set<std::string> taken;
  for (const Claim& claim : claims)
    if (names[claim.part].empty() && taken.insert(claim.name).second) names[claim.part] = claim.name;
  std::map<std::string, std::string> out;
  for (size_t part = 0; part < parts.size(); ++part) {
    if (names[part].empty()) {
      std::vector<std::string> identities;
      for (const size_t i : parts[part]) identities.push_back(members[i].identity);
      std::ranges::sort(identities);
      for (size_t i = 0; names[part].empty(); ++i) {  // the first member's, unless another site has it by chance
        const std::string name = name_from(identities[i % identities.size()] + std::string(i / identities.size(), '+'));
        if (taken.insert(name).second) names[part] = name;
      }
    }
    for (const size_t i : parts[part]) out[members[i].node] = names[part];
  }
  return out;
}

}  // namespace dure::overlay
