// Writes: one WritePath per request walks decode -> default -> admit -> rules -> validate -> commit, and starts over
// when somebody else was quicker and the caller did not insist on a version.
#include <algorithm>
#include <thread>

#include <fmt/format.h>

#include "apiserver/api_state.h"
#include "apiserver/codec.h"
#include "apiserver/metadata.h"
#include "apiserver/peek.h"
#include "apiserver/removal.h"
#include "apiserver/write_world.h"
#include "base/text.h"
#include "kinds/kinds.h"

namespace dure::apiserver {

using schema::Document;

namespace {

constexpr int attempts_max = 16;

constexpr std::string_view stale_message =
    "the object has been modified; please apply your changes to the latest version and try again";

std::string_view operation_of(std::string_view verb) {
  if (verb == "create") return "CREATE";
  if (verb == "delete" || verb == "deletecollection") return "DELETE";
  return "UPDATE";
}

class WritePath : public std::enable_shared_from_this<WritePath> {
 public:
  WritePath(std::shared_ptr<Api::State> state, const Served& served, ApiRequest request, Api::Done done)
      : state_(std::move(state)),
        served_(served),
        stored_(*served.storage),
        request_(std::move(request)),
        done_(std::move(done)) {}

  void run() {
    if (Status done = attempt(); !done) finish_error(std::move(done).error());
  }

 private:
  // The state of the object that this attempt starts from.
  struct Current {
    store::Entry entry;
    Document document;  // in the stored version, with resourceVersion
  };

  Status attempt() {
    ++attempts_;
    if (request_.verb == "create" && request_.subresource.empty()) return create();
    if (request_.verb == "create") return post_subresource();
    if (request_.verb == "update") return update();
    if (request_.verb == "patch") return patch();
    if (request_.verb == "delete") return remove();
    if (request_.verb == "deletecollection") return remove_collection();
    return fail(method_not_allowed(request_.verb, *served_.resource));
  }

  // --- input

  const schema::Type* body_type() const {
    const schema::Subresource* sub = subresource();
    return sub && sub->type ? sub->type : served_.resource->type;
  }
  const schema::Subresource* subresource() const {
    return request_.subresource.empty() ? nullptr : served_.resource->subresource(request_.subresource);
  }

  Error wrong_kind(std::string_view api_version, std::string_view kind, const schema::Type& type) const {
    const std::string_view expected = type.api_version.empty() ? type.version : type.api_version;
    if (kind == type.name)
      return bad_request(fmt::format("the API version in the data ({}) does not match the expected API version ({})",
                                     api_version, expected));
    return bad_request(fmt::format("{} in version \"{}\" cannot be handled as a {}", kind, api_version, type.name));
  }

  Status check_kind(const TypeNames& names, const schema::Type& type) const {
    const std::string_view expected = type.api_version.empty() ? type.version : type.api_version;
    if ((!names.kind.empty() && names.kind != type.name) ||
        (!names.api_version.empty() && names.api_version != expected))
      return fail(wrong_kind(names.api_version, names.kind, type));
    return {};
  }

  Result<Document> read_body() {
    const schema::Type* type = body_type();
    if (request_.object) return request_.object->clone();
    DURE_TRY(const MediaType media, media_type(request_.content_type));
    DURE_TRY(const TypeNames names, peek_type(request_.body, media));
    if (type) DURE_CHECK(check_kind(names, *type));
    DURE_TRY(Decoded decoded, decode_body(type, request_.body, media, request_.field_validation));
    warnings_ = std::move(decoded.warnings);
    set_kind(decoded.document, *type);
    return std::move(decoded.document);
  }

  static void set_kind(Document& document, const schema::Type& type) {
    schema::Node* root = document.root();
    const std::string_view version = type.api_version.empty() ? type.version : type.api_version;
    document.set(document.member(root, "kind"), type.name);
    document.set(document.member(root, "apiVersion"), version);
  }

  // Defaults in the served version, then the stored form.
  Result<Document> to_stored(Document served) {
    set_kind(served, *served_.resource->type);
    apply_defaults(served);
    if (!served_.conversion) return served;
    Document stored(*stored_.resource->type);
    DURE_CHECK(served_.conversion->to_storage(served, stored));
    set_kind(stored, *stored_.resource->type);
    apply_defaults(stored);
    return stored;
  }

  Result<Document> from_stored(const Document& stored) {
    if (!served_.conversion) return stored.clone();
    Document served(*served_.resource->type);
    DURE_CHECK(served_.conversion->from_storage(stored, served));
    return served;
  }

