// Volumes over the real API in process, on virtual time, with files in a temporary folder. Mounts are the machine's only where a test says so.
#include "volumes/volumes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <future>
#include <thread>

#include "pods/testing/world.h"
#include "volumes/files.h"
#include "volumes/object_source.h"
#include "volumes/payload.h"

namespace dure::volumes {
namespace {

using ::testing::HasSubstr;

// Remembers what it was asked for; mounts nothing.
class NoMounts : public kernel::Mounts {
 public:
  Result<std::vector<kernel::MountEntry>> list() override {
    std::vector<kernel::MountEntry> out;
    for (const std::string& target : mounted) out.push_back({0, 0, "/", target, "tmpfs"});
    return out;
  }
  Status mount(const kernel::MountRequest& request) override { return put(request.target); }
  Status bind(const std::string&, const std::string& target, const kernel::BindOptions&) override { return put(target); }
  Status tmpfs(const std::string& target, const kernel::TmpfsOptions& options) override {
    last_size = options.size_bytes;
    return put(target);
  }
  Status set_propagation(const std::string&, kernel::Propagation, bool) override { return {}; }
  Status unmount(const std::string& target, bool) override {
    mounted.erase(target);
    return {};
  }
  Status put(const std::string& target) {
    mounted.insert(target);
    return {};
  }
  std::set<std::string> mounted;
  std::optional<int64_t> last_size;
};

struct World {
  World() : api(executor) {
    char name[] = "/tmp/dure-volumes-" "XX" "XX" "XX";
    root = ::mkdtemp(name);
    start();
  }
  ~World() {
    files.reset();
    std::filesystem::remove_all(root);
  }
  void start() {
    PodFacts facts;
    facts.field = [](const schema::Object& pod, std::string_view path) {
      return pods::field_value(kinds::core_v1::Pod(pod), path, {}, {});
    };
    facts.resource = [](const schema::Object&, std::string_view, std::string_view, std::string_view) -> Result<std::string> { return "7"; };
    VolumesOptions options;
    options.root = root;
    options.owners = false;
    files = std::make_unique<Volumes>(*api.client, executor, executor, mounts, facts, options);
  }
  schema::Object pod(const std::string& volumes, const std::string& more = "") {
    return api.make_pod("p", more + R"("containers":[{"name":"a","image":"i"}],"volumes":[)" + volumes + "]", R"(,"labels":{"app":"web"})");
  }
  std::string read(const std::string& path) { return read_small_file(path).value_or("(none)"); }
  std::string error(const schema::Object& pod) {
    auto done = files->mount(pod);
    return done ? "none" : done.error().message;
  }
  void config_map(const std::string& data) {
    api.make(kinds::core_v1::configmaps, R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m"},"data":)" + data + "}", "default");
  }
  void change(const std::string& patch) {
    ASSERT_TRUE(api.client->patch(kinds::core_v1::configmaps, {"default", "m"}, client::PatchType::merge, patch));
    executor.advance(5s);
    executor.run_until_idle();
  }

  run::VirtualExecutor executor;
  pods::testing::TestApi api;
  NoMounts mounts;
  std::string root;
  std::unique_ptr<Volumes> files;
};

TEST(Volumes, ConfigMapsFollowTheirObject) {
  World w;
  w.config_map(R"({"a":"1","b":"2"})");
  const schema::Object pod = w.pod(R"({"name":"c","configMap":{"name":"m"}},{"name":"i","configMap":{"name":"m","items":[{"key":"a","path":"deep/x","mode":256}]}})");
  auto paths = w.files->mount(pod);
  ASSERT_TRUE(paths) << paths.error().message;
  EXPECT_EQ(w.read(paths->at("c") + "/a"), "1");
  EXPECT_EQ(w.read(paths->at("i") + "/deep/x"), "1");
  EXPECT_EQ(facts_of(paths->at("i") + "/deep/x").mode, 0400u);
  w.change(R"({"data":{"a":"changed"}})");
  EXPECT_EQ(w.read(paths->at("c") + "/a"), "changed");
  EXPECT_EQ(w.read(paths->at("i") + "/deep/x"), "changed");
}

TEST(Volumes, MissingThingsAreNamed) {
  World w;
  const schema::Object pod = w.pod(R"({"name":"c","configMap":{"name":"m","items":[{"key":"k","path":"k"}]}})");
  EXPECT_EQ(w.error(pod), "MountVolume.SetUp failed for volume \"c\" : configmap \"m\" not found");
  w.config_map(R"({"other":"1"})");
  EXPECT_EQ(w.error(pod), "MountVolume.SetUp failed for volume \"c\" : references non-existent config key: k");
  w.change(R"({"data":{"k":"1"}})");
  EXPECT_EQ(w.error(pod), "none");
}

TEST(Volumes, OptionalOnesMayComeLater) {
  World w;
  const schema::Object pod = w.pod(R"({"name":"c","configMap":{"name":"m","optional":true}})");
  auto paths = w.files->mount(pod);
  ASSERT_TRUE(paths);
  EXPECT_TRUE(std::filesystem::is_directory(paths->at("c")));
  w.config_map(R"({"a":"1"})");
  w.executor.advance(5s);
  EXPECT_EQ(w.read(paths->at("c") + "/a"), "1");
}

TEST(Volumes, ProjectedTokensAreRenewedInTime) {
  World w;
  w.api.make(kinds::core_v1::serviceaccounts, R"({"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"default"}})", "default");
  const schema::Object pod = w.pod(R"({"name":"t","projected":{"sources":[{"serviceAccountToken":{"path":"token"}},
      {"downwardAPI":{"items":[{"path":"labels","fieldRef":{"fieldPath":"metadata.labels"}},{"path":"cpu","resourceFieldRef":{"containerName":"a","resource":"limits.cpu"}}]}}]}})");
  auto paths = w.files->mount(pod);
  ASSERT_TRUE(paths) << paths.error().message;
  EXPECT_EQ(w.read(paths->at("t") + "/token"), "token-1-of-default");
  EXPECT_EQ(w.read(paths->at("t") + "/labels"), "app=\"web\"");
  EXPECT_EQ(w.read(paths->at("t") + "/cpu"), "7");
  w.executor.advance(40min);
  EXPECT_EQ(w.read(paths->at("t") + "/token"), "token-1-of-default");
  w.executor.advance(10min);
  EXPECT_EQ(w.read(paths->at("t") + "/token"), "token-2-of-default");
}

