#include "client/remembered.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <optional>
#include <set>

#include "base/log.h"
#include "base/text.h"
#include "client/api_codec.h"
#include "client/object_meta.h"
#include "kinds/hooks/pod_references.h"
#include "kinds/views/authentication_v1.h"
#include "kinds/views/core_v1.h"
#include "pki/seal.h"
#include "run/gate.h"
#include "schema/json.h"

namespace dure::client {
namespace {

constexpr size_t collection_bytes_max = 16 << 20;
constexpr size_t bytes_per_second_max = 100 << 10;
constexpr Duration write_after_min = 1s;
constexpr std::string_view suffix = ".sealed";

// The server did not answer: nobody who was asked said no.
bool is_unanswered(const Error& error) { return error.code >= 500; }

std::string id_of(const Resource& resource, const ListOptions& options) {
  return resource.api_version() + "/" + std::string(resource.plural) + "\n" + options.namespace_ + "\n" +
         options.label_selector + "\n" + options.field_selector;
}

ListOptions only(const Key& key) {
  return {.namespace_ = key.namespace_, .field_selector = "metadata.name=" + key.name};
}

// Signs of life are no change worth a write.
void drop_heartbeats(schema::Document& object) {
  if (schema::Node* metadata = object.root()->find("metadata")) {
    object.erase(metadata, "resourceVersion");
    object.erase(metadata, "managedFields");
  }
  schema::Node* status = object.root()->find("status");
  schema::Node* conditions = status ? status->find("conditions") : nullptr;
  for (schema::Node* row = conditions ? conditions->first() : nullptr; row; row = row->next())
    if (row->kind() == schema::Kind::object) object.erase(row, "lastHeartbeatTime");
}

struct Collection {
  const Resource* resource = nullptr;
  bool is_whole = false;  // the end of a list was seen: what is not among the items is not there
  std::map<Key, schema::Object> items;
  std::string resource_version;
  std::vector<schema::Object> pages;  // of a list that is not at its end yet
  uint64_t written = 0;               // digest of what is on disk
  size_t bytes = 0;                   // of the last file
  std::unique_ptr<run::Timer> write;
};

std::string as_list(const Collection& collection) {
  std::string out = R"({"kind":")" + std::string(collection.resource->list_kind) + R"(","apiVersion":")" +
                    collection.resource->api_version() + R"(","metadata":{"resourceVersion":")" +
                    collection.resource_version + R"("},"items":[)";
  for (const auto& [key, object] : collection.items) {
    if (out.back() != '[') out += ',';
    schema::encode_json(*object, out);
  }
  return out + "]}";
}

uint64_t digest_of(const Collection& collection) {
  std::string text;
  for (const auto& [key, object] : collection.items) {
    schema::Document copy = object->clone();
    drop_heartbeats(copy);
    schema::encode_json(copy, text);
  }
  return fnv1a_64(text) | 1;  // never the 0 of nothing written
}

class Remembered final : public Client {
 public:
  Remembered(Client& inner, run::Executor& executor, os::Disk& disk, os::Random& random, RememberOptions options,
             std::string key)
      : inner_(inner),
        executor_(executor),
        disk_(disk),
        random_(random),
        options_(std::move(options)),
        key_(std::move(key)) {
    sweep_later();
  }

  ~Remembered() override {
    executor_.close();
    for (const std::string& id : changed()) write(id);
  }

  Result<ObjectList> list(const Resource& resource, const ListOptions& options) override {
    auto answer = inner_.list(resource, options);
    const std::string id = id_of(resource, options);
    if (answer) {
      heard();
      take_page(id, resource, options, *answer);
    } else if (is_unanswered(answer.error()) && is_patience_over()) {
      if (auto known = recall(id, resource)) return *known;
    }
    return answer;
  }

  Result<schema::Object> get(const Resource& resource, const Key& key) override {
    auto answer = inner_.get(resource, key);
    const std::string id = id_of(resource, only(key));
    if (answer || answer.error().code == 404) {
      heard();
      set_only(id, resource, answer ? *answer : nullptr);
    } else if (is_unanswered(answer.error()) && is_patience_over()) {
      if (auto known = recall(id, resource); known && !known->items.empty()) return known->items.front();
    }
    return answer;
  }

  Result<std::unique_ptr<Watch>> watch(const Resource& resource, const ListOptions& options, WatchSink& sink) override;

