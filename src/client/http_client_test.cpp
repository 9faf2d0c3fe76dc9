// The Client over a real HTTP server on the loopback, with real threads; kubeconfigs; the codec of answers.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "apiserver/front.h"
#include "client/api_codec.h"
#include "client/cache.h"
#include "client/connect.h"
#include "client/json_slices.h"
#include "client/kubeconfig.h"
#include "client/loop.h"
#include "client/test_server.h"
#include "wire/http.h"

namespace dure::client {
namespace {

namespace core = kinds::core_v1;

// Waits for what other threads do; the limit only ends a test that has failed.
template <class Condition>
bool eventually(Condition condition) {
  for (int i = 0; i < 5000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(2ms);
  }
  return false;
}

struct HttpFixture : ::testing::Test {
  std::unique_ptr<store::Store> store = store::make_memory_store();
  std::unique_ptr<os::Random> random = os::make_seeded_random(1);
  std::unique_ptr<run::Executor> server_pool = run::make_pool("server", 2);
  std::unique_ptr<run::LoopThread> server_loop = std::make_unique<run::LoopThread>("http");
  run::LoopThread client_loop{"client"};
  apiserver::Api api{*store, *server_pool, *random};
  std::unique_ptr<apiserver::Front> front;
  std::unique_ptr<wire::Server> http;
  std::unique_ptr<Client> client;
  int port = 0;

  void SetUp() override {
    apiserver::ApiGuards guards;
    guards.authorize = [](const apiserver::User&, const apiserver::Attributes&) { return apiserver::Verdict{true, ""}; };
    api.set_guards(std::move(guards));
    front = std::make_unique<apiserver::Front>(api, apiserver::FrontOptions{});
    listen("127.0.0.1:0");
    auto connected = connect(client_loop.loop(), "http://127.0.0.1:" + std::to_string(port), {});
    ASSERT_TRUE(connected) << connected.error().message;
    client = std::move(*connected);
    make_namespace("default");
  }

  void listen(const std::string& address) {
    auto listening = wire::Server::listen(address, {}, {&server_loop->loop()}, front->handler());
    ASSERT_TRUE(listening) << listening.error().message;
    http = std::move(*listening);
    port = http->port();
  }

  void make_namespace(const char* name) {
    schema::Document object(*core::namespaces.type);
    core::Namespace(object).mutable_metadata().set_name(name);
    auto made = client->create(core::namespaces, object, {});
    ASSERT_TRUE(made) << made.error().message;
  }