TEST(Volumes, DownwardFilesFollowThePod) {
  World w;
  const schema::Object pod = w.pod(R"({"name":"d","downwardAPI":{"items":[{"path":"labels","fieldRef":{"fieldPath":"metadata.labels"}}]}})");
  auto paths = w.files->mount(pod);
  ASSERT_TRUE(paths) << paths.error().message;
  auto relabelled = w.api.client->patch(kinds::core_v1::pods, {"default", "p"}, client::PatchType::merge, R"({"metadata":{"labels":{"app":"new"}}})");
  ASSERT_TRUE(relabelled);
  w.files->follow(*relabelled);
  w.executor.run_until_idle();
  EXPECT_EQ(w.read(paths->at("d") + "/labels"), "app=\"new\"");
}

TEST(Volumes, AnAgentThatRestartsKeepsContentsUpToDate) {
  World w;
  w.config_map(R"({"a":"1"})");
  const schema::Object pod = w.pod(R"({"name":"c","configMap":{"name":"m"}})");
  auto paths = w.files->mount(pod);
  ASSERT_TRUE(paths) << paths.error().message;
  w.files.reset();
  w.start();
  w.files->follow(pod);
  w.executor.run_until_idle();
  w.change(R"({"data":{"a":"changed"}})");
  EXPECT_EQ(w.read(paths->at("c") + "/a"), "changed");
}

TEST(Volumes, EmptyDirsKeepTheirContentOverAgents) {
  World w;
  const schema::Object pod = w.pod(R"({"name":"d","emptyDir":{}},{"name":"m","emptyDir":{"medium":"Memory","sizeLimit":"1Mi"}})");
  auto paths = w.files->mount(pod);
  ASSERT_TRUE(paths);
  ASSERT_TRUE(write_file(paths->at("d") + "/kept", "x", 0600));
  EXPECT_EQ(facts_of(paths->at("d")).mode, 0777u);
  EXPECT_TRUE(w.mounts.mounted.contains(paths->at("m")));
  EXPECT_EQ(w.mounts.last_size, 1 << 20);
  w.files.reset();
  w.start();
  ASSERT_TRUE(w.files->mount(pod));
  EXPECT_EQ(w.read(paths->at("d") + "/kept"), "x");
  const std::string uid(client::uid_of(pod));
  EXPECT_EQ(w.files->uids(), std::vector<std::string>{uid});
  EXPECT_FALSE(w.files->remove_tree(w.root + "/pods/" + uid)) << "something is mounted there";
  ASSERT_TRUE(w.files->unmount(uid));
  ASSERT_TRUE(w.files->remove_tree(w.root + "/pods/" + uid));
  EXPECT_TRUE(w.mounts.mounted.empty());
  EXPECT_TRUE(w.files->uids().empty());
}

TEST(Volumes, HostPathsAreChecked) {
  World w;
  const std::string folder = w.root + "/host";
  const auto volume = [&](const std::string& path, const std::string& type) {
    w.api.client->remove(kinds::core_v1::pods, {"default", "p"}, {.grace_period_seconds = 0}).value();
    return w.error(w.pod(R"({"name":"h","hostPath":{"path":")" + path + R"(","type":")" + type + R"("}})"));
  };
  w.pod("");
  EXPECT_THAT(volume(folder, "Directory"), HasSubstr("hostPath type check failed: " + folder + " is not a directory"));
  EXPECT_EQ(volume(folder, "DirectoryOrCreate"), "none");
  EXPECT_EQ(volume(folder, "Directory"), "none");
  EXPECT_EQ(volume(folder, ""), "none");
  EXPECT_THAT(volume(folder, "File"), HasSubstr("is not a file"));
  EXPECT_EQ(volume(folder + "/f", "FileOrCreate"), "none");
  EXPECT_THAT(volume(folder + "/f", "Socket"), HasSubstr("is not a socket file"));
}