  // Tokens: the one action whose answer a pod needs to start.
  Result<schema::Object> create_subresource(const Resource& resource, const Key& key, std::string_view subresource,
                                            const schema::Document& body) override {
    auto answer = inner_.create_subresource(resource, key, subresource, body);
    const schema::Subresource* action = resource.subresource(subresource);
    if (subresource != "token" || !action || !action->type) return answer;
    const std::string id = id_of(resource, {}) + "\n" + key.text() + "\n" + schema::to_json(body);
    if (answer) {
      heard();
      const kinds::authentication_v1::TokenRequest token(*answer);
      const auto good_until = parse_time(token.status().expirationTimestamp());
      keep(id, good_until ? *good_until - executor_.wall_now() : options_.forget_after);
      write_file(id, schema::to_json(**answer));
    } else if (is_unanswered(answer.error()) && is_patience_over()) {
      if (auto text = read_file(id))
        if (auto known = decode_object(resource, subresource, std::move(*text))) return known;
    }
    return answer;
  }

  Result<schema::Object> create(const Resource& resource, const schema::Document& object,
                                std::string_view namespace_) override {
    return inner_.create(resource, object, namespace_);
  }
  Result<schema::Object> update(const Resource& resource, const schema::Document& object,
                                std::string_view subresource) override {
    return inner_.update(resource, object, subresource);
  }
  Result<schema::Object> patch(const Resource& resource, const Key& key, PatchType type, std::string_view body,
                               std::string_view subresource) override {
    return inner_.patch(resource, key, type, body, subresource);
  }
  Status remove(const Resource& resource, const Key& key, const DeleteOptions& options) override {
    return inner_.remove(resource, key, options);
  }

  void on_event(const std::string& id, const WatchEvent& event) {
    std::lock_guard lock(mutex_);
    auto at = collections_.find(id);
    if (at == collections_.end() || !at->second.is_whole) return;
    Collection& known = at->second;
    known.resource_version = std::string(resource_version_of(event.object));
    if (event.kind == WatchEvent::Kind::bookmark) return;
    if (event.kind == WatchEvent::Kind::deleted)
      known.items.erase(key_of(event.object));
    else
      known.items[key_of(event.object)] = event.object;
    write_later(id, known);
  }

  void watched(const std::string& id, bool is) {
    std::lock_guard lock(mutex_);
    if ((watches_[id] += is ? 1 : -1) == 0) watches_.erase(id);
  }

 private:
  void heard() {
    std::lock_guard lock(mutex_);
    silent_since_.reset();
    was_heard_ = true;
  }

  bool is_patience_over() {
    std::lock_guard lock(mutex_);
    const Monotonic now = executor_.now();
    if (!silent_since_) silent_since_ = now;
    return now - *silent_since_ >= options_.patience;
  }

  void take_page(const std::string& id, const Resource& resource, const ListOptions& options, const ObjectList& page) {
    std::lock_guard lock(mutex_);
    Collection& known = collection(id, resource);
    if (options.continue_token.empty()) known.pages.clear();
    known.pages.insert(known.pages.end(), page.items.begin(), page.items.end());
    if (!page.continue_token.empty()) return;
    known.items.clear();
    for (schema::Object& object : known.pages) {
      Key key = key_of(object);
      known.items[std::move(key)] = std::move(object);
    }
    known.pages.clear();
    known.is_whole = true;
    known.resource_version = page.resource_version;
    write_later(id, known);
  }

  void set_only(const std::string& id, const Resource& resource, const schema::Object& object) {
    std::lock_guard lock(mutex_);
    Collection& known = collection(id, resource);
    known.items.clear();
    known.is_whole = true;
    if (object) known.items[key_of(object)] = object;
    write_later(id, known);
  }

  // From memory, else from the disk.
  std::optional<ObjectList> recall(const std::string& id, const Resource& resource) {
    {
      std::lock_guard lock(mutex_);
      if (auto at = collections_.find(id); at != collections_.end() && at->second.is_whole)
        return list_of(at->second);
    }
    auto text = read_file(id);
    if (!text) return {};
    auto known = decode_list(resource, *text);
    if (!known) {
      log(LogLevel::warn, "client", "a remembered collection cannot be read",
          {{"resource", resource.qualified()}, {"why", known.error().message}});
      return {};
    }
    log(LogLevel::info, "client", "the server is silent: going by what is remembered",
        {{"resource", resource.qualified()}, {"objects", std::to_string(known->items.size())}});
    std::lock_guard lock(mutex_);
    Collection& loaded = collection(id, resource);
    for (const schema::Object& object : known->items) loaded.items[key_of(object)] = object;
    loaded.is_whole = true;
    loaded.resource_version = known->resource_version;
    loaded.written = digest_of(loaded);
    return *known;
  }

