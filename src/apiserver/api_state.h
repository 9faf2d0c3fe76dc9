// What the parts of the resource path share; private to them (api.cpp, read_path.cpp, write_path.cpp, expiry.cpp).
#pragma once

#include <atomic>
#include <mutex>
#include <span>

#include "apiserver/api.h"
#include "apiserver/expiry.h"
#include "base/metric.h"

namespace dure::apiserver {

struct Api::State : std::enable_shared_from_this<Api::State> {
  State(store::Store& store, run::Executor& executor, os::Random& random, ApiOptions options_in);

  store::Store& store;
  run::Executor& executor;
  os::Random& random_source;
  const ApiOptions options;
  const Catalog catalog;
  WatchHub hub;
  const std::shared_ptr<Expiry> expiry;
  ApiGuards guards;

  Verdict judge(const User& user, const Attributes& attributes) const;
  Status authorize(const ApiRequest& request) const;
  uint64_t random();

  std::mutex random_mutex;
  uint64_t random_pool[32];
  size_t random_left = 0;
};

// read_path.cpp
Result<StoredObject> read_object(const Api::State& state, const Served& served, const ApiRequest& request);
Result<ListResult> read_list(const Api::State& state, const Served& served, const ApiRequest& request);
Result<Selector> parse_selectors(const Served& served, const ListOptions& options);
Result<WatchRequest> plan_watch(const Api::State& state, const Served& served, const ApiRequest& request);
// The object as its version is served, decoded.
Result<schema::Document> read_scale(const Served& served, const schema::Document& object);

// write_path.cpp
void start_write(std::shared_ptr<Api::State> state, const Served& served, ApiRequest request, Api::Done done);

}  // namespace dure::apiserver
