// ObjectSource: the ConfigMaps and Secrets that volumes of this node's pods are made of, each watched by name as long
// as somebody uses it: a node may not list them all. A watch that ended is begun again, after 2 s and growing pauses
// while the server is away; where watching is not allowed it asks again after `stale_after`.
//
// Thread: any; `get` may block on one request.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "client/client.h"
#include "run/loop.h"

namespace dure::volumes {

class ObjectSource {
 public:
  // `on_change` is called as a job with the user (a pod's uid) of an object that changed.
  ObjectSource(client::Client& client, run::Executor& executor, run::Executor& jobs,
               std::function<void(const std::string& user)> on_change, Duration stale_after = 30s);
  ~ObjectSource();
  // Null: there is no such object. From now on `user` is told of changes.
  Result<schema::Object> get(const client::Resource& resource, const client::Key& key, const std::string& user);
  void release(const std::string& user);
  size_t size() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace dure::volumes