  static ObjectList list_of(const Collection& collection) {
    ObjectList list;
    for (const auto& [key, object] : collection.items) list.items.push_back(object);
    list.resource_version = collection.resource_version;
    return list;
  }

  Collection& collection(const std::string& id, const Resource& resource) {
    Collection& known = collections_[id];
    known.resource = &resource;
    keep_until(id, executor_.now() + options_.forget_after);
    return known;
  }

  void keep(const std::string& id, Duration time) {
    std::lock_guard lock(mutex_);
    keep_until(id, executor_.now() + time);
  }
  void keep_until(const std::string& id, Monotonic until) {
    Monotonic& known = keep_until_[name_of(id)];
    known = std::max(known, until);
  }

  // --- The disk

  static std::string name_of(const std::string& id) {
    const uint64_t hash = fnv1a_64(id);
    return hex_encode({reinterpret_cast<const char*>(&hash), sizeof hash}) + std::string(suffix);
  }
  std::string path_of(const std::string& id) const { return options_.folder + "/" + name_of(id); }

  void write_later(const std::string& id, Collection& known) {
    if (known.write) return;
    const Duration pace = std::chrono::milliseconds(known.bytes * 1000 / bytes_per_second_max);
    known.write = executor_.after(std::max<Duration>(write_after_min, pace), [this, id] { write(id); });
  }

  std::vector<std::string> changed() {
    std::lock_guard lock(mutex_);
    std::vector<std::string> out;
    for (auto& [id, known] : collections_)
      if (known.write) out.push_back(id);
    return out;
  }

  void write(const std::string& id) {
    std::string text;
    {
      std::lock_guard lock(mutex_);
      const auto at = collections_.find(id);
      if (at == collections_.end()) return;  // forgotten meanwhile
      Collection& known = at->second;
      known.write.reset();
      const uint64_t digest = digest_of(known);
      if (digest == known.written) return;
      known.written = digest;
      text = as_list(known);
      known.bytes = text.size();
    }
    if (text.size() <= collection_bytes_max) write_file(id, text);
  }

  void write_file(const std::string& id, std::string_view text) {
    const Status done = os::write_file_atomic(disk_, path_of(id), pki::seal(key_, text, random_));
    if (!done) log(LogLevel::warn, "client", "cannot remember a collection", {{"why", done.error().message}});
  }

  std::optional<std::string> read_file(const std::string& id) {
    auto sealed = os::read_file(disk_, path_of(id));
    if (!sealed) return {};
    auto text = pki::unseal(key_, *sealed);
    if (text) return std::move(*text);
    log(LogLevel::warn, "client", "forgetting a remembered collection", {{"why", text.error().message}});
    (void)disk_.remove(path_of(id));
    return {};
  }

  void sweep_later() {
    sweep_ = executor_.after(options_.forget_after, [this] { sweep(); });
  }

  // What nobody asked for, although the server was there to be asked.
  void sweep() {
    std::set<std::string> kept;
    {
      std::lock_guard lock(mutex_);
      sweep_later();
      if (!was_heard_ || silent_since_) return;
      kept = files_in_use();
      std::erase_if(collections_, [&](const auto& entry) { return !kept.contains(name_of(entry.first)); });
    }
    auto names = disk_.list(options_.folder);
    if (!names) return;
    for (const std::string& name : *names)
      if (name.ends_with(suffix) && !kept.contains(name)) (void)disk_.remove(options_.folder + "/" + name);
  }

  std::set<std::string> files_in_use() {
    std::set<std::string> out;
    std::erase_if(keep_until_, [now = executor_.now()](const auto& entry) { return entry.second <= now; });
    for (const auto& [name, until] : keep_until_) out.insert(name);
    for (const auto& [id, count] : watches_) out.insert(name_of(id));
    for (const auto& [id, known] : collections_)
      if (known.resource == &kinds::core_v1::pods)
        for (const auto& [key, pod] : known.items) add_named_by(pod, out);
    return out;
  }

