// Client: typed-by-row access to the API for everything that is not kubectl: controllers, scheduler, agent, lab,
// simulator.
//
// Two implementations of one interface: `connect` (HTTPS to a server) and the API server's own in-process entry
// (the same resource path, without bytes on a wire). There is no fake. Thread: any. Calls block until answered or
// `timeout`; they must not be made on a loop thread that serves them.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "schema/document.h"
#include "schema/resource.h"

namespace dure::client {

using schema::Resource;  // built-in ones are constants: kinds::core_v1::pods

struct Key {
  std::string namespace_, name;
  friend auto operator<=>(const Key&, const Key&) = default;
  std::string text() const { return namespace_.empty() ? name : namespace_ + "/" + name; }
};

struct ListOptions {
  std::string namespace_;  // empty: all
  std::string label_selector, field_selector, resource_version, continue_token;
  int64_t limit = 0;
};

struct ObjectList {
  std::vector<schema::Object> items;  // apiVersion and kind are filled in
  std::string resource_version, continue_token;
};

enum class PatchType { json, merge, strategic, apply };
enum class Propagation { background, foreground, orphan };

struct DeleteOptions {
  int64_t grace_period_seconds = -1;  // -1: the kind's default
  Propagation propagation = Propagation::background;
  std::string precondition_uid, precondition_resource_version;
};

struct WatchEvent {
  enum class Kind { added, modified, deleted, bookmark };
  Kind kind;
  schema::Object object;
};

class WatchSink {
 public:
  virtual ~WatchSink() = default;
  virtual void on_event(WatchEvent event) = 0;
  // The watch is over: closed by the server, broken, or 410 "Expired" (list again). Called once, last.
  virtual void on_end(Error why) = 0;
};

class Watch {  // ends when destroyed; the sink is not called after the destructor returned
 public:
  virtual ~Watch() = default;
};

class Client {
 public:
  virtual ~Client() = default;
  virtual Result<schema::Object> get(const Resource&, const Key&) = 0;
  virtual Result<ObjectList> list(const Resource&, const ListOptions& = {}) = 0;
  virtual Result<schema::Object> create(const Resource&, const schema::Document&, std::string_view namespace_) = 0;
  // PUT; a resourceVersion in the object makes it conditional. `subresource`: "", "status", "scale", ...
  virtual Result<schema::Object> update(const Resource&, const schema::Document&,
                                        std::string_view subresource = {}) = 0;
  virtual Result<schema::Object> patch(const Resource&, const Key&, PatchType, std::string_view body,
                                       std::string_view subresource = {}) = 0;
  virtual Status remove(const Resource&, const Key&, const DeleteOptions& = {}) = 0;
  // POST to a subresource that is an action: "binding", "eviction", "token".
  virtual Result<schema::Object> create_subresource(const Resource&, const Key&, std::string_view subresource,
                                                    const schema::Document&) = 0;
  virtual Result<std::unique_ptr<Watch>> watch(const Resource&, const ListOptions&, WatchSink&) = 0;
};

}  // namespace dure::client
