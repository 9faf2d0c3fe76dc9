// A node's memory of the API over restarts, with and without a server; on virtual time.
#include "client/remembered.h"

#include <gtest/gtest.h>

#include "client/cache.h"
#include "client/test_server.h"
#include "kinds/views/authentication_v1.h"

namespace dure::client {
namespace {

namespace core = kinds::core_v1;

// The real client of the test server behind a line that can be cut.
class Line final : public Client {
 public:
  explicit Line(Client& inner) : inner_(inner) {}
  bool cut = false;

  Result<schema::Object> get(const Resource& resource, const Key& key) override {
    return cut ? Result<schema::Object>(away()) : inner_.get(resource, key);
  }
  Result<ObjectList> list(const Resource& resource, const ListOptions& options) override {
    return cut ? Result<ObjectList>(away()) : inner_.list(resource, options);
  }
  Result<schema::Object> create(const Resource& resource, const schema::Document& object,
                                std::string_view ns) override {
    return cut ? Result<schema::Object>(away()) : inner_.create(resource, object, ns);
  }
  Result<schema::Object> update(const Resource& resource, const schema::Document& object,
                                std::string_view subresource) override {
    return cut ? Result<schema::Object>(away()) : inner_.update(resource, object, subresource);
  }
  Result<schema::Object> patch(const Resource& resource, const Key& key, PatchType type, std::string_view body,
                               std::string_view subresource) override {
    return cut ? Result<schema::Object>(away()) : inner_.patch(resource, key, type, body, subresource);
  }
  Status remove(const Resource& resource, const Key& key, const DeleteOptions& options) override {
    return cut ? Status(away()) : inner_.remove(resource, key, options);
  }
  Result<schema::Object> create_subresource(const Resource& resource, const Key& key, std::string_view subresource,
                                            const schema::Document& body) override {
    return cut ? Result<schema::Object>(away()) : inner_.create_subresource(resource, key, subresource, body);
  }
  Result<std::unique_ptr<Watch>> watch(const Resource& resource, const ListOptions& options, WatchSink& sink) override {
    return cut ? Result<std::unique_ptr<Watch>>(away()) : inner_.watch(resource, options, sink);
  }