  void add_named_by(const schema::Object& object, std::set<std::string>& out) {
    const kinds::core_v1::Pod pod(object);
    const kinds::PodReferences named = kinds::references_of(pod);
    const std::string namespace_(pod.metadata().namespace_());
    const auto add = [&](const Resource& resource, const Key& key) {
      out.insert(name_of(id_of(resource, only(key))));
    };
    for (const std::string& name : named.config_maps) add(kinds::core_v1::configmaps, {namespace_, name});
    for (const std::string& name : named.secrets) add(kinds::core_v1::secrets, {namespace_, name});
    for (const std::string& name : named.claims) {
      const Key key{namespace_, name};
      add(kinds::core_v1::persistentvolumeclaims, key);
      if (const schema::Object claim = known_object(kinds::core_v1::persistentvolumeclaims, key))
        add(kinds::core_v1::persistentvolumes,
            {"", std::string(kinds::core_v1::PersistentVolumeClaim(claim).spec().volumeName())});
    }
  }

  // Under the lock; what an earlier process asked for may be on the disk only.
  schema::Object known_object(const Resource& resource, const Key& key) {
    const std::string id = id_of(resource, only(key));
    if (const auto at = collections_.find(id); at != collections_.end())
      return at->second.items.empty() ? nullptr : at->second.items.begin()->second;
    const auto text = read_file(id);
    const auto list = text ? decode_list(resource, *text) : fail(not_found("file", id));
    return list && !list->items.empty() ? list->items.front() : nullptr;
  }

  Client& inner_;
  run::Gate executor_;
  os::Disk& disk_;
  os::Random& random_;
  const RememberOptions options_;
  const std::string key_;
  std::mutex mutex_;
  std::map<std::string, Collection> collections_;
  std::map<std::string, Monotonic> keep_until_;  // by file: of this process's questions
  std::map<std::string, int> watches_;           // that are open, by collection
  std::optional<Monotonic> silent_since_;
  bool was_heard_ = false;
  std::unique_ptr<run::Timer> sweep_;
};

// Passes events on, after they were taken down. Shared, because a sink may end its own watch.
class Listening final : public WatchSink, public std::enable_shared_from_this<Listening> {
 public:
  Listening(Remembered& memory, std::string id, WatchSink& sink) : memory_(memory), id_(std::move(id)), sink_(sink) {
    memory_.watched(id_, true);
  }
  ~Listening() override { memory_.watched(id_, false); }
  void on_event(WatchEvent event) override {
    const auto self = shared_from_this();
    memory_.on_event(id_, event);
    sink_.on_event(std::move(event));
  }
  void on_end(Error why) override {
    const auto self = shared_from_this();
    sink_.on_end(std::move(why));
  }

 private:
  Remembered& memory_;
  const std::string id_;
  WatchSink& sink_;
};

struct RememberedWatch final : public Watch {
  RememberedWatch(std::shared_ptr<Listening> listening, std::unique_ptr<Watch> inner)
      : listening(std::move(listening)), inner(std::move(inner)) {}
  std::shared_ptr<Listening> listening;
  std::unique_ptr<Watch> inner;  // ends first
};

Result<std::unique_ptr<Watch>> Remembered::watch(const Resource& resource, const ListOptions& options,
                                                 WatchSink& sink) {
  auto listening = std::make_shared<Listening>(*this, id_of(resource, options), sink);
  DURE_TRY(std::unique_ptr<Watch> inner, inner_.watch(resource, options, *listening));
  return std::make_unique<RememberedWatch>(std::move(listening), std::move(inner));
}

}  // namespace

Result<std::unique_ptr<Client>> remember(Client& inner, run::Executor& executor, os::Disk& disk, os::Random& random,
                                         RememberOptions options) {
  DURE_CHECK(disk.make_directories(options.folder, 0700));
  const std::string path = options.folder + "/key";
  std::string key;
  if (auto known = os::read_file(disk, path); known && known->size() == pki::seal_key_bytes) {
    key = std::move(*known);
  } else {
    key = random.bytes(pki::seal_key_bytes);
    DURE_CHECK(os::write_file_atomic(disk, path, key));
  }
  return std::make_unique<Remembered>(inner, executor, disk, random, std::move(options), std::move(key));
}

}  // namespace dure::client
