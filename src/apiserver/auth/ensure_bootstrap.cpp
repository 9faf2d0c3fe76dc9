// Writing the bootstrap objects through the resource path.
#include <condition_variable>
#include <mutex>

#include "apiserver/api.h"
#include "apiserver/auth/bootstrap_policy.h"
#include "apiserver/auth/user.h"
#include "apiserver/metadata.h"

namespace dure::apiserver {
namespace {

// Counts answers; the first failure is kept.
class Gathering {
 public:
  void expect() {
    const std::scoped_lock lock(mutex_);
    ++open_;
  }
  void take(ApiResponse response) {
    const std::scoped_lock lock(mutex_);
    // Somebody else was quicker with the same object: as good.
    if (response.error && response.error->code != 409 && !failure_) failure_ = std::move(response.error);
    if (--open_ == 0) done_.notify_all();
  }
  Status wait() {
    std::unique_lock lock(mutex_);
    done_.wait(lock, [&] { return open_ == 0; });
    if (failure_) return fail(std::move(*failure_).with_context("create the cluster's first objects"));
    return {};
  }

 private:
  std::mutex mutex_;
  std::condition_variable done_;
  size_t open_ = 0;
  std::optional<Error> failure_;
};

ApiRequest request_for(const BootstrapObject& wanted, std::string verb, schema::Document object) {
  ApiRequest request;
  request.user = internal_user("system:apiserver");
  request.verb = std::move(verb);
  request.resource = wanted.resource;
  request.namespace_ = wanted.namespace_;
  request.name = name_of(wanted.object);
  request.object = schema::share(std::move(object));
  return request;
}

void send(Api& api, ApiRequest request, const std::shared_ptr<Gathering>& gathering) {
  gathering->expect();
  api.handle(std::move(request), [gathering](ApiResponse response) { gathering->take(std::move(response)); });
}

}  // namespace

Status ensure_bootstrap_objects(Api& api) {
  std::vector<BootstrapObject> wanted = bootstrap_objects();
  for (BootstrapObject& service : local_services(api.catalog())) wanted.push_back(std::move(service));
  // Namespaces must be there before what lives in them.
  for (const bool namespaces : {true, false}) {
    const auto gathering = std::make_shared<Gathering>();
    gathering->expect();
    for (BootstrapObject& row : wanted) {
      if ((row.resource->plural == "namespaces") != namespaces) continue;
      const schema::Object existing =
          api.peek(row.resource->group, row.resource->plural, row.namespace_, name_of(row.object));
      if (!existing) {
        schema::Document object = row.object.clone();
        send(api, request_for(row, "create", std::move(object)), gathering);
      } else if (auto better = reconciled(row, *existing)) {
        send(api, request_for(row, "update", std::move(*better)), gathering);
      }
    }
    gathering->take({});
    DURE_CHECK(gathering->wait());
  }
  return {};
}

}  // namespace dure::apiserver
