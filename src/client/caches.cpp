#include <map>
#include <tuple>

#include "client/object_meta.h"
#include "client/reflected_cache.h"

namespace dure::client {
namespace {

using CacheId = std::tuple<std::string, std::string, std::string, std::string, std::string, std::string>;

class CachesOf;

// The given client; answers go into the caches.
class WriteThrough final : public Client {
 public:
  WriteThrough(Client& inner, CachesOf& caches) : inner_(inner), caches_(caches) {}
  Result<schema::Object> get(const Resource& resource, const Key& key) override { return inner_.get(resource, key); }
  Result<ObjectList> list(const Resource& resource, const ListOptions& options) override {
    return inner_.list(resource, options);
  }
  Result<schema::Object> create(const Resource& resource, const schema::Document& object,
                                std::string_view namespace_) override {
    return remembered(resource, inner_.create(resource, object, namespace_));
  }
  Result<schema::Object> update(const Resource& resource, const schema::Document& object,
                                std::string_view subresource) override {
    return remembered(resource, inner_.update(resource, object, subresource));
  }
  Result<schema::Object> patch(const Resource& resource, const Key& key, PatchType type, std::string_view body,
                               std::string_view subresource) override {
    return remembered(resource, inner_.patch(resource, key, type, body, subresource));
  }
  Status remove(const Resource& resource, const Key& key, const DeleteOptions& options) override;
  Result<schema::Object> create_subresource(const Resource& resource, const Key& key, std::string_view subresource,
                                            const schema::Document& object) override {
    return remembered(resource, inner_.create_subresource(resource, key, subresource, object));
  }
  Result<std::unique_ptr<Watch>> watch(const Resource& resource, const ListOptions& options, WatchSink& sink) override {
    return inner_.watch(resource, options, sink);
  }

 private:
  Result<schema::Object> remembered(const Resource& resource, Result<schema::Object> answer);
  Client& inner_;
  CachesOf& caches_;
};

class CachesOf final : public Caches {
 public:
  CachesOf(Client& client, run::Executor& executor)
      : client_(client), executor_(executor), write_through_(client, *this) {}
  ~CachesOf() override {
    for (auto& [id, cache] : caches_) cache->stop();
  }

  Cache& of(const Resource& resource, const ListOptions& options) override {
    std::lock_guard lock(mutex_);
    auto& cache = caches_[id_of(resource, options)];
    if (!cache) {
      cache = std::make_shared<ReflectedCache>(client_, executor_, resource, options);
      cache->start();
    }
    return *cache;
  }

  bool all_synced() const override {
    std::lock_guard lock(mutex_);
    for (const auto& [id, cache] : caches_)
      if (!cache->synced()) return false;
    return true;
  }

  Client& client() override { return write_through_; }
  run::Executor& executor() override { return executor_; }

  // The cache of the whole collection, null when nobody asked for one.
  Cache* unfiltered(const Resource& resource) {
    std::lock_guard lock(mutex_);
    auto at = caches_.find(id_of(resource, {}));
    return at == caches_.end() ? nullptr : at->second.get();
  }

 private:
  static CacheId id_of(const Resource& resource, const ListOptions& options) {
    return {std::string(resource.group), std::string(resource.version), std::string(resource.plural),
            options.namespace_,          options.label_selector,        options.field_selector};
  }

  Client& client_;
  run::Executor& executor_;
  mutable std::mutex mutex_;
  std::map<CacheId, std::shared_ptr<ReflectedCache>> caches_;
  WriteThrough write_through_;
};

Result<schema::Object> WriteThrough::remembered(const Resource& resource, Result<schema::Object> answer) {
  if (!answer || !*answer) return answer;
  // Some subresources answer with another kind (Scale, TokenRequest, Binding).
  const schema::Node* kind = (*answer)->root()->find("kind");
  if (!kind || kind->string() != resource.kind) return answer;
  if (Cache* cache = caches_.unfiltered(resource)) cache->assume(*answer);
  return answer;
}

Status WriteThrough::remove(const Resource& resource, const Key& key, const DeleteOptions& options) {
  Status done = inner_.remove(resource, key, options);
  if (done)
    if (Cache* cache = caches_.unfiltered(resource)) cache->assume_removed(key, options.precondition_uid);
  return done;
}

}  // namespace

std::unique_ptr<Caches> Caches::create(Client& client, run::Executor& executor) {
  return std::make_unique<CachesOf>(client, executor);
}

}  // namespace dure::client
