// For tests: the real resource path over the memory store, on virtual time, everybody allowed everything.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include "apiserver/api.h"
#include "base/text.h"
#include "client/client.h"
#include "client/object_meta.h"
#include "kinds/views/core_v1.h"
#include "plane/in_process_client.h"
#include "run/virtual_executor.h"
#include "schema/json.h"
#include "store/store.h"

namespace dure::client {

// DURE_SEED replays one history.
inline uint64_t seed_of_test(uint64_t usual) {
  const char* text = std::getenv("DURE_SEED");
  const uint64_t seed = text ? static_cast<uint64_t>(parse_int(text).value_or(1)) : usual;
  ::testing::Test::RecordProperty("seed", std::to_string(seed));
  return seed;
}

struct TestServer {
  explicit TestServer(uint64_t seed_wanted = 1)
      : seed(seed_of_test(seed_wanted)), executor(seed), random(os::make_seeded_random(seed)) {
    apiserver::ApiGuards guards;
    guards.authorize = [](const apiserver::User&, const apiserver::Attributes&) {
      return apiserver::Verdict{true, ""};
    };
    guards.compute["authorization.k8s.io/subjectaccessreviews"] =
        [](const apiserver::ApiRequest&, schema::Document body) -> Result<schema::Document> {
      body.set(body.member(body.member(body.root(), "status"), "allowed"), true);
      return body;
    };
    api->set_guards(std::move(guards));
    user = std::make_shared<apiserver::User>(apiserver::User{.name = "system:admin", .groups = {"system:masters"}});
    client = plane::in_process_client(*api, user, executor);
    for (const char* name : {"default", "kube-system", "kube-node-lease"})
      make(kinds::core_v1::namespaces, std::string(R"({"metadata":{"name":")") + name + R"("}})");
  }

  schema::Document document(const Resource& resource, std::string_view json) const {
    auto decoded = schema::decode_json(SharedBytes(std::string(json)), *resource.type);
    EXPECT_TRUE(decoded) << (decoded ? "" : decoded.error().message) << "\n" << json;
    schema::Document object = decoded ? std::move(*decoded) : schema::Document(*resource.type);
    object.set(object.member(object.root(), "apiVersion"), std::string_view(resource.api_version()));
    object.set(object.member(object.root(), "kind"), resource.kind);
    return object;
  }

  schema::Object make(const Resource& resource, std::string_view json, std::string_view ns = "default") {
    auto made = client->create(resource, document(resource, json), ns);
    EXPECT_TRUE(made) << (made ? "" : made.error().message) << "\n" << json;
    return made ? *made : nullptr;
  }
  schema::Object get(const Resource& resource, std::string_view name, std::string_view ns = "default") {
    auto got = client->get(resource, {resource.namespaced ? std::string(ns) : std::string(), std::string(name)});
    return got ? *got : nullptr;
  }
  std::vector<schema::Object> list(const Resource& resource, std::string_view ns = {}, std::string labels = {}) {
    auto listed = client->list(resource, {.namespace_ = std::string(ns), .label_selector = std::move(labels)});
    EXPECT_TRUE(listed) << (listed ? "" : listed.error().message);
    return listed ? listed->items : std::vector<schema::Object>{};
  }
  schema::Object patch(const Resource& resource, std::string_view name, std::string_view body,
                       std::string_view subresource = {}, std::string_view ns = "default") {
    auto patched = client->patch(resource, {resource.namespaced ? std::string(ns) : std::string(), std::string(name)},
                                 PatchType::merge, body, subresource);
    EXPECT_TRUE(patched) << (patched ? "" : patched.error().message) << "\n" << body;
    return patched ? *patched : nullptr;
  }
  void remove(const Resource& resource, std::string_view name, DeleteOptions options = {},
              std::string_view ns = "default") {
    Status removed =
        client->remove(resource, {resource.namespaced ? std::string(ns) : std::string(), std::string(name)}, options);
    EXPECT_TRUE(removed) << (removed ? "" : removed.error().message);
  }

  const uint64_t seed;
  run::VirtualExecutor executor;
  std::unique_ptr<os::Random> random;
  std::unique_ptr<store::Store> store = store::make_memory_store();
  std::unique_ptr<apiserver::Api> api = std::make_unique<apiserver::Api>(*store, executor, *random);
  std::shared_ptr<const apiserver::User> user;
  std::unique_ptr<Client> client;
};

}  // namespace dure::client