  Result<Current> current() {
    auto entry = state_->store.get(stored_.key(request_.namespace_, request_.name));
    if (!entry) return fail(absent());
    DURE_TRY(Document document, decode_object(stored_.resource->type, entry->value, entry->mod_revision));
    return Current{std::move(*entry), std::move(document)};
  }

  Error absent() const {
    return about(not_found(served_.resource->qualified(), request_.name), *served_.resource, request_.name);
  }

  Status check_namespace_of(const Document& object) const {
    const std::string_view ns = metadata_text(object, "namespace");
    if (!served_.resource->namespaced) {
      if (!ns.empty() && ns != request_.namespace_)
        return fail(bad_request("namespace cannot be set on a resource that is not namespaced"));
      return {};
    }
    if (ns.empty() || ns == request_.namespace_) return {};
    return fail(bad_request(
        fmt::format("the namespace of the provided object does not match the namespace sent on the request")));
  }

  // Objects live in namespaces that exist and are not on their way out.
  Status check_namespace_lives() const {
    const Served* namespaces = state_->catalog.namespaces();
    if (!served_.resource->namespaced || !namespaces) return {};
    const std::string& ns = request_.namespace_;
    const auto entry = state_->store.get(namespaces->key({}, ns));
    if (!entry) return fail(about(not_found(namespaces->resource->qualified(), ns), *namespaces->resource, ns));
    if (json_path(stored_json(entry->value.view()), "metadata.deletionTimestamp").empty()) return {};
    Error error =
        forbidden(*served_.resource, request_.name,
                  fmt::format("unable to create new content in namespace {} because it is being terminated", ns));
    error.causes.push_back(
        {"NamespaceTerminating", fmt::format("namespace {} is being terminated", ns), "metadata.namespace"});
    return fail(std::move(error));
  }

  Status admit(Document* object, const Document* old) {
    if (!state_->guards.admit) return {};
    AdmissionRequest admission{&request_, operation_of(request_.verb), object, old};
    return state_->guards.admit(admission);
  }

  Status check_valid(const Document& object, const Document* old) {
    std::vector<Cause> causes = validate_metadata(stored_, object, old);
    for (Cause& cause : validate(object, old)) {
      // how a name is spelt depends on the kind and was judged above
      if (cause.field == "metadata.name" || cause.field == "metadata.generateName") continue;
      const bool twice =
          std::any_of(causes.begin(), causes.end(), [&](const Cause& c) { return c.field == cause.field; });
      if (!twice || !cause.field.starts_with("metadata.")) causes.push_back(std::move(cause));
    }
    if (causes.empty()) return {};
    return fail(invalid(*served_.resource, name_of(object), std::move(causes)));
  }

  // --- create

  Status create() {
    DURE_TRY(Document body, read_body());
    return create_from(std::move(body));
  }

  Status create_from(Document body) {
    if (!metadata_text(body, "resourceVersion").empty())
      return fail(bad_request("resourceVersion should not be set on objects to be created"));
    DURE_CHECK(check_namespace_of(body));
    DURE_TRY(Document object, to_stored(std::move(body)));
    ApiWriteWorld world(*state_, request_.user.get());
    generated_name_ = name_of(object).empty();
    begin_metadata(stored_, object, {request_.namespace_, world.now(), [this] { return state_->random(); }});
    request_.name = name_of(object);
    DURE_CHECK(check_namespace_lives());
    if (stored_.has_status && !stored_.hooks->keep_status_on_create) object.erase(object.root(), "status");
    DURE_CHECK(admit(&object, nullptr));
    if (stored_.hooks->prepare_create) DURE_CHECK(named(stored_.hooks->prepare_create(world, object), object));
    DURE_CHECK(check_valid(object, nullptr));
    created_ = true;
    if (!stored_.hooks->idle.empty()) warnings_.emplace_back(stored_.hooks->idle);
    if (request_.dry_run) return answer_dry(std::move(object), 0);
    store::Write write{stored_.key(request_.namespace_, request_.name), make_stored(object), 0, stored_.durability()};
    commit(std::move(write), world);
    return {};
  }

  // --- update and patch

  Status update() {
    if (!body_) {
      DURE_TRY(body_, read_body());
    }
    Document body = body_->clone();
    if (const std::string_view name = name_of(body); !name.empty() && name != request_.name)
      return fail(bad_request(
          fmt::format("the name of the object ({}) does not match the name on the URL ({})", name, request_.name)));
    DURE_CHECK(check_namespace_of(body));
    auto now = current();
    if (!now) {
      if (now.error().code != 404 || !stored_.hooks->create_on_update || !request_.subresource.empty())
        return fail(std::move(now).error());
      body.set(body.member(body.member(body.root(), "metadata"), "name"), request_.name);
      return create_from(std::move(body));
    }
    return replace(*now, std::move(body));
  }

