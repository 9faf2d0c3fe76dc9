// What a write does to an object of one kind beyond its rows: fields the server sets, allocations, what a subresource
// may touch, how it dies. The resource path asks this table and names no kind itself.
//
// Hooks are plain functions over documents. What they need of the world (time, chance, other objects) comes through
// WriteWorld; what they want written besides the object goes into the same transaction through it. Thread: any.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "schema/document.h"
#include "schema/resource.h"

namespace dure::kinds {

// How the names of a kind are spelt (RFC 1123 and 1035 as the API's validation reads them).
enum class NameRule { subdomain, label, label_1035, path_segment };

// The cluster's choices that hooks need.
struct WriteSettings {
  std::string service_cidr = "10.96.0.0/12";
  int node_port_first = 30000, node_port_last = 32767;
};

struct Writer {  // who writes
  std::string_view user, uid;
  std::vector<std::string> groups;
  std::vector<std::pair<std::string, std::vector<std::string>>> extra;
};

class WriteWorld {
 public:
  virtual ~WriteWorld() = default;
  virtual WallTime now() const = 0;
  virtual uint64_t random() = 0;
  virtual const WriteSettings& settings() const = 0;
  virtual const Writer& writer() const = 0;
  // The newest committed state, or null.
  virtual schema::Object get(std::string_view group, std::string_view resource, std::string_view ns,
                             std::string_view name) const = 0;
  virtual std::vector<schema::Object> list(std::string_view group, std::string_view resource,
                                           std::string_view ns) const = 0;

  // Claims are keys of the store that exactly one object may hold: an address, a node port. They are written (removed)
  // in the transaction of the object; when somebody else was quicker the whole write is prepared anew.
  virtual bool claimed(std::string_view claim) const = 0;  // by anybody, as far as the store knows now
  virtual void claim(std::string claim, std::string owner) = 0;
  virtual void release(std::string claim) = 0;
  // Updates another object in the same transaction, on condition that it is still at `seen`'s resourceVersion.
  virtual void also_update(std::string_view group, std::string_view resource, const schema::Document& seen,
                           const schema::Document& changed) = 0;
};

struct SubresourceAction {
  enum class Kind { none, update, remove } kind = Kind::none;
  std::optional<int64_t> grace_period_seconds;  // of remove
  std::string precondition_uid;
  schema::Document answer;  // what the client gets; an empty object: a Status Success
};

// Where a streaming subresource goes: a request to the kubelet API of a node.
struct NodeCall {
  std::string node, target;  // target: path and query
};
using QueryList = std::vector<std::pair<std::string, std::string>>;

// Every pointer may be null: nothing special.
struct WriteHooks {
  std::string_view group, resource;    // of the storage version
  std::string_view storage_path = {};  // below /registry/; default: the plural
  NameRule names = NameRule::subdomain;
  bool volatile_ = false;                       // store::Durability::volatile_
  int64_t ttl_seconds = 0;                      // 0: kept until deleted
  std::vector<std::string_view> ttl_from = {};  // newest of these times starts the ttl
  // metadata.generation: bumped when anything but metadata and status changes. Default: kinds with a status
  // subresource.
  std::optional<bool> generation = {};
  bool keep_status_on_create = false;
  bool create_on_update = false;  // PUT of a missing object creates it
  bool is_namespace = false;      // the collection that namespaces of other objects name
  std::string_view idle = {};     // a warning for who creates one: it is kept, and this is what does not happen

  Status (*prepare_create)(WriteWorld&, schema::Document& object) = nullptr;
  // Runs after status (or everything but status) was taken over from `old`.
  Status (*prepare_update)(WriteWorld&, schema::Document& object, const schema::Document& old) = nullptr;
  Status (*prepare_status)(WriteWorld&, schema::Document& object, const schema::Document& old) = nullptr;
  // PUT/PATCH of a subresource other than status and scale: makes `object` (as submitted) what shall be stored.
  Status (*update_subresource)(WriteWorld&, std::string_view subresource, schema::Document& object,
                               const schema::Document& old) = nullptr;
  // POST to a subresource: may change `object` (the current state).
  Result<SubresourceAction> (*create_subresource)(WriteWorld&, std::string_view subresource, schema::Document& object,
                                                  const schema::Document& body) = nullptr;

  // Streams and proxies (log, exec, attach, portforward, proxy); `sub_path` is what follows the subresource in the URL.
  Result<NodeCall> (*node_call)(const schema::Document& object, std::string_view subresource, std::string_view sub_path,
                                const QueryList& query) = nullptr;

  // Seconds of grace of a delete; default: 0, removed at once unless finalizers hold it.
  int64_t (*grace_seconds)(const schema::Document& object, std::optional<int64_t> asked) = nullptr;
  void (*mark_deleted)(WriteWorld&, schema::Document& object) = nullptr;  // deletionTimestamp was just set
  bool (*may_vanish)(const schema::Document& object) = nullptr;  // false: something besides finalizers holds it
  void (*released)(WriteWorld&,
                   const schema::Document& object) = nullptr;  // it is being removed: release claims
};

// Never null; resources without hooks of their own share one row of defaults.
const WriteHooks* write_hooks(std::string_view group, std::string_view resource);

// Two versions of one kind that differ in shape: how the stored form is turned into another version and back.
struct Conversion {
  std::string_view group, version, resource;                          // the served one
  std::string_view storage_group, storage_version, storage_resource;  // the stored one
  Status (*to_storage)(const schema::Document& served, schema::Document& stored);
  Status (*from_storage)(const schema::Document& stored, schema::Document& served);
};
const Conversion* conversion(std::string_view group, std::string_view version, std::string_view resource);

}  // namespace dure::kinds
