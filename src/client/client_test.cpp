// Caches, loops and events against the real resource path, on virtual time.
#include <gtest/gtest.h>

#include "base/log.h"
#include "client/cache.h"
#include "client/events.h"
#include "client/loop.h"
#include "client/test_server.h"

namespace dure::client {
namespace {

namespace core = kinds::core_v1;

std::string map_named(std::string_view name, std::string_view value = "") {
  return R"({"metadata":{"name":")" + std::string(name) + R"("},"data":{"v":")" + std::string(value) + R"("}})";
}

struct Fixture : ::testing::Test {
  TestServer server{1};
  std::unique_ptr<Caches> caches = Caches::create(*server.client, server.executor);
  void settle() { server.executor.run_until_idle(); }
};

TEST_F(Fixture, CacheFollowsTheServer) {
  server.make(core::configmaps, map_named("a"));
  Cache& maps = caches->of(core::configmaps);
  EXPECT_FALSE(maps.synced());
  settle();
  ASSERT_TRUE(maps.synced());
  EXPECT_EQ(maps.size(), 1u);
  server.make(core::configmaps, map_named("b"));
  server.patch(core::configmaps, "a", R"({"data":{"v":"2"}})");
  settle();
  EXPECT_EQ(maps.size(), 2u);
  EXPECT_EQ(core::ConfigMap(maps.get({"default", "a"})).data().get("v"), "2");
  server.remove(core::configmaps, "a");
  settle();
  EXPECT_EQ(maps.get({"default", "a"}), nullptr);
  EXPECT_EQ(&caches->of(core::configmaps), &maps);
}

TEST_F(Fixture, HandlersSeeBeforeAndAfterInOrder) {
  server.make(core::configmaps, map_named("a", "1"));
  Cache& maps = caches->of(core::configmaps);
  std::string story;
  maps.add_handler([&](const schema::Object& before, const schema::Object& after) {
    auto value = [](const schema::Object& object) {
      return object ? std::string(core::ConfigMap(object).data().get("v")) : std::string("-");
    };
    story += value(before) + value(after) + " ";
  });
  settle();
  server.patch(core::configmaps, "a", R"({"data":{"v":"2"}})");
  settle();
  server.remove(core::configmaps, "a");
  settle();
  EXPECT_EQ(story, "-1 12 2- ");
}

TEST_F(Fixture, IndexesFollowChanges) {
  Cache& maps = caches->of(core::configmaps);
  maps.add_index("value", [](const schema::Object& object) {
    return std::vector<std::string>{std::string(core::ConfigMap(object).data().get("v"))};
  });
  server.make(core::configmaps, map_named("a", "x"));
  server.make(core::configmaps, map_named("b", "x"));
  settle();
  EXPECT_EQ(maps.by_index("value", "x").size(), 2u);
  server.patch(core::configmaps, "b", R"({"data":{"v":"y"}})");
  settle();
  EXPECT_EQ(maps.by_index("value", "x").size(), 1u);
  ASSERT_EQ(maps.by_index("value", "y").size(), 1u);
  EXPECT_EQ(name_of(maps.by_index("value", "y").front()), "b");
}

TEST_F(Fixture, WritesAreReadAtOnce) {
  Cache& maps = caches->of(core::configmaps);
  settle();
  ASSERT_TRUE(caches->client().create(core::configmaps, server.document(core::configmaps, map_named("a", "1")), "default"));
  ASSERT_NE(maps.get({"default", "a"}), nullptr);  // no time passed, no event delivered
  ASSERT_TRUE(caches->client().patch(core::configmaps, {"default", "a"}, PatchType::merge, R"({"data":{"v":"2"}})"));
  EXPECT_EQ(core::ConfigMap(maps.get({"default", "a"})).data().get("v"), "2");
  ASSERT_TRUE(caches->client().remove(core::configmaps, {"default", "a"}));
  ASSERT_NE(maps.get({"default", "a"}), nullptr);
  EXPECT_TRUE(is_terminating(maps.get({"default", "a"})));
  settle();
  EXPECT_EQ(maps.get({"default", "a"}), nullptr);
}

TEST_F(Fixture, AWriteThatWasOvertakenIsNotBroughtBack) {
  Cache& maps = caches->of(core::configmaps);
  settle();
  const schema::Object made = server.make(core::configmaps, map_named("a"));
  server.remove(core::configmaps, "a");
  settle();
  maps.assume(made);  // its answer arrives late
  EXPECT_EQ(maps.get({"default", "a"}), nullptr);
}

TEST_F(Fixture, ReflectorSurvivesCompaction) {
  Cache& maps = caches->of(core::configmaps);
  server.make(core::configmaps, map_named("a"));
  settle();
  server.make(core::configmaps, map_named("b"));
  ASSERT_TRUE(server.store->compact(server.store->revision()));
  settle();
  server.make(core::configmaps, map_named("c"));
  server.executor.advance(1min);
  EXPECT_EQ(maps.size(), 3u);
}

// Passes everything on, but a watch can be made to hear nothing for ever.
class DeafWatches final : public Client {
 public:
  explicit DeafWatches(Client& inner) : inner_(inner) {}
  bool deaf = false;
  int watches = 0;
  Result<schema::Object> get(const Resource& r, const Key& k) override { return inner_.get(r, k); }
  Result<ObjectList> list(const Resource& r, const ListOptions& o) override { return inner_.list(r, o); }
  Result<schema::Object> create(const Resource& r, const schema::Document& d, std::string_view n) override {
    return inner_.create(r, d, n);
  }
  Result<schema::Object> update(const Resource& r, const schema::Document& d, std::string_view s) override {
    return inner_.update(r, d, s);
  }
  Result<schema::Object> patch(const Resource& r, const Key& k, PatchType t, std::string_view b, std::string_view s) override {
    return inner_.patch(r, k, t, b, s);
  }
  Status remove(const Resource& r, const Key& k, const DeleteOptions& o) override { return inner_.remove(r, k, o); }
  Result<schema::Object> create_subresource(const Resource& r, const Key& k, std::string_view s,
                                            const schema::Document& d) override {
    return inner_.create_subresource(r, k, s, d);
  }
  Result<std::unique_ptr<Watch>> watch(const Resource& r, const ListOptions& o, WatchSink& sink) override {
    ++watches;
    if (deaf) return std::make_unique<Watch>();
    return inner_.watch(r, o, sink);
  }