  Status patch() {
    auto now = current();
    if (!now) return fail(std::move(now).error());
    warnings_.clear();  // those of an attempt that was overtaken
    Document base;
    if (request_.subresource == "scale") {
      DURE_TRY(base, read_scale(served_, now->document));
    } else {
      DURE_TRY(base, from_stored(now->document));
    }
    DURE_TRY(Document patched,
             apply_patch(base, request_.patch_type, request_.body, request_.field_validation, warnings_));
    if (name_of(patched) != request_.name)
      return fail(bad_request(fmt::format("the name of the object ({}) does not match the name on the URL ({})",
                                          name_of(patched), request_.name)));
    DURE_CHECK(check_namespace_of(patched));
    if (metadata_text(patched, "resourceVersion") != metadata_text(base, "resourceVersion")) insists_ = true;
    patching_ = true;
    return replace(*now, std::move(patched));
  }

  // `body`: the new object as the caller sees it (or a Scale).
  Status replace(Current& now, Document body) {
    DURE_CHECK(check_version(now, body));
    if (request_.subresource == "scale") {
      DURE_TRY(body, scaled(now.document, body));
    }
    DURE_TRY(Document object, to_stored(std::move(body)));
    ApiWriteWorld world(*state_, request_.user.get());
    carry_metadata(stored_, object, now.document);
    DURE_CHECK(named(keep_what_is_not_asked(world, object, now.document), object));
    DURE_CHECK(admit(&object, &now.document));
    if (stored_.keeps_generation) bump_generation(object, now.document);
    DURE_CHECK(check_valid(object, &now.document));
    if (request_.dry_run) return answer_dry(std::move(object), now.entry.mod_revision);
    if (may_vanish_now(stored_, object)) return vanish(now, object, world);
    SharedBytes value = make_stored(object);
    if (value == now.entry.value) return answer_unchanged(now);
    commit({now.entry.key, std::move(value), now.entry.mod_revision, stored_.durability()}, world);
    return {};
  }

  Status check_version(const Current& now, const Document& body) {
    const std::string_view version = metadata_text(body, "resourceVersion"), uid = metadata_text(body, "uid");
    if (!version.empty() && !patching_) insists_ = true;
    if (!version.empty() && version != metadata_text(now.document, "resourceVersion")) return fail(stale());
    if (!uid.empty() && uid != metadata_text(now.document, "uid"))
      return fail(about(conflict(served_.resource->qualified(), request_.name,
                                 fmt::format("Precondition failed: UID in precondition: {}, UID in object meta: {}",
                                             uid, metadata_text(now.document, "uid"))),
                        *served_.resource, request_.name));
    return {};
  }

  Error stale() const {
    return about(conflict(served_.resource->qualified(), request_.name, stale_message), *served_.resource,
                 request_.name);
  }

  Status keep_what_is_not_asked(ApiWriteWorld& world, Document& object, const Document& old) {
    const kinds::WriteHooks& hooks = *stored_.hooks;
    if (request_.subresource == "status") {
      keep_all_but_status(object, old);
      return hooks.prepare_status ? hooks.prepare_status(world, object, old) : Status{};
    }
    if (request_.subresource.empty() || request_.subresource == "scale") {
      if (stored_.has_status) keep_status(object, old);
      return hooks.prepare_update ? hooks.prepare_update(world, object, old) : Status{};
    }
    if (!hooks.update_subresource)
      return fail(
          unsupported(fmt::format("{}/{} is not served yet", served_.resource->qualified(), request_.subresource)));
    return hooks.update_subresource(world, request_.subresource, object, old);
  }

  // The current object with the replicas of `scale`.
  Result<Document> scaled(const Document& old, const Document& scale) {
    const schema::Node* replicas = scale.root()->find("spec", "replicas");
    if (replicas && replicas->integer() < 0)
      return fail(invalid("autoscaling", "Scale", request_.name,
                          {{"FieldValueInvalid",
                            fmt::format("Invalid value: {}: must be greater than or equal to 0", replicas->integer()),
                            "spec.replicas"}}));
    DURE_TRY(Document object, from_stored(old));
    schema::Node* spec = object.member(object.root(), "spec");
    object.set(object.member(spec, "replicas"), replicas ? replicas->integer() : int64_t{0});
    return object;
  }

  // --- subresources that are actions

