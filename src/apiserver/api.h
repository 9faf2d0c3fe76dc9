// Api: the one resource path. Every read, write and watch of every kind goes through here, from HTTP and from inside
// the process alike; it names no kind (what is special about one stands in kinds/hooks).
//
// A write: authorize -> decode -> default -> admit -> metadata rules and hooks -> validate -> store (compare and swap,
// again on conflict where the caller did not insist on a version) -> answer. (Server-side apply will merge where
// patches do.)
//
// Owner: the wiring; store, executor and options outlive it. Thread: any. `handle` never blocks: reads are answered
// from memory before it returns, writes when the store has acknowledged them.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apiserver/catalog.h"
#include "apiserver/request.h"
#include "apiserver/status.h"
#include "apiserver/stored.h"
#include "apiserver/watch_hub.h"
#include "os/clock.h"
#include "run/loop.h"
#include "store/store.h"

namespace dure::apiserver {

struct ApiOptions {
  kinds::WriteSettings settings;
  WatchLimits watch;
  std::string git_version = "v1.34.0+dure";
  std::string build_date = "2025-01-01T00:00:00Z", git_commit = "unknown";
  // Resources to serve; empty: all built-in ones.
  std::vector<const schema::Resource*> resources;
};

// The judges on the path; set once before the first request. A missing authorizer refuses everything.
struct ApiGuards {
  Authorize authorize;
  Admit admit;                             // optional
  std::map<std::string, Compute> compute;  // "group/resource[/subresource]" -> computed object
  // "group/resource" -> every object there is now, for get and list of a kind that is not stored. Quick, any thread.
  std::map<std::string, std::function<std::vector<schema::Document>()>> collections;
};

// An object as it is stored.
struct StoredObject {
  const Served* served = nullptr;
  SharedBytes value;
  store::Revision revision = 0;
};

struct ListResult {
  const Served* served = nullptr;
  std::vector<store::Entry> entries;
  store::Revision revision = 0;
  std::string continue_token;
  std::optional<int64_t> remaining;
};

struct ApiResponse {
  int status = 200;
  std::vector<std::string> warnings;
  // exactly one of these
  std::optional<Error> error;
  std::optional<StoredObject> object;
  std::optional<schema::Document> document;  // computed or of a dry run; `served` in `document_of`
  std::optional<ListResult> list;
  std::optional<std::string> success;  // a Status object, as JSON

  const Served* document_of = nullptr;  // null: the document says what it is

  static ApiResponse failure(Error error) {
    ApiResponse response;
    response.status = error.code;
    response.error = std::move(error);
    return response;
  }
};

// In the served version, with metadata.resourceVersion.
Result<schema::Document> decode(const StoredObject& object);
Result<schema::Document> decode(const Served& served, const store::Entry& entry);

class Api {
 public:
  using Done = std::move_only_function<void(ApiResponse)>;

  Api(store::Store& store, run::Executor& executor, os::Random& random, ApiOptions options = {});
  ~Api();
  Api(const Api&) = delete;

  void set_guards(ApiGuards guards);
  const Catalog& catalog() const;
  const ApiOptions& options() const;
  store::Store& store() const;
  run::Executor& executor() const;

  // Everything but watch and streams. `done` runs once: before `handle` returns or on the store's commit thread or the
  // executor; it must not block.
  void handle(ApiRequest request, Done done);
  // For callers that may block; not on a thread that the store or the executor needs.
  ApiResponse handle_and_wait(ApiRequest request);

  // verb watch. Authorizes, lists what the options ask to be delivered first, and subscribes.
  Result<std::unique_ptr<Subscription>> watch(const ApiRequest& request, run::Executor& lane, Watcher& watcher);

  // 403 in upstream's words when the authorizer refuses.
  Status authorize(const ApiRequest& request) const;
  Verdict judge(const User& user, const Attributes& attributes) const;

  // For parts of the server itself (authorizers, hooks): the newest committed state, nobody is asked. Null when absent.
  schema::Object peek(std::string_view group, std::string_view resource, std::string_view ns,
                      std::string_view name) const;
  std::vector<schema::Object> peek_all(std::string_view group, std::string_view resource,
                                       std::string_view ns = {}) const;
  Result<std::unique_ptr<Subscription>> watch_unasked(WatchRequest request, run::Executor& lane, Watcher& watcher);

  uint64_t random();

  struct State;  // api_state.h

 private:
  std::shared_ptr<State> state_;
};

}  // namespace dure::apiserver