 private:
  Client& inner_;
};

TEST_F(Fixture, ASilentWatchIsTakenForDead) {
  DeafWatches client(*server.client);
  client.deaf = true;
  auto deaf_caches = Caches::create(client, server.executor);
  Cache& maps = deaf_caches->of(core::configmaps);
  settle();
  server.make(core::configmaps, map_named("a"));
  server.executor.advance(1min);
  EXPECT_EQ(maps.size(), 0u);
  client.deaf = false;
  server.executor.advance(15min);
  EXPECT_EQ(maps.size(), 1u);
  EXPECT_EQ(client.watches, 2);
  // One that hears something stays.
  for (int i = 0; i < 6; ++i) {
    server.patch(core::configmaps, "a", R"({"data":{"v":")" + std::to_string(i) + R"("}})");
    server.executor.advance(10min);
  }
  EXPECT_EQ(client.watches, 2);
}

struct LoopFixture : Fixture {
  std::unique_ptr<Runner> runner = Runner::create(*caches, server.executor);
  std::vector<std::string> seen;
  LoopSpec spec(std::function<Outcome(const Key&)> reconcile) {
    LoopSpec spec;
    spec.name = "test";
    spec.watches = {{&core::configmaps, own_key(), {}}};
    spec.reconcile = std::move(reconcile);
    return spec;
  }
};

TEST_F(LoopFixture, AKeyIsLookedAtOnceForManyEvents) {
  runner->add(spec([&](const Key& key) {
    seen.push_back(key.name);
    return Outcome::done();
  }));
  server.make(core::configmaps, map_named("a"));
  for (int i = 0; i < 20; ++i) server.patch(core::configmaps, "a", R"({"data":{"v":")" + std::to_string(i) + R"("}})");
  settle();
  EXPECT_LE(seen.size(), 2u);
  EXPECT_TRUE(runner->idle());
  EXPECT_TRUE(runner->started());
}

TEST_F(LoopFixture, NothingRunsBeforeTheCachesHaveSynced) {
  server.make(core::configmaps, map_named("a"));
  bool synced_at_first = false;
  runner->add(spec([&](const Key& key) {
    synced_at_first = caches->of(core::configmaps).synced();
    return Outcome::done();
  }));
  runner->enqueue("test", {"default", "a"});
  EXPECT_FALSE(runner->started());
  settle();
  EXPECT_TRUE(synced_at_first);
}

TEST_F(LoopFixture, ErrorsBackOffAndSuccessResets) {
  const Monotonic start = server.executor.now();
  std::vector<int64_t> at_ms;
  runner->add(spec([&](const Key& key) {
    at_ms.push_back((server.executor.now() - start).count() / 1'000'000);
    return at_ms.size() < 5 ? Outcome::failed(internal("not yet")) : Outcome::done();
  }));
  set_log_level(LogLevel::error);
  server.make(core::configmaps, map_named("a"));
  server.executor.advance(1s);
  set_log_level(LogLevel::info);
  EXPECT_EQ(at_ms, (std::vector<int64_t>{0, 5, 15, 35, 75}));
}

TEST_F(LoopFixture, WhatFailedForLongIsTriedWithinHalfAMinute) {
  bool server_is_back = false;
  int good = 0;
  runner->add(spec([&](const Key& key) {
    if (!server_is_back) return Outcome::failed(internal("not yet"));
    ++good;
    return Outcome::done();
  }));
  set_log_level(LogLevel::error);
  server.make(core::configmaps, map_named("a"));
  server.executor.advance(10min);
  set_log_level(LogLevel::info);
  server_is_back = true;
  server.executor.advance(30s);
  EXPECT_EQ(good, 1);
}

TEST_F(LoopFixture, LooksAgainAfterTheTimeAskedFor) {
  int runs = 0;
  runner->add(spec([&](const Key& key) { return ++runs == 1 ? Outcome::after(10s) : Outcome::done(); }));
  server.make(core::configmaps, map_named("a"));
  server.executor.advance(9s);
  EXPECT_EQ(runs, 1);
  server.executor.advance(2s);
  EXPECT_EQ(runs, 2);
  server.executor.advance(1h);
  EXPECT_EQ(runs, 2);
}

TEST_F(LoopFixture, StopsInTheMiddle) {
  runner->add(spec([&](const Key& key) {
    seen.push_back(key.name);
    return Outcome::after(1s);
  }));
  server.make(core::configmaps, map_named("a"));
  settle();
  runner.reset();
  caches.reset();
  server.make(core::configmaps, map_named("b"));
  server.executor.advance(1min);
  EXPECT_EQ(seen, std::vector<std::string>{"a"});
}

TEST_F(Fixture, EventsOfTheSameThingAreCounted) {
  auto recorder = EventRecorder::create(*server.client, server.executor, "tester");
  const schema::Object map = server.make(core::configmaps, map_named("a"));
  for (int i = 0; i < 3; ++i) recorder->normal(EventAbout::object(map), "Poked", "poked with a \"stick\"");
  recorder->warning(EventAbout::object(map), "Poked", "hard");
  settle();
  auto events = server.list(core::events);
  ASSERT_EQ(events.size(), 2u);
  std::sort(events.begin(), events.end(), [](auto& a, auto& b) { return core::Event(a).count() > core::Event(b).count(); });
  EXPECT_EQ(core::Event(events[0]).count(), 3);
  EXPECT_EQ(core::Event(events[0]).message(), "poked with a \"stick\"");
  EXPECT_EQ(core::Event(events[0]).involvedObject().kind(), "ConfigMap");
  EXPECT_EQ(core::Event(events[1]).type(), "Warning");
}

TEST_F(Fixture, EventsOfLongTextsAndNamesArrive) {
  auto recorder = EventRecorder::create(*server.client, server.executor, "tester");
  const std::string name = std::string(199, 'n') + "-" + std::string(20, 'm');
  recorder->normal(EventAbout::object(server.make(core::configmaps, map_named(name))), "Poked",
                   std::string(1023, 'x') + "\u00fc and more");
  settle();
  const auto events = server.list(core::events);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(core::Event(events[0]).message(), std::string(1023, 'x'));
}

TEST_F(Fixture, OneObjectCannotFloodEvents) {
  auto recorder = EventRecorder::create(*server.client, server.executor, "tester");
  const schema::Object map = server.make(core::configmaps, map_named("a"));
  for (int i = 0; i < 100; ++i) recorder->normal(EventAbout::object(map), "Poked", "message " + std::to_string(i));
  settle();
  // Ten of their own, the eleventh kind collects the rest of the burst.
  EXPECT_EQ(server.list(core::events).size(), 11u);
  int64_t total = 0;
  for (const schema::Object& event : server.list(core::events)) total += core::Event(event).count();
  EXPECT_EQ(total, 25);
}

}  // namespace
}  // namespace dure::client