  Status post_subresource() {
    if (!stored_.hooks->create_subresource)
      return fail(
          unsupported(fmt::format("{}/{} is not served yet", served_.resource->qualified(), request_.subresource)));
    if (!body_) {
      DURE_TRY(body_, read_body());
    }
    auto now = current();
    if (!now) return fail(std::move(now).error());
    ApiWriteWorld world(*state_, request_.user.get());
    Document body = body_->clone();
    DURE_CHECK(admit(&body, &now->document));
    Document object = now->document.clone();
    DURE_TRY(kinds::SubresourceAction action,
             named(stored_.hooks->create_subresource(world, request_.subresource, object, body), object));
    success_ = success_json({}, 201);
    if (action.kind == kinds::SubresourceAction::Kind::remove) {
      request_.remove.grace_period_seconds = action.grace_period_seconds;
      if (!action.precondition_uid.empty()) request_.remove.precondition_uid = action.precondition_uid;
      return remove_from(*now, world);
    }
    if (action.kind == kinds::SubresourceAction::Kind::none || request_.dry_run) return answer_success();
    if (stored_.keeps_generation) bump_generation(object, now->document);
    DURE_CHECK(check_valid(object, &now->document));
    commit({now->entry.key, make_stored(object), now->entry.mod_revision, stored_.durability()}, world);
    return {};
  }

  // --- delete

  Status remove() {
    if (attempts_ == 1) DURE_CHECK(read_delete_options(request_));
    auto now = current();
    if (!now) return fail(std::move(now).error());
    ApiWriteWorld world(*state_, request_.user.get());
    DURE_CHECK(admit(nullptr, &now->document));
    return remove_from(*now, world);
  }

  Status remove_from(Current& now, ApiWriteWorld& world) {
    DURE_CHECK(check_preconditions(*served_.resource, request_, now.document));
    DURE_TRY(Removal removal, plan_removal(stored_, request_.remove, world, now.document));
    if (request_.dry_run) return answer_dry(std::move(removal.object), now.entry.mod_revision);
    if (removal.vanishes) return vanish(now, removal.object, world);
    if (!removal.changed) return answer_unchanged(now);
    commit({now.entry.key, make_stored(removal.object), now.entry.mod_revision, stored_.durability()}, world);
    return {};
  }

  Status vanish(Current& now, const Document& object, ApiWriteWorld& world) {
    if (stored_.hooks->released) stored_.hooks->released(world, now.document);
    const bool asked = request_.verb == "delete" || request_.verb == "deletecollection";
    if (asked && !success_)
      success_ = success_json(
          {served_.resource->group, served_.resource->plural, request_.name, metadata_text(object, "uid")});
    if (!asked && !success_) vanished_ = object.clone();
    commit({now.entry.key, std::nullopt, now.entry.mod_revision, stored_.durability()}, world);
    return {};
  }

  // Each object by a WritePath of its own.
  Status remove_collection() {
    DURE_CHECK(read_delete_options(request_));
    ApiRequest list = request_;
    list.verb = "list";
    DURE_TRY(ListResult found, read_list(*state_, served_, list));
    struct Gather {
      size_t left;
      std::shared_ptr<WritePath> path;
      std::optional<Error> first_error;
      std::mutex mutex;
    };
    auto gather = std::make_shared<Gather>();
    gather->left = found.entries.size();
    gather->path = shared_from_this();
    success_ = success_json({});
    if (found.entries.empty()) return answer_success();
    for (const store::Entry& entry : found.entries) {
      const Served::Name name = stored_.name_of(entry.key);
      ApiRequest one = request_;
      one.verb = "delete";
      one.body.clear();
      one.namespace_ = name.namespace_;
      one.name = name.name;
      start_write(state_, served_, std::move(one), [gather](ApiResponse response) {
        const std::scoped_lock lock(gather->mutex);
        if (response.error && response.error->code != 404 && !gather->first_error) gather->first_error = response.error;
        if (--gather->left > 0) return;
        if (gather->first_error)
          gather->path->finish_error(*gather->first_error);
        else
          (void)gather->path->answer_success();
      });
    }
    return {};
  }

  // --- output

  void commit(store::Write write, ApiWriteWorld& world) {
    std::string key = write.key;
    std::optional<SharedBytes> value = write.value;
    store::Transaction transaction{.lane = request_.lane};
    transaction.writes.push_back(std::move(write));
    world.add_to(transaction);
    // A store may answer from inside `commit`; then the answer is handled after it returned, on this thread.
    struct Call {
      const std::thread::id caller = std::this_thread::get_id();
      bool inside = true;  // read and written by the caller's thread only
      std::optional<Result<store::Revision>> answer;
    };
    auto call = std::make_shared<Call>();
    state_->store.commit(std::move(transaction),
                         [self = shared_from_this(), call, key, value](Result<store::Revision> revision) {
                           if (std::this_thread::get_id() == call->caller && call->inside)
                             call->answer = std::move(revision);
                           else
                             self->committed(std::move(revision), key, value, false);
                         });
    call->inside = false;
    if (call->answer) committed(std::move(*call->answer), key, value, true);
  }