 private:
  static std::unexpected<Error> away() { return fail(unavailable("connect to 192.0.2.1:6443: No route to host")); }
  Client& inner_;
};

std::string map_named(std::string_view name, std::string_view value) {
  return R"({"metadata":{"name":")" + std::string(name) + R"("},"data":{"v":")" + std::string(value) + R"("}})";
}

struct RememberedTest : ::testing::Test {
  TestServer server{1};
  os::MemoryDisk disk;
  Line line{*server.client};
  // A process of the node: it begins with nothing but the disk.
  struct Process {
    std::unique_ptr<Client> client;
    std::unique_ptr<Caches> caches;
  };
  Process start() {
    Process process;
    auto client = remember(line, server.executor, disk, *server.random, {.folder = "/memory"});
    EXPECT_TRUE(client);
    process.client = std::move(*client);
    process.caches = Caches::create(*process.client, server.executor);
    return process;
  }
  void pass(Duration time) { server.executor.advance(time); }
  static std::string value(const schema::Object& object) {
    return object ? std::string(core::ConfigMap(object).data().get("v")) : "none";
  }
};

TEST_F(RememberedTest, AStartWithoutServerGoesByWhatWasKnown) {
  server.make(core::configmaps, map_named("a", "1"));
  {
    Process process = start();
    process.caches->of(core::configmaps);
    pass(3s);
    server.make(core::configmaps, map_named("b", "1"));
    server.patch(core::configmaps, "a", R"({"data":{"v":"2"}})");
    server.make(core::configmaps, map_named("gone", "1"));
    server.remove(core::configmaps, "gone");
    pass(3s);
  }
  line.cut = true;
  Process process = start();
  Cache& maps = process.caches->of(core::configmaps);
  pass(1s);
  EXPECT_FALSE(maps.synced()) << "a server that is only slow would have been passed over";
  pass(20s);
  ASSERT_TRUE(maps.synced());
  EXPECT_EQ(value(maps.get({"default", "a"})), "2");
  EXPECT_EQ(value(maps.get({"default", "b"})), "1");
  EXPECT_EQ(maps.size(), 2u);

  // The server is back and has moved on.
  server.remove(core::configmaps, "b");
  server.patch(core::configmaps, "a", R"({"data":{"v":"3"}})");
  line.cut = false;
  pass(1min);
  EXPECT_EQ(value(maps.get({"default", "a"})), "3");
  EXPECT_EQ(maps.size(), 1u);
}

TEST_F(RememberedTest, AGetIsRememberedAndADeletedObjectForgotten) {
  server.make(core::configmaps, map_named("a", "1"));
  server.make(core::configmaps, map_named("b", "1"));
  {
    Process process = start();
    EXPECT_EQ(value(*process.client->get(core::configmaps, {"default", "a"})), "1");
    EXPECT_EQ(value(*process.client->get(core::configmaps, {"default", "b"})), "1");
    server.remove(core::configmaps, "b");
    EXPECT_FALSE(process.client->get(core::configmaps, {"default", "b"}));
  }
  line.cut = true;
  Process process = start();
  EXPECT_FALSE(process.client->get(core::configmaps, {"default", "a"}));
  pass(6s);
  auto found = process.client->get(core::configmaps, {"default", "a"});
  ASSERT_TRUE(found);
  EXPECT_EQ(value(*found), "1");
  auto missing = process.client->get(core::configmaps, {"default", "b"});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, 503) << "not known is not the same as not there";
}

TEST_F(RememberedTest, AListCutInTheMiddleIsNoAnswer) {
  for (const char* name : {"a", "b", "c"}) server.make(core::configmaps, map_named(name, "1"));
  const ListOptions first_page{.limit = 1};
  {
    Process process = start();
    ASSERT_TRUE(process.client->list(core::configmaps, first_page));
    line.cut = true;
    (void)process.client->list(core::configmaps, {});
    pass(6s);
    EXPECT_FALSE(process.client->list(core::configmaps, {})) << "one page is not everything";
    line.cut = false;
    ASSERT_TRUE(process.client->list(core::configmaps, {}));
    pass(3s);
  }
  // The same after a restart: what the disk knows is whole.
  Process process = start();
  ASSERT_TRUE(process.client->list(core::configmaps, first_page));
  line.cut = true;
  (void)process.client->list(core::configmaps, {});
  pass(6s);
  auto known = process.client->list(core::configmaps, {});
  ASSERT_TRUE(known);
  EXPECT_EQ(known->items.size(), 3u);
}

TEST_F(RememberedTest, HeartbeatsWriteNothing) {
  server.make(core::nodes, R"({"metadata":{"name":"n"},"status":{"conditions":[{"type":"Ready","status":"True"}]}})");
  Process process = start();
  process.caches->of(core::nodes);
  pass(5s);
  const uint64_t before = disk.counters().writes;
  for (int i = 0; i < 20; ++i) {
    server.patch(core::nodes, "n",
                 R"({"status":{"conditions":[{"type":"Ready","status":"True","lastHeartbeatTime":"2026-01-01T00:00:)" +
                     std::to_string(10 + i) + R"(Z"}]}})",
                 "status");
    pass(5s);
  }
  EXPECT_EQ(disk.counters().writes, before);
  server.patch(core::nodes, "n", R"({"metadata":{"labels":{"a":"b"}}})");
  pass(5s);
  EXPECT_GT(disk.counters().writes, before);
}

TEST_F(RememberedTest, SecretsAreNotReadableOnTheDisk) {
  server.make(core::secrets, R"({"metadata":{"name":"s"},"stringData":{"password":"hush-hush"}})");
  {
    Process process = start();
    process.caches->of(core::secrets);
    pass(5s);
  }
  auto names = disk.list("/memory");
  ASSERT_TRUE(names);
  ASSERT_EQ(names->size(), 2u) << "the key and one collection";
  for (const std::string& name : *names) {
    auto bytes = os::read_file(disk, "/memory/" + name);
    ASSERT_TRUE(bytes);
    EXPECT_EQ(bytes->find("metadata"), std::string::npos) << name;
  }
}

TEST_F(RememberedTest, ADamagedFileIsForgottenNotBelieved) {
  server.make(core::configmaps, map_named("a", "1"));
  {
    Process process = start();
    process.caches->of(core::configmaps);
    pass(5s);
  }
  auto names = disk.list("/memory");
  ASSERT_TRUE(names);
  for (const std::string& name : *names)
    if (name != "key") disk.corrupt("/memory/" + name, 40);
  line.cut = true;
  Process process = start();
  Cache& maps = process.caches->of(core::configmaps);
  pass(1min);
  EXPECT_FALSE(maps.synced());
  line.cut = false;
  pass(1min);
  EXPECT_EQ(maps.size(), 1u);
}

