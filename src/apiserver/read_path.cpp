// Reads: one object, a list with its selectors and pages, and what a watch begins with.
#include <algorithm>

#include <fmt/format.h>

#include "apiserver/api_state.h"
#include "apiserver/metadata.h"
#include "apiserver/peek.h"
#include "base/text.h"

namespace dure::apiserver {

namespace {

// --- resourceVersion

// Absent, empty: nothing asked.
Result<std::optional<store::Revision>> asked_version(const ListOptions& options) {
  if (!options.resource_version || options.resource_version->empty()) return std::nullopt;
  const std::string& text = *options.resource_version;
  const bool digits = text.find_first_not_of("0123456789") == std::string::npos;
  const auto value = digits ? parse_int(text) : std::nullopt;
  if (!value)
    return fail(bad_request(fmt::format(
        "resourceVersion: Invalid value: \"{0}\": strconv.ParseUint: parsing \"{0}\": invalid syntax", text)));
  return *value;
}

Status not_older(const Api::State& state, std::optional<store::Revision> asked) {
  const store::Revision current = state.store.revision();
  if (asked && *asked > current) return fail(too_large_resource_version(*asked, current));
  return {};
}

// --- continue tokens: where the next page starts and of which revision it is a picture (-1: of the newest).

constexpr std::string_view token_version = "meta.k8s.io/v1";
constexpr std::string_view continue_expired =
    "The provided continue parameter is too old to display a consistent list result. You can start a new "
    "list without the "
    "continue parameter, or use the continue token in this response to retrieve the remainder of the "
    "results. Continuing with "
    "the provided token results in an inconsistent list - objects that were created, modified, or deleted "
    "between the time the "
    "first chunk was returned and now may show up in the list.";

struct ContinueToken {
  store::Revision revision = 0;
  std::string start;  // relative to the prefix of the whole resource
};

std::string write_token(const ContinueToken& token) {
  std::string json = fmt::format("{{\"v\":\"{}\",\"rv\":{},\"start\":", token_version, token.revision);
  append_json_string(json, token.start);
  return base64url_encode(json + "}");
}

Result<ContinueToken> read_token(std::string_view text) {
  while (text.ends_with('=')) text.remove_suffix(1);
  auto json = base64url_decode(text);
  ContinueToken token;
  if (!json) return fail(bad_request("continue key is not valid: illegal base64 data"));
  const auto revision = parse_int(json_text(json_member(*json, "rv")));
  token.start = json_text(json_member(*json, "start"));
  if (json_text(json_member(*json, "v")) != token_version || !revision || *revision == 0 || token.start.empty())
    return fail(bad_request("continue key is not valid: server does not recognize this encoded version"));
  if (token.start.starts_with('/') || token.start.find("..") != std::string::npos)
    return fail(bad_request("continue key is not valid"));
  token.revision = *revision;
  return token;
}

// --- the range that a list covers

struct Span {
  std::string start, end;
};

Span span_of(const Served& served, const ApiRequest& request, const Selector& selector) {
  const std::string_view one = selector.fields.required("metadata.name");
  std::string_view ns = request.namespace_;
  if (ns.empty()) ns = selector.fields.required("metadata.namespace");
  if (!served.resource->namespaced) ns = {};
  if (!one.empty() && (!ns.empty() || !served.resource->namespaced)) {
    std::string key = served.key(ns, one);
    return {key, key + '\0'};
  }
  const std::string prefix = served.key_prefix(ns);
  return {prefix, store::prefix_end(prefix)};
}

struct Picture {
  store::Revision at = 0;  // 0: the newest
  bool inconsistent = false;
};

Result<Picture> picture_of(const Api::State& state, const ListOptions& options) {
  DURE_TRY(const auto asked, asked_version(options));
  if (!asked || *asked == 0) return Picture{};
  DURE_CHECK(not_older(state, asked));
  const bool exact =
      options.resource_version_match == "Exact" || (options.resource_version_match.empty() && options.limit > 0);
  return Picture{exact ? *asked : 0};
}

Error expired_page(const Served& served, const ContinueToken& token) {
  Error error = gone(continue_expired);
  error.remedy = write_token({-1, token.start});  // becomes metadata.continue of the Status
  return about(std::move(error), *served.resource, "");
}

struct Collector {
  const Selector& selector;
  size_t limit;
  ListResult& result;
  // Takes matching entries; true when the page is full, then `rest` is how many of `entries` were not looked at.
  bool take(std::vector<store::Entry>& entries, size_t& used) {
    for (used = 0; used < entries.size(); ++used) {
      if (limit > 0 && result.entries.size() == limit) return true;
      store::Entry& entry = entries[used];
      if (!selector.empty() && !selector.matches(stored_json(entry.value.view()))) continue;
      result.entries.push_back(std::move(entry));
    }
    return false;
  }
};

constexpr size_t scan_page = 500;

Status collect(const Api::State& state, const Served& served, Span span, store::Revision at, const Selector& selector,
               size_t limit, ListResult& result) {
  Collector collector{selector, limit, result};
  for (;;) {
    const size_t ask = limit == 0         ? 0
                       : selector.empty() ? limit + 1 - result.entries.size()
                                          : std::max(limit + 1, scan_page);
    DURE_TRY(store::Page page,
             state.store.range({.start = span.start, .end = span.end, .at_revision = at, .limit = ask}));
    if (result.revision == 0) result.revision = page.revision;
    at = page.revision;
    const size_t got = page.entries.size();
    std::string last = got > 0 ? page.entries.back().key : std::string{};
    if (collector.selector.empty() && limit == 0) {
      result.entries = std::move(page.entries);
      return {};
    }
    size_t used = 0;
    if (collector.take(page.entries, used)) {
      const std::string& next = page.entries[used].key;
      result.continue_token = write_token({at, next.substr(served.prefix.size())});
      if (selector.empty()) result.remaining = static_cast<int64_t>(got - used + page.remaining);
      return {};
    }
    if (page.remaining == 0) return {};
    span.start = last + '\0';
  }
}

void set_replicas(schema::Document& scale, std::string_view part, const schema::Node* from) {
  schema::Node* node = scale.member(scale.root(), part);
  if (node->is_null()) scale.make_object(node);
  scale.set(scale.member(node, "replicas"), from ? from->integer() : int64_t{0});
}

std::string expression_text(const schema::Node* expression) {
  const schema::Node *key = expression->find("key"), *op = expression->find("operator"),
                     *values = expression->find("values");
  const std::string name(key ? key->string() : "");
  const std::string_view how = op ? op->string() : "";
  if (how == "Exists") return name;
  if (how == "DoesNotExist") return "!" + name;
  std::vector<std::string> list;
  for (const schema::Node* v = values ? values->first() : nullptr; v; v = v->next()) list.emplace_back(v->string());
  std::sort(list.begin(), list.end());
  return fmt::format("{} {} ({})", name, how == "In" ? "in" : "notin", join(list, ","));
}

// A LabelSelector object (or a plain map of labels) in its text form.
std::string selector_text(const schema::Node* selector) {
  std::vector<std::string> parts;
  const schema::Node* labels = selector ? selector->find("matchLabels") : nullptr;
  const schema::Node* expressions = selector ? selector->find("matchExpressions") : nullptr;
  if (!labels && !expressions) labels = selector;
  for (const schema::Node* l = labels ? labels->first() : nullptr; l; l = l->next())
    parts.push_back(fmt::format("{}={}", l->key(), l->string()));
  for (const schema::Node* e = expressions ? expressions->first() : nullptr; e; e = e->next())
    parts.push_back(expression_text(e));
  return join(parts, ",");
}

}  // namespace

Result<Selector> parse_selectors(const Served& served, const ListOptions& options) {
  Selector selector;
  DURE_TRY(selector.labels, LabelSelector::parse(options.label_selector));
  DURE_TRY(selector.fields,
           FieldSelector::parse(options.field_selector, served.resource->field_selectors, served.resource->namespaced));
  return selector;
}

Result<StoredObject> read_object(const Api::State& state, const Served& served, const ApiRequest& request) {
  DURE_TRY(const auto asked, asked_version(request.list));
  DURE_CHECK(not_older(state, asked));
  auto entry = state.store.get(served.key(request.namespace_, request.name));
  if (!entry) return fail(about(not_found(served.resource->qualified(), request.name), *served.resource, request.name));
  return StoredObject{&served, std::move(entry->value), entry->mod_revision};
}

Result<ListResult> read_list(const Api::State& state, const Served& served, const ApiRequest& request) {
  DURE_TRY(const Selector selector, parse_selectors(served, request.list));
  ListResult result;
  result.served = &served;
  Span span = span_of(served, request, selector);
  DURE_TRY(Picture picture, picture_of(state, request.list));
  ContinueToken token;
  if (!request.list.continue_token.empty()) {
    if (request.list.resource_version && !request.list.resource_version->empty() &&
        *request.list.resource_version != "0")
      return fail(bad_request("specifying resource version is not allowed when using continue"));
    DURE_TRY(token, read_token(request.list.continue_token));
    const std::string start = served.prefix + token.start;
    if (start < span.start || start >= span.end) return fail(bad_request("continue key is not valid"));
    span.start = start;
    picture.at = std::max<store::Revision>(token.revision, 0);
  }
  const size_t limit = static_cast<size_t>(request.list.limit);
  Status collected = collect(state, served, span, picture.at, selector, limit, result);
  if (collected) return result;
  if (collected.error().code == 410 && !token.start.empty()) return fail(expired_page(served, token));
  if (collected.error().code == 410)
    return fail(gone(fmt::format("The resourceVersion for the provided list is too old.")));
  return fail(std::move(collected).error());
}

Result<WatchRequest> plan_watch(const Api::State& state, const Served& served, const ApiRequest& request) {
  WatchRequest plan;
  plan.served = &served;
  plan.namespace_ = request.namespace_;
  DURE_TRY(plan.selector, parse_selectors(served, request.list));
  plan.name = plan.selector.fields.required("metadata.name");
  if (plan.name.empty()) plan.name = request.name;
  plan.bookmarks = request.list.allow_watch_bookmarks;
  const bool initial_wanted = request.list.send_initial_events.value_or(false);
  if (initial_wanted && !plan.bookmarks)
    return fail(invalid(
        "meta.k8s.io", "ListOptions", "",
        {{"FieldValueForbidden", "Forbidden: sendInitialEvents requires allowWatchBookmarks", "allowWatchBookmarks"}}));
  DURE_TRY(const auto asked, asked_version(request.list));
  DURE_CHECK(not_older(state, asked));
  const bool from_now = !asked || *asked == 0;
  const bool initial = request.list.send_initial_events ? initial_wanted : from_now;
  if (!initial) {
    plan.after = from_now ? state.store.revision() : *asked;
    return plan;
  }
  ApiRequest list;
  list.namespace_ = request.namespace_;
  list.list.label_selector = request.list.label_selector;
  list.list.field_selector = request.list.field_selector;
  if (!request.name.empty() && list.list.field_selector.empty())
    list.list.field_selector = "metadata.name=" + request.name;
  DURE_TRY(ListResult now, read_list(state, served, list));
  plan.initial = std::move(now.entries);
  plan.after = now.revision;
  plan.mark_initial_end = initial_wanted;
  return plan;
}

Result<schema::Document> read_scale(const Served& served, const schema::Document& object) {
  const schema::Subresource* sub = served.resource->subresource("scale");
  if (!sub || !sub->type) return fail(no_such_resource());
  schema::Document scale(*sub->type);
  schema::Node* root = scale.root();
  scale.set(scale.member(root, "kind"), sub->kind);
  scale.set(scale.member(root, "apiVersion"), std::string(sub->group) + "/" + std::string(sub->version));
  schema::Node* metadata = scale.member(root, "metadata");
  scale.make_object(metadata);
  for (const std::string_view key : {"name", "namespace", "uid", "resourceVersion", "creationTimestamp"})
    if (const std::string_view value = metadata_text(object, key); !value.empty())
      scale.set(scale.member(metadata, key), value);
  set_replicas(scale, "spec", object.root()->find("spec", "replicas"));
  set_replicas(scale, "status", object.root()->find("status", "replicas"));
  if (const std::string text = selector_text(object.root()->find("spec", "selector")); !text.empty())
    scale.set(scale.member(scale.member(root, "status"), "selector"), text);
  return scale;
}

}  // namespace dure::apiserver