  void committed(Result<store::Revision> revision, const std::string& key, std::optional<SharedBytes> value,
                 bool may_block) {
    if (!revision) return lost(std::move(revision).error(), key, may_block);
    if (success_) return (void)answer_success();
    if (vanished_) {
      set_version(*vanished_, *revision);
      return answer_document(std::move(*vanished_));
    }
    ApiResponse response;
    response.status = created_ ? 201 : 200;
    StoredObject object{&served_, std::move(*value), *revision};
    if (request_.subresource == "scale") {
      auto document = decode(object);
      if (!document) return finish_error(std::move(document).error());
      auto scale = read_scale(served_, *document);
      if (!scale) return finish_error(std::move(scale).error());
      response.document = std::move(*scale);
    } else {
      response.object = std::move(object);
    }
    finish(std::move(response));
  }

  // The comparison failed (or the store did).
  void lost(Error error, const std::string& key, bool may_block) {
    if (error.code != 409) return finish_error(std::move(error));
    const bool own = error.details_name.empty() || error.details_name == key;
    if (own && created_ && !generated_name_)
      return finish_error(
          about(already_exists(served_.resource->qualified(), request_.name), *served_.resource, request_.name));
    if (attempts_ >= attempts_max || (own && insists_)) return finish_error(stale());
    created_ = false;
    success_.reset();
    vanished_.reset();
    if (generated_name_) request_.name.clear();
    if (may_block) return run();
    request_.lane = nullptr;  // not on the loop any more, nor on the commit thread
    state_->executor.post([self = shared_from_this()] { self->run(); });
  }

  static void set_version(Document& object, store::Revision revision) {
    schema::Node* metadata = object.member(object.root(), "metadata");
    if (revision == 0)
      object.erase(metadata, "resourceVersion");
    else
      object.set(object.member(metadata, "resourceVersion"), std::to_string(revision));
  }

  Status answer_dry(Document object, store::Revision revision) {
    set_version(object, revision);
    if (request_.subresource == "scale") {
      DURE_TRY(Document scale, read_scale(served_, object));
      answer_document(std::move(scale));
      return {};
    }
    DURE_TRY(Document served, from_stored(object));
    answer_document(std::move(served));
    return {};
  }

  void answer_document(Document document) {
    ApiResponse response;
    response.status = created_ ? 201 : 200;
    response.document = std::move(document);
    if (request_.subresource != "scale") response.document_of = &served_;
    finish(std::move(response));
  }

  Status answer_unchanged(const Current& now) {
    created_ = false;
    committed(now.entry.mod_revision, now.entry.key, now.entry.value, true);
    return {};
  }

  Status answer_success() {
    ApiResponse response;
    response.status = request_.verb == "create" ? 201 : 200;
    response.success = success_;
    finish(std::move(response));
    return {};
  }

  // Errors of hooks get the object's name.
  Status named(Status status, const Document& object) const {
    if (!status) return fail(named(std::move(status).error(), object));
    return {};
  }
  Result<kinds::SubresourceAction> named(Result<kinds::SubresourceAction> action, const Document& object) const {
    if (!action) return fail(named(std::move(action).error(), object));
    return action;
  }
  Error named(Error error, const Document& object) const {
    if (error.code == 422 && error.message.empty())
      return invalid(*served_.resource, name_of(object), std::move(error.causes));
    return about(std::move(error), *served_.resource, name_of(object));
  }

  void finish(ApiResponse response) {
    response.warnings = std::move(warnings_);
    auto done = std::move(done_);
    if (done) done(std::move(response));
  }
  void finish_error(Error error) { finish(ApiResponse::failure(std::move(error))); }

  const std::shared_ptr<Api::State> state_;
  const Served& served_;  // as asked for
  const Served& stored_;  // as stored
  ApiRequest request_;
  Api::Done done_;
  std::vector<std::string> warnings_;
  int attempts_ = 0;
  std::optional<Document> body_;
  bool generated_name_ = false, created_ = false, insists_ = false, patching_ = false;
  std::optional<std::string> success_;
  std::optional<Document> vanished_;
};

}  // namespace

void start_write(std::shared_ptr<Api::State> state, const Served& served, ApiRequest request, Api::Done done) {
  std::make_shared<WritePath>(std::move(state), served, std::move(request), std::move(done))->run();
}

}  // namespace dure::apiserver
