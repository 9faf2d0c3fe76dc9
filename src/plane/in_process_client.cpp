#include "plane/in_process_client.h"

#include "client/object_meta.h"

namespace dure::plane {

namespace {

using apiserver::ApiRequest;
using apiserver::ApiResponse;
using client::Key;
using client::Resource;

class InProcessWatch : public client::Watch, private apiserver::Watcher {
 public:
  InProcessWatch(const apiserver::Served& served, client::WatchSink& sink) : served_(served), sink_(sink) {}

  static Result<std::unique_ptr<client::Watch>> begin(apiserver::Api& api, const ApiRequest& request,
                                                      run::Executor& lane, client::WatchSink& sink) {
    const apiserver::Served* served = api.catalog().find(*request.resource);
    if (!served) return fail(apiserver::no_such_resource());
    auto watch = std::make_unique<InProcessWatch>(*served, sink);
    DURE_TRY(watch->subscription_, api.watch(request, lane, *watch));
    return watch;
  }

 private:
  bool deliver(apiserver::EventType type, apiserver::WatchItem& item) override {
    using Kind = client::WatchEvent::Kind;
    const Kind kind = type == apiserver::EventType::added      ? Kind::added
                      : type == apiserver::EventType::modified ? Kind::modified
                                                               : Kind::deleted;
    if (schema::Object object = item.object(type, served_)) sink_.on_event({kind, std::move(object)});
    return true;
  }

  bool bookmark(store::Revision revision, bool) override {
    schema::Document document(*served_.resource->type);
    schema::Node* root = document.root();
    document.set(document.member(root, "kind"), served_.resource->kind);
    document.set(document.member(root, "apiVersion"), std::string_view(served_.resource->api_version()));
    schema::Node* metadata = document.member(root, "metadata");
    document.set(document.member(metadata, "resourceVersion"), std::string_view(std::to_string(revision)));
    sink_.on_event({client::WatchEvent::Kind::bookmark, schema::share(std::move(document))});
    return true;
  }

  void ended(Error why) override { sink_.on_end(std::move(why)); }

  const apiserver::Served& served_;
  client::WatchSink& sink_;
  std::unique_ptr<apiserver::Subscription> subscription_;
};

apiserver::PatchType patch_type(client::PatchType type) {
  switch (type) {
    case client::PatchType::json:
      return apiserver::PatchType::json;
    case client::PatchType::merge:
      return apiserver::PatchType::merge;
    case client::PatchType::strategic:
      return apiserver::PatchType::strategic;
    case client::PatchType::apply:
      return apiserver::PatchType::apply;
  }
  return apiserver::PatchType::merge;
}

std::string_view policy_text(client::Propagation propagation) {
  switch (propagation) {
    case client::Propagation::background:
      return "Background";
    case client::Propagation::foreground:
      return "Foreground";
    case client::Propagation::orphan:
      return "Orphan";
  }
  return "Background";
}

Result<schema::Object> object_of(ApiResponse response) {
  if (response.error) return fail(std::move(*response.error));
  if (response.document) return schema::share(std::move(*response.document));
  if (response.object) {
    DURE_TRY(schema::Document document, apiserver::decode(*response.object));
    return schema::share(std::move(document));
  }
  return schema::share(schema::Document());  // a plain success
}

class InProcessClient : public client::Client {
 public:
  InProcessClient(apiserver::Api& api, std::shared_ptr<const apiserver::User> user, run::Executor& watches)
      : api_(api), user_(std::move(user)), watches_(watches) {}

  Result<schema::Object> get(const Resource& resource, const Key& key) override {
    return object_of(api_.handle_and_wait(request("get", resource, key)));
  }

  Result<client::ObjectList> list(const Resource& resource, const client::ListOptions& options) override {
    ApiRequest ask = request("list", resource, {options.namespace_, ""});
    set_list(ask, options);
    ApiResponse response = api_.handle_and_wait(std::move(ask));
    if (response.error) return fail(std::move(*response.error));
    client::ObjectList list;
    list.resource_version = std::to_string(response.list->revision);
    list.continue_token = response.list->continue_token;
    list.items.reserve(response.list->entries.size());
    for (const store::Entry& entry : response.list->entries) {
      DURE_TRY(schema::Document document, apiserver::decode(*response.list->served, entry));
      list.items.push_back(schema::share(std::move(document)));
    }
    return list;
  }