TEST(Volumes, WhatIsNotBuiltSaysSo) {
  World w;
  EXPECT_EQ(w.error(w.pod(R"({"name":"n","nfs":{"server":"s","path":"/"}})")), "MountVolume.SetUp failed for volume \"n\" : volumes of kind nfs are not built yet");
}

TEST(Volumes, ObjectsAreWatchedOnlyWhileUsed) {
  run::VirtualExecutor executor;
  pods::testing::TestApi api(executor);
  std::vector<std::string> told;
  ObjectSource source(*api.client, executor, executor, [&](const std::string& user) { told.push_back(user); });
  EXPECT_EQ(*source.get(kinds::core_v1::configmaps, {"default", "m"}, "u"), nullptr);
  api.make(kinds::core_v1::configmaps, R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m"}})", "default");
  executor.run_until_idle();
  EXPECT_EQ(told, std::vector<std::string>{"u"});
  EXPECT_NE(*source.get(kinds::core_v1::configmaps, {"default", "m"}, "u"), nullptr);
  EXPECT_EQ(source.size(), 1u);
  source.release("u");
  EXPECT_EQ(source.size(), 0u);
}

// The API with somebody in the way.
class Between : public client::Client {
 public:
  explicit Between(client::Client& inner) : inner_(inner) {}
  Result<schema::Object> get(const client::Resource& r, const client::Key& k) override {
    if (away) return fail(unavailable("away"));
    return inner_.get(r, k);
  }
  Result<client::ObjectList> list(const client::Resource& r, const client::ListOptions& o) override {
    if (away) return fail(unavailable("away"));
    if (before_list) before_list();
    return inner_.list(r, o);
  }
  Result<schema::Object> create(const client::Resource& r, const schema::Document& d, std::string_view ns) override { return inner_.create(r, d, ns); }
  Result<schema::Object> update(const client::Resource& r, const schema::Document& d, std::string_view sub) override { return inner_.update(r, d, sub); }
  Result<schema::Object> patch(const client::Resource& r, const client::Key& k, client::PatchType t, std::string_view b, std::string_view sub) override {
    return inner_.patch(r, k, t, b, sub);
  }
  Status remove(const client::Resource& r, const client::Key& k, const client::DeleteOptions& o) override { return inner_.remove(r, k, o); }
  Result<schema::Object> create_subresource(const client::Resource& r, const client::Key& k, std::string_view sub, const schema::Document& b) override {
    return inner_.create_subresource(r, k, sub, b);
  }
  Result<std::unique_ptr<client::Watch>> watch(const client::Resource& r, const client::ListOptions& o, client::WatchSink& sink) override {
    if (away) return fail(unavailable("away"));
    last_sink = &sink;
    return inner_.watch(r, o, sink);
  }
  bool away = false;
  std::function<void()> before_list;
  client::WatchSink* last_sink = nullptr;

 private:
  client::Client& inner_;
};

TEST(Volumes, WhoAsksWhileAnotherAsksIsNotToldThatThereIsNothing) {
  run::VirtualExecutor executor;
  pods::testing::TestApi api(executor);
  api.make(kinds::core_v1::configmaps, R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m"}})", "default");
  Between between(*api.client);
  ObjectSource source(between, executor, executor, [](const std::string&) {});
  std::promise<void> second_asks, first_has_its_answer;
  std::atomic<int> lists = 0;
  between.before_list = [&] {
    if (++lists == 1)
      second_asks.get_future().wait();
    else
      second_asks.set_value(), first_has_its_answer.get_future().wait();
  };
  schema::Object first;
  std::thread one([&] {
    first = *source.get(kinds::core_v1::configmaps, {"default", "m"}, "a");
    first_has_its_answer.set_value();
  });
  while (lists == 0) std::this_thread::yield();
  EXPECT_NE(*source.get(kinds::core_v1::configmaps, {"default", "m"}, "b"), nullptr);
  one.join();
  EXPECT_NE(first, nullptr);
}

TEST(Volumes, ChangesAreHeardOfAgainAfterALongOutage) {
  run::VirtualExecutor executor;
  pods::testing::TestApi api(executor);
  api.make(kinds::core_v1::configmaps, R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m"}})", "default");
  Between between(*api.client);
  int told = 0;
  ObjectSource source(between, executor, executor, [&](const std::string&) { ++told; });
  ASSERT_NE(*source.get(kinds::core_v1::configmaps, {"default", "m"}, "u"), nullptr);
  between.away = true;
  between.last_sink->on_end(unavailable("away"));
  executor.advance(5min);
  between.away = false;
  executor.advance(1min);
  executor.run_until_idle();
  told = 0;
  ASSERT_TRUE(api.client->patch(kinds::core_v1::configmaps, {"default", "m"}, client::PatchType::merge, R"({"data":{"a":"1"}})"));
  executor.run_until_idle();
  EXPECT_EQ(told, 1);
}

}  // namespace
}  // namespace dure::volumes