  Result<schema::Object> make_map(const std::string& name, const std::string& value = "") {
    schema::Document object(*core::configmaps.type);
    core::ConfigMap(object).mutable_metadata().set_name(name);
    core::ConfigMap(object).set_data("v", value);
    return client->create(core::configmaps, object, "default");
  }
};

TEST_F(HttpFixture, WritesAndReads) {
  auto made = make_map("a", "1");
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ((*made)->root()->find("kind")->string(), "ConfigMap");
  auto got = client->get(core::configmaps, {"default", "a"});
  ASSERT_TRUE(got);
  EXPECT_EQ(uid_of(*got), uid_of(*made));
  schema::Document changed = (*got)->clone();
  core::ConfigMap(changed).set_data("v", "2");
  ASSERT_TRUE(client->update(core::configmaps, changed));
  auto patched = client->patch(core::configmaps, {"default", "a"}, PatchType::merge, R"({"data":{"w":"3"}})");
  ASSERT_TRUE(patched);
  EXPECT_EQ(core::ConfigMap(*patched).data().get("v"), "2");
  EXPECT_EQ(core::ConfigMap(*patched).data().get("w"), "3");
  auto stale = client->update(core::configmaps, changed);
  ASSERT_FALSE(stale);
  EXPECT_TRUE(stale.error().is("Conflict"));
  ASSERT_TRUE(make_map("b"));
  auto listed = client->list(core::configmaps, {.namespace_ = "default"});
  ASSERT_TRUE(listed);
  EXPECT_EQ(listed->items.size(), 2u);
  EXPECT_EQ(listed->items[0]->root()->find("kind")->string(), "ConfigMap");
  EXPECT_FALSE(listed->resource_version.empty());
  ASSERT_TRUE(client->remove(core::configmaps, {"default", "a"}));
  auto gone = client->get(core::configmaps, {"default", "a"});
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code, 404);
  EXPECT_EQ(gone.error().message, "configmaps \"a\" not found");
  EXPECT_EQ(gone.error().details_kind, "configmaps");
}

TEST_F(HttpFixture, PagesAndSelectors) {
  for (int i = 0; i < 7; ++i) ASSERT_TRUE(make_map("m" + std::to_string(i)));
  auto first = client->list(core::configmaps, {.namespace_ = "default", .limit = 5});
  ASSERT_TRUE(first);
  EXPECT_EQ(first->items.size(), 5u);
  ASSERT_FALSE(first->continue_token.empty());
  auto rest = client->list(core::configmaps, {.namespace_ = "default", .continue_token = first->continue_token, .limit = 5});
  ASSERT_TRUE(rest) << rest.error().message;
  EXPECT_EQ(rest->items.size(), 2u);
  auto one = client->list(core::configmaps, {.field_selector = "metadata.name=m3"});
  ASSERT_TRUE(one);
  EXPECT_EQ(one->items.size(), 1u);
}

TEST_F(HttpFixture, CacheFollowsOverHttpAndThroughARestart) {
  ASSERT_TRUE(make_map("a"));
  auto pool = run::make_pool("client", 2);
  auto caches = Caches::create(*client, *pool);
  Cache& maps = caches->of(core::configmaps);
  ASSERT_TRUE(eventually([&] { return maps.synced(); }));
  EXPECT_EQ(maps.size(), 1u);
  ASSERT_TRUE(make_map("b"));
  EXPECT_TRUE(eventually([&] { return maps.size() == 2; }));

  http.reset();
  listen("127.0.0.1:" + std::to_string(port));
  EXPECT_TRUE(eventually([&] { return make_map("c").has_value() || client->get(core::configmaps, {"default", "c"}).has_value(); }));
  EXPECT_TRUE(eventually([&] { return maps.size() == 3; }));
}

TEST_F(HttpFixture, LoopsRunOnAPool) {
  auto pool = run::make_pool("client", 3);
  auto caches = Caches::create(*client, *pool);
  auto runner = Runner::create(*caches, *pool);
  std::atomic<int> written = 0;
  LoopSpec spec;
  spec.name = "marker";
  spec.watches = {{&core::configmaps, own_key(), {}}};
  spec.workers = 2;
  Cache& maps = caches->of(core::configmaps);
  spec.reconcile = [&](const Key& key) {
    const schema::Object map = maps.get(key);
    if (!map || core::ConfigMap(map).data().get("v") == "seen") return Outcome::done();
    schema::Document next = map->clone();
    core::ConfigMap(next).set_data("v", "seen");
    auto done = caches->client().update(core::configmaps, next);
    if (!done) return Outcome::failed(done.error());
    ++written;
    return Outcome::done();
  };
  runner->add(std::move(spec));
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(make_map("m" + std::to_string(i)));
  EXPECT_TRUE(eventually([&] { return written == 20; }));
  EXPECT_TRUE(eventually([&] { return runner->idle(); }));
  EXPECT_EQ(written, 20);  // own writes were seen: none twice
}

TEST(Paths, AreTheApis) {
  EXPECT_EQ(path_of(core::pods, "a", "b", "status"), "/api/v1/namespaces/a/pods/b/status");
  EXPECT_EQ(path_of(core::nodes, "ignored", "n"), "/api/v1/nodes/n");
  EXPECT_EQ(path_of(core::pods, ""), "/api/v1/pods");
  EXPECT_EQ(query_of({.label_selector = "a=b,c", .resource_version = "7"}, true),
            "?watch=true&allowWatchBookmarks=true&labelSelector=a%3Db%2Cc&resourceVersion=7");
}

TEST(Slices, CutJsonWithoutDecoding) {
  const auto members = json_members(R"( {"a" : "x\"}," , "b":[1,{"c":"]"}], "d":null} )");
  ASSERT_TRUE(members);
  ASSERT_EQ(members->size(), 3u);
  EXPECT_EQ((*members)[0].second, R"("x\"},")");
  const auto items = json_items((*members)[1].second);
  ASSERT_TRUE(items);
  EXPECT_EQ((*items)[1], R"({"c":"]"})");
  for (const char* bad : {"", "[", "{", R"({"a":)", R"({"a":"x)", R"({"a":[1,)", R"({"a" 1})", "nonsense"})
    EXPECT_FALSE(json_members(bad)) << bad;
  EXPECT_FALSE(json_items("[1,2"));
}

TEST(Codec, ErrorsOfTheWatchAreErrors) {
  auto event = decode_event(core::pods, R"({"type":"ERROR","object":{"kind":"Status","status":"Failure","code":410,"reason":"Expired","message":"too old"}})");
  ASSERT_FALSE(event);
  EXPECT_EQ(event.error().code, 410);
  EXPECT_TRUE(event.error().is("Expired"));
  EXPECT_FALSE(decode_event(core::pods, R"({"type":"ODD","object":{}})"));
  EXPECT_FALSE(decode_event(core::pods, "garbage"));
  EXPECT_EQ(decode_status(502, "<html>").reason, "InternalError");
}

constexpr std::string_view config_yaml = R"(
apiVersion: v1
kind: Config
current-context: home
contexts:
- name: home
  context: {cluster: c, user: u, namespace: shop}
- name: bare
  context: {cluster: c}
- name: cloud
  context: {cluster: c, user: e}
clusters:
- name: c
  cluster:
    server: https://192.0.2.1:6443
    certificate-authority-data: Q0E=
users:
- name: u
  user:
    client-certificate: /etc/cert.pem
    client-key-data: S0VZ
- name: e
  user:
    exec: {command: helper}
)";

TEST(Kubeconfigs, AreReadAsKubectlReadsThem) {
  const ReadFile files = [](std::string_view path) -> Result<std::string> { return "file " + std::string(path); };
  auto config = parse_kubeconfig(config_yaml, files);
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->server, "https://192.0.2.1:6443");
  EXPECT_EQ(config->namespace_, "shop");
  EXPECT_EQ(config->credentials.ca_pem, "CA");
  EXPECT_EQ(config->credentials.certificate_pem, "file /etc/cert.pem");
  EXPECT_EQ(config->credentials.key_pem, "KEY");
  EXPECT_TRUE(parse_kubeconfig(config_yaml, files, "bare"));
  EXPECT_EQ(parse_kubeconfig(config_yaml, files, "cloud").error().code, 501);
  EXPECT_EQ(parse_kubeconfig(config_yaml, files, "nowhere").error().message, "the kubeconfig has no context \"nowhere\"");
}

}  // namespace
}  // namespace dure::client