  Result<schema::Object> create(const Resource& resource, const schema::Document& object,
                                std::string_view ns) override {
    ApiRequest ask = request("create", resource, {resource.namespaced ? std::string(ns) : "", ""});
    ask.object = schema::share(object.clone());
    return object_of(api_.handle_and_wait(std::move(ask)));
  }

  Result<schema::Object> update(const Resource& resource, const schema::Document& object,
                                std::string_view subresource) override {
    const schema::Node* metadata = object.root()->find("metadata");
    const schema::Node* ns = metadata ? metadata->find("namespace") : nullptr;
    const schema::Node* name = metadata ? metadata->find("name") : nullptr;
    ApiRequest ask = request("update", resource,
                             {ns ? std::string(ns->string()) : "", name ? std::string(name->string()) : ""});
    ask.subresource = subresource;
    ask.object = schema::share(object.clone());
    return object_of(api_.handle_and_wait(std::move(ask)));
  }

  Result<schema::Object> patch(const Resource& resource, const Key& key, client::PatchType type,
                               std::string_view body, std::string_view subresource) override {
    ApiRequest ask = request("patch", resource, key);
    ask.subresource = subresource;
    ask.patch_type = patch_type(type);
    ask.body = body;
    return object_of(api_.handle_and_wait(std::move(ask)));
  }

  Status remove(const Resource& resource, const Key& key, const client::DeleteOptions& options) override {
    ApiRequest ask = request("delete", resource, key);
    if (options.grace_period_seconds >= 0) ask.remove.grace_period_seconds = options.grace_period_seconds;
    ask.remove.propagation_policy = policy_text(options.propagation);
    if (!options.precondition_uid.empty()) ask.remove.precondition_uid = options.precondition_uid;
    if (!options.precondition_resource_version.empty())
      ask.remove.precondition_resource_version = options.precondition_resource_version;
    ApiResponse response = api_.handle_and_wait(std::move(ask));
    if (response.error) return fail(std::move(*response.error));
    return {};
  }

  Result<schema::Object> create_subresource(const Resource& resource, const Key& key,
                                            std::string_view subresource,
                                            const schema::Document& body) override {
    ApiRequest ask = request("create", resource, key);
    ask.subresource = subresource;
    ask.object = schema::share(body.clone());
    return object_of(api_.handle_and_wait(std::move(ask)));
  }

  Result<std::unique_ptr<client::Watch>> watch(const Resource& resource, const client::ListOptions& options,
                                               client::WatchSink& sink) override {
    ApiRequest ask = request("watch", resource, {options.namespace_, ""});
    set_list(ask, options);
    ask.list.allow_watch_bookmarks = true;
    return InProcessWatch::begin(api_, ask, watches_, sink);
  }

 private:
  ApiRequest request(std::string_view verb, const Resource& resource, const Key& key) const {
    ApiRequest ask;
    ask.user = user_;
    ask.verb = verb;
    ask.resource = &resource;
    if (resource.namespaced) ask.namespace_ = key.namespace_;
    ask.name = key.name;
    ask.field_validation = apiserver::FieldValidation::ignore;
    return ask;
  }

  static void set_list(ApiRequest& ask, const client::ListOptions& options) {
    ask.list.label_selector = options.label_selector;
    ask.list.field_selector = options.field_selector;
    if (!options.resource_version.empty()) ask.list.resource_version = options.resource_version;
    ask.list.continue_token = options.continue_token;
    ask.list.limit = options.limit;
  }

  apiserver::Api& api_;
  const std::shared_ptr<const apiserver::User> user_;
  run::Executor& watches_;
};

}  // namespace

std::unique_ptr<client::Client> in_process_client(apiserver::Api& api,
                                                  std::shared_ptr<const apiserver::User> user,
                                                  run::Executor& watches) {
  return std::make_unique<InProcessClient>(api, std::move(user), watches);
}

}  // namespace dure::plane
