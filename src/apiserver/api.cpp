#include "apiserver/api.h"

#include <future>

#include <fmt/format.h>

#include "apiserver/api_state.h"
#include "apiserver/auth/decision.h"
#include "apiserver/auth/user.h"
#include "apiserver/codec.h"
#include "apiserver/metadata.h"
#include "apiserver/path.h"
#include "kinds/kinds.h"

namespace dure::apiserver {

namespace {

std::vector<const schema::Resource*> resources_of(const ApiOptions& options) {
  if (!options.resources.empty()) return options.resources;
  std::vector<const schema::Resource*> all;
  for (const schema::Resource* resource : kinds::resources()) all.push_back(resource);
  return all;
}

bool is_collection(std::string_view verb) { return verb == "list" || verb == "watch" || verb == "deletecollection"; }

Attributes attributes_of(const ApiRequest& request) {
  Attributes a;
  a.verb = request.verb;
  a.group = request.resource->group;
  a.version = request.resource->version;
  a.resource = request.resource->plural;
  a.subresource = request.subresource;
  a.namespace_ = request.namespace_;
  a.name = request.name;
  if (request.name.empty() && is_collection(request.verb)) a.name = selected_name(request.list.field_selector);
  a.label_selector = request.list.label_selector;
  a.field_selector = request.list.field_selector;
  return a;
}

// Does the URL fit the resource: scope, verb, subresource.
Status check_shape(const ApiRequest& request, const schema::Resource& resource) {
  if (!request.subresource.empty()) {
    const schema::Subresource* sub = resource.subresource(request.subresource);
    if (!sub) return fail(no_such_resource());
    for (const std::string_view verb : sub->verbs)
      if (verb == request.verb) return {};
    return fail(Error{405, "MethodNotAllowed", "the server does not allow this method on the requested resource"});
  }
  if (!resource.namespaced && !request.namespace_.empty() && resource.plural != "namespaces")
    return fail(no_such_resource());
  if (!resource.has_verb(request.verb)) return fail(method_not_allowed(request.verb, resource));
  const bool by_name =
      request.verb == "get" || request.verb == "update" || request.verb == "patch" || request.verb == "delete";
  if (resource.namespaced && request.namespace_.empty() && (by_name || request.verb == "create"))
    return fail(by_name ? no_such_resource() : method_not_allowed(request.verb, resource));
  if (by_name && request.name.empty()) return fail(method_not_allowed(request.verb, resource));
  return {};
}

ApiResponse read(const Api::State& state, const Served& served, const ApiRequest& request) {
  ApiResponse response;
  if (request.verb == "list") {
    auto list = read_list(state, served, request);
    if (!list) return ApiResponse::failure(std::move(list).error());
    response.list = std::move(*list);
    return response;
  }
  auto object = read_object(state, served, request);
  if (!object) return ApiResponse::failure(std::move(object).error());
  if (request.subresource != "scale") {
    response.object = std::move(*object);
    return response;
  }
  auto document = decode(*object);
  if (!document) return ApiResponse::failure(std::move(document).error());
  auto scale = read_scale(served, *document);
  if (!scale) return ApiResponse::failure(std::move(scale).error());
  response.document = std::move(*scale);
  return response;
}

// TokenReview and the like: nothing is stored.
ApiResponse compute(const Compute& function, const ApiRequest& request) {
  const schema::Subresource* sub =
      request.subresource.empty() ? nullptr : request.resource->subresource(request.subresource);
  const schema::Type* type = sub ? sub->type : request.resource->type;
  schema::Document body;
  if (request.object) {
    body = request.object->clone();
  } else if (!request.body.empty()) {
    auto media = media_type(request.content_type);
    if (!media) return ApiResponse::failure(std::move(media).error());
    auto decoded = decode_body(type, request.body, *media, request.field_validation);
    if (!decoded) return ApiResponse::failure(std::move(decoded).error());
    body = std::move(decoded->document);
  } else if (type) {
    body = schema::Document(*type);
  }
  auto answer = function(request, std::move(body));
  if (!answer) return ApiResponse::failure(about(std::move(answer).error(), *request.resource, request.name));
  ApiResponse response;
  response.status = request.verb == "create" ? 201 : 200;
  response.document = std::move(*answer);
  return response;
}

// ComponentStatus and the like: get and list of what is true at this moment.
ApiResponse read_collection(const Api::State& state, const Served& served, const ApiRequest& request) {
  const auto& collections = state.guards.collections;
  const auto all = collections.find(fmt::format("{}/{}", served.resource->group, served.resource->plural));
  if (all == collections.end())
    return ApiResponse::failure(unsupported(fmt::format("{} is not served yet", served.resource->qualified())));
  auto selector = parse_selectors(served, request.list);
  if (!selector) return ApiResponse::failure(std::move(selector).error());
  ApiResponse response;
  ListResult list{.served = &served, .revision = state.store.revision()};
  for (schema::Document& object : all->second()) {
    const std::string name(name_of(object));
    if (!request.name.empty() && name != request.name) continue;
    SharedBytes value = make_stored(object);
    if (!selector->matches(stored_json(value.view()))) continue;
    list.entries.push_back({served.key({}, name), 0, list.revision, std::move(value)});
  }
  if (request.verb == "list") {
    response.list = std::move(list);
  } else if (list.entries.empty()) {
    return ApiResponse::failure(
        about(not_found(served.resource->qualified(), request.name), *served.resource, request.name));
  } else {
    response.object = StoredObject{&served, std::move(list.entries.front().value), list.revision};
  }
  return response;
}

const Compute* find_compute(const ApiGuards& guards, const ApiRequest& request) {
  if (guards.compute.empty()) return nullptr;
  std::string key = std::string(request.resource->group) + "/" + std::string(request.resource->plural);
  if (!request.subresource.empty()) key += "/" + request.subresource;
  const auto at = guards.compute.find(key);
  return at == guards.compute.end() ? nullptr : &at->second;
}

}  // namespace

Api::State::State(store::Store& store, run::Executor& executor, os::Random& random, ApiOptions options_in)
    : store(store),
      executor(executor),
      random_source(random),
      options(std::move(options_in)),
      catalog(resources_of(options)),
      hub(store, catalog, executor, options.watch),
      expiry(std::make_shared<Expiry>(store, catalog, executor)) {
  expiry->start();
}

Verdict Api::State::judge(const User& user, const Attributes& attributes) const {
  return guards.authorize ? guards.authorize(user, attributes) : Verdict{false, "no authorizer is configured"};
}

Status Api::State::authorize(const ApiRequest& request) const {
  const User& user = request.user ? *request.user : *anonymous_user();
  const Attributes attributes = attributes_of(request);
  const Verdict verdict = judge(user, attributes);
  if (verdict.allowed) return {};
  return fail(refused_request(user, attributes, verdict.reason));
}

uint64_t Api::State::random() {
  const std::scoped_lock lock(random_mutex);
  if (random_left == 0) {
    random_source.fill({reinterpret_cast<char*>(random_pool), sizeof random_pool});
    random_left = std::size(random_pool);
  }
  return random_pool[--random_left];
}

Result<schema::Document> decode(const Served& served, const store::Entry& entry) {
  DURE_TRY(schema::Document document, decode_object(served.storage->resource->type, entry.value, entry.mod_revision));
  if (!served.conversion) return document;
  schema::Document converted(*served.resource->type);
  DURE_CHECK(served.conversion->from_storage(document, converted));
  return converted;
}

Result<schema::Document> decode(const StoredObject& object) {
  return decode(*object.served, store::Entry{{}, 0, object.revision, object.value});
}

Api::Api(store::Store& store, run::Executor& executor, os::Random& random, ApiOptions options)
    : state_(std::make_shared<State>(store, executor, random, std::move(options))) {}

Api::~Api() = default;

void Api::set_guards(ApiGuards guards) { state_->guards = std::move(guards); }
const Catalog& Api::catalog() const { return state_->catalog; }
const ApiOptions& Api::options() const { return state_->options; }
store::Store& Api::store() const { return state_->store; }
run::Executor& Api::executor() const { return state_->executor; }
Status Api::authorize(const ApiRequest& request) const { return state_->authorize(request); }
Verdict Api::judge(const User& user, const Attributes& attributes) const { return state_->judge(user, attributes); }
uint64_t Api::random() { return state_->random(); }

void Api::handle(ApiRequest request, Done done) {
  const Served* served = request.resource ? state_->catalog.find(*request.resource) : nullptr;
  if (!served) return done(ApiResponse::failure(no_such_resource()));
  if (auto allowed = state_->authorize(request); !allowed)
    return done(ApiResponse::failure(std::move(allowed).error()));
  if (const Compute* function = find_compute(state_->guards, request)) return done(compute(*function, request));
  if (auto fits = check_shape(request, *served->resource); !fits)
    return done(ApiResponse::failure(std::move(fits).error()));
  if (!served->stored) return done(read_collection(*state_, *served, request));
  if (request.verb == "get" || request.verb == "list") return done(read(*state_, *served, request));
  start_write(state_, *served, std::move(request), std::move(done));
}

ApiResponse Api::handle_and_wait(ApiRequest request) {
  auto promise = std::make_shared<std::promise<ApiResponse>>();
  auto future = promise->get_future();
  handle(std::move(request), [promise](ApiResponse response) { promise->set_value(std::move(response)); });
  return future.get();
}

Result<std::unique_ptr<Subscription>> Api::watch(const ApiRequest& request, run::Executor& lane, Watcher& watcher) {
  const Served* served = request.resource ? state_->catalog.find(*request.resource) : nullptr;
  if (!served) return fail(no_such_resource());
  DURE_CHECK(state_->authorize(request));
  if (!served->resource->has_verb("watch") || !served->stored || !request.subresource.empty())
    return fail(method_not_allowed("watch", *served->resource));
  DURE_TRY(WatchRequest plan, plan_watch(*state_, *served, request));
  return state_->hub.subscribe(std::move(plan), lane, watcher);
}

Result<std::unique_ptr<Subscription>> Api::watch_unasked(WatchRequest request, run::Executor& lane, Watcher& watcher) {
  return state_->hub.subscribe(std::move(request), lane, watcher);
}

schema::Object Api::peek(std::string_view group, std::string_view resource, std::string_view ns,
                         std::string_view name) const {
  const Served* served = state_->catalog.find(group, resource);
  if (!served || !served->stored) return nullptr;
  const auto entry = state_->store.get(served->key(ns, name));
  if (!entry) return nullptr;
  auto document = decode(*served, *entry);
  return document ? schema::share(std::move(*document)) : nullptr;
}

std::vector<schema::Object> Api::peek_all(std::string_view group, std::string_view resource,
                                          std::string_view ns) const {
  std::vector<schema::Object> objects;
  const Served* served = state_->catalog.find(group, resource);
  if (!served || !served->stored) return objects;
  const std::string prefix = served->key_prefix(ns);
  const auto page = state_->store.range({.start = prefix, .end = store::prefix_end(prefix)});
  if (!page) return objects;
  for (const store::Entry& entry : page->entries)
    if (auto document = decode(*served, entry)) objects.push_back(schema::share(std::move(*document)));
  return objects;
}

}  // namespace dure::apiserver
