#include "apiserver/auth/rbac_rule.h"

#include <algorithm>

#include "apiserver/auth/decision.h"

namespace dure::apiserver {
namespace {

using Texts = std::vector<std::string>;

bool has(const Texts& all, std::string_view one) {
  return std::any_of(all.begin(), all.end(), [&](const std::string& text) { return text == one; });
}
bool has_or_star(const Texts& all, std::string_view one) { return has(all, one) || has(all, "*"); }

bool resource_matches(const std::string& rule, const Attributes& a) {
  if (rule == "*") return true;
  const std::string_view text = rule;
  if (a.subresource.empty()) return text == a.resource;
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos || text.substr(slash + 1) != a.subresource) return false;
  const std::string_view parent = text.substr(0, slash);
  return parent == a.resource || parent == "*";
}

bool path_matches(std::string_view rule, std::string_view path) {
  if (rule == "*" || rule == path) return true;
  if (!rule.ends_with('*')) return false;
  while (rule.ends_with('*')) rule.remove_suffix(1);
  return path.starts_with(rule);
}

bool resource_covered(const Texts& held, std::string_view wanted) {
  if (has_or_star(held, wanted)) return true;
  const size_t slash = wanted.find('/');
  return slash != std::string_view::npos && has(held, "*" + std::string(wanted.substr(slash)));
}

bool path_covered(const Texts& held, std::string_view wanted) {
  return std::any_of(held.begin(), held.end(), [&](std::string_view rule) {
    if (rule == wanted) return true;
    if (!rule.ends_with('*')) return false;
    while (rule.ends_with('*')) rule.remove_suffix(1);
    return wanted.starts_with(rule);
  });
}

// `single` has one verb and either one path, or one group, one resource and at most one name.
bool covers(const PolicyRule& held, const PolicyRule& single) {
  if (!has_or_star(held.verbs, single.verbs[0])) return false;
  if (!single.non_resource_urls.empty()) return path_covered(held.non_resource_urls, single.non_resource_urls[0]);
  if (!has_or_star(held.api_groups, single.api_groups[0])) return false;
  if (!resource_covered(held.resources, single.resources[0])) return false;
  if (held.resource_names.empty()) return true;
  return !single.resource_names.empty() && has(held.resource_names, single.resource_names[0]);
}

void break_down(const PolicyRule& rule, PolicyRules& out) {
  for (const std::string& verb : rule.verbs) {
    for (const std::string& url : rule.non_resource_urls) out.push_back({.verbs = {verb}, .non_resource_urls = {url}});
    for (const std::string& group : rule.api_groups)
      for (const std::string& resource : rule.resources) {
        if (rule.resource_names.empty())
          out.push_back({.verbs = {verb}, .api_groups = {group}, .resources = {resource}});
        for (const std::string& name : rule.resource_names)
          out.push_back({.verbs = {verb}, .api_groups = {group}, .resources = {resource}, .resource_names = {name}});
      }
  }
}

void append_texts(std::string& out, std::string_view title, const Texts& texts) {
  if (texts.empty()) return;
  if (out.size() > 1) out += ", ";
  out.append(title).append(":[");
  for (size_t i = 0; i < texts.size(); ++i) out.append(i ? " " : "").append(quoted(texts[i]));
  out += "]";
}

}  // namespace

bool rule_allows(const PolicyRule& rule, const Attributes& a) {
  if (!has_or_star(rule.verbs, a.verb)) return false;
  if (!a.is_resource())
    return std::any_of(rule.non_resource_urls.begin(), rule.non_resource_urls.end(),
                       [&](const std::string& url) { return path_matches(url, a.path); });
  return has_or_star(rule.api_groups, a.group) &&
         std::any_of(rule.resources.begin(), rule.resources.end(),
                     [&](const std::string& resource) { return resource_matches(resource, a); }) &&
         (rule.resource_names.empty() || has(rule.resource_names, a.name));
}

bool rules_allow(const PolicyRules& rules, const Attributes& attributes) {
  return std::any_of(rules.begin(), rules.end(), [&](const PolicyRule& rule) { return rule_allows(rule, attributes); });
}

PolicyRules not_covered(const PolicyRules& held, const PolicyRules& wanted) {
  PolicyRules singles, missing;
  for (const PolicyRule& rule : wanted) break_down(rule, singles);
  for (PolicyRule& single : singles)
    if (std::none_of(held.begin(), held.end(), [&](const PolicyRule& rule) { return covers(rule, single); }))
      missing.push_back(std::move(single));
  return missing;
}

PolicyRules compact(PolicyRules rules) {
  PolicyRules out;
  for (PolicyRule& rule : rules) {
    const auto same = std::find_if(out.begin(), out.end(), [&](const PolicyRule& other) {
      return other.api_groups == rule.api_groups && other.resources == rule.resources &&
             other.resource_names == rule.resource_names && other.non_resource_urls == rule.non_resource_urls;
    });
    if (same == out.end()) {
      out.push_back(std::move(rule));
      continue;
    }
    for (std::string& verb : rule.verbs)
      if (!has(same->verbs, verb)) same->verbs.push_back(std::move(verb));
  }
  return out;
}

std::string rule_text(const PolicyRule& rule) {
  std::string out = "{";
  append_texts(out, "APIGroups", rule.api_groups);
  append_texts(out, "Resources", rule.resources);
  append_texts(out, "NonResourceURLs", rule.non_resource_urls);
  append_texts(out, "ResourceNames", rule.resource_names);
  append_texts(out, "Verbs", rule.verbs);
  return out + "}";
}

}  // namespace dure::apiserver