TEST_F(RememberedTest, WhatNobodyAsksForIsRemovedInTime) {
  server.make(core::configmaps, map_named("a", "1"));
  {
    Process process = start();
    process.caches->of(core::configmaps);
    pass(5s);
  }
  Process process = start();
  process.caches->of(core::services);
  pass(30min);
  EXPECT_EQ(disk.list("/memory")->size(), 3u);
  pass(3h);
  EXPECT_EQ(disk.list("/memory")->size(), 2u);
}

TEST_F(RememberedTest, GetsThatNobodyRepeatsAreForgottenWhileTheProcessRuns) {
  Process process = start();
  process.caches->of(core::services);
  for (int i = 0; i < 20; ++i) {
    server.make(core::configmaps, map_named("m" + std::to_string(i), "1"));
    EXPECT_TRUE(process.client->get(core::configmaps, {"default", "m" + std::to_string(i)}));
  }
  pass(30min);
  EXPECT_EQ(disk.list("/memory")->size(), 22u);
  EXPECT_TRUE(process.client->get(core::configmaps, {"default", "m7"}));
  pass(80min);
  EXPECT_EQ(disk.list("/memory")->size(), 3u) << "the key, the Services and what was asked for again";
  pass(2h);
  EXPECT_EQ(disk.list("/memory")->size(), 2u);
  // What is watched is not forgotten, however long nothing happens to it.
  line.cut = true;
  Process next = start();
  Cache& services = next.caches->of(core::services);
  pass(1min);
  EXPECT_TRUE(services.synced());
}

// Variables are asked for when a container starts, which may have been weeks ago.
TEST_F(RememberedTest, WhatAPodOfThisNodeNamesIsKeptAsLongAsThePod) {
  server.make(core::configmaps, map_named("settings", "1"));
  server.make(core::persistentvolumeclaims, R"({"metadata":{"name":"data"},"spec":{"accessModes":["ReadWriteOnce"],
      "volumeName":"disk","resources":{"requests":{"storage":"1Gi"}}}})");
  server.make(core::persistentvolumes, R"({"metadata":{"name":"disk"},"spec":{"accessModes":["ReadWriteOnce"],
      "capacity":{"storage":"1Gi"},"hostPath":{"path":"/data"}}})");
  server.make(core::pods, R"({"metadata":{"name":"p"},"spec":{"nodeName":"n","containers":[{"name":"c","image":"i",
      "envFrom":[{"configMapRef":{"name":"settings"}}]}],
      "volumes":[{"name":"v","persistentVolumeClaim":{"claimName":"data"}}]}})");
  const auto recalls = [&] {
    line.cut = true;
    Process process = start();
    process.caches->of(core::pods);
    (void)process.client->get(core::configmaps, {"default", "settings"});
    pass(6s);
    const auto known = process.client->get(core::configmaps, {"default", "settings"});
    line.cut = false;
    return known ? value(*known) : known.error().message;
  };
  {
    Process process = start();
    process.caches->of(core::pods);
    EXPECT_TRUE(process.client->get(core::configmaps, {"default", "settings"}));
    EXPECT_TRUE(process.client->get(core::persistentvolumeclaims, {"default", "data"}));
    EXPECT_TRUE(process.client->get(core::persistentvolumes, {"", "disk"}));
    pass(5h);
    EXPECT_EQ(disk.list("/memory")->size(), 5u);
  }
  EXPECT_EQ(recalls(), "1");
  {  // Restarted beside a container that runs: nobody asks.
    Process process = start();
    process.caches->of(core::pods);
    pass(5h);
    EXPECT_EQ(disk.list("/memory")->size(), 5u);
  }
  EXPECT_EQ(recalls(), "1");
  {
    Process process = start();
    process.caches->of(core::pods);
    server.remove(core::pods, "p", {.grace_period_seconds = 0});
    pass(5h);
  }
  EXPECT_NE(recalls(), "1");
  EXPECT_EQ(disk.list("/memory")->size(), 2u) << "the key and the pods";
}

}  // namespace
}  // namespace dure::client
